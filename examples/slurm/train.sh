#!/bin/bash
# Train on two machines under SLURM, and resume after every pre-emption: sbatch examples/slurm/train.sh
#SBATCH --nodes=2 --ntasks-per-node=8 --gpus-per-node=8 --cpus-per-task=6
#SBATCH --time=24:00:00 --requeue --open-mode=append
#SBATCH --signal=USR1@300        # five minutes before the end
srun --kill-on-bad-exit=1 python train.py model=xl trainer.devices=8 trainer.num_nodes=2 \
    data=shards data.path=/shared/shards run_dir=/shared/runs/xl resume=auto
code=$?
case $code in 75|138) scontrol requeue "$SLURM_JOB_ID" ;; esac
exit $code                       # the state of a job that fails is FAILED
