#!/bin/bash
# Train on two machines with torchrun: bash examples/torchrun/train.sh 0 on the first, 1 on the second
node=${1:?give the number of this machine, 0 for the first}
if [ "$node" != 0 ]; then  # one message within 25 s if the first machine does not answer
    python -m webtext_gpt.training.distributed.network first-machine 29500 || exit
fi
torchrun --nnodes=2 --nproc-per-node=8 --node-rank="$node" \
    --master-addr=first-machine --master-port=29500 --rdzv-conf=timeout=50 \
    train.py model=xl trainer.devices=8 trainer.num_nodes=2 data=shards data.path=/shared/shards \
    run_dir=/shared/runs/xl resume=auto
