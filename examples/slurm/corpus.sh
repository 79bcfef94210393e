#!/bin/bash
# Fetch pages and extract documents on many machines, a part of the links on each:
#   python data_prep/links.py dumps=[RS_*.zst] out=/shared/corpus/links
#   sbatch examples/slurm/corpus.sh
#   python data_prep/dedup.py documents=[/shared/corpus/documents-*] out=/shared/corpus/dedup
# Settings after the script's name go to pages.py. A task that is started again continues where it
# was: sbatch --array=3,7 examples/slurm/corpus.sh, where tasks 3 and 7 have failed.
#SBATCH --array=1-16 --cpus-per-task=8 --time=72:00:00 --requeue --open-mode=append
set -euo pipefail
corpus=${CORPUS:-/shared/corpus}
parts=${PARTS:-16} # the number of tasks of the whole array
task=$SLURM_ARRAY_TASK_ID
python data_prep/pages.py links="$corpus/links" out="$corpus/pages-$task" shard="$task/$parts" \
    politeness.user_agent="${USER_AGENT:?set it to the name of your crawler and your address}" "$@"
python data_prep/documents.py pages="$corpus/pages-$task" out="$corpus/documents-$task"
