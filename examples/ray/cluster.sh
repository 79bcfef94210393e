#!/bin/bash
# Run stages of the corpus on a Ray cluster. On the first machine, then on each other one:
#   examples/ray/cluster.sh head
#   examples/ray/cluster.sh worker first-machine
# Both keep running; Ctrl-C takes the machine out of the cluster. Then, on one of the machines:
#   examples/ray/cluster.sh run python data_prep/dedup.py documents=[/shared/corpus/documents] \
#       out=/shared/corpus/dedup
# All machines need the same Ray, Python and version of this project, and see /shared under the
# same path. Further arguments of head and worker go to `ray start`: --num-cpus=8.
set -euo pipefail
# Without a token, whoever reaches a machine of the cluster can run programs on it.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=${RAY_AUTH_TOKEN_PATH:-/shared/ray-token}
export RAY_USAGE_STATS_ENABLED=0
task=${1:?head, worker or run}
shift
case $task in
head)
    if [ ! -s "$RAY_AUTH_TOKEN_PATH" ]; then
        (umask 077 && python -c 'import secrets; print(secrets.token_hex(32))' \
            >"$RAY_AUTH_TOKEN_PATH")
    fi
    exec ray start --head --port=6379 --include-dashboard=false --block "$@"
    ;;
worker)
    first=${1:?the name of the first machine}
    shift
    exec ray start --address="$first:6379" --block "$@"
    ;;
run)
    exec "$@" engine=ray engine.address=auto
    ;;
*)
    echo "$task: expected head, worker or run" >&2
    exit 1
    ;;
esac
