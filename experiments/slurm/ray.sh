#!/bin/bash
# A comparison on several nodes of one SLURM job through Ray, which also counts shares of GPUs:
#
#     sbatch experiments/slurm/ray.sh experiments/compare/brief.toml /shared/brief
#
# An array of tasks (array.sh) needs no additional package and starts as soon as one task can; use Ray where several runs
# share a GPU: --gpus-per-run 0.25 places four on each, with a quarter of its memory.

#SBATCH --job-name=equipoise-ray
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=04:00:00
#SBATCH --output=equipoise-ray-%j.log

set -euo pipefail
plan=${1:?usage: sbatch ray.sh PLAN.toml SHARED_FOLDER}
shared=${2:?usage: sbatch ray.sh PLAN.toml SHARED_FOLDER}

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes=1 --ntasks=1 -w "$head" hostname --ip-address | awk '{print $1}')
port=6379
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT

cpus=$SLURM_CPUS_ON_NODE  # without --cpus-per-task, srun gives each node one core
srun --nodes=1 --ntasks=1 --cpus-per-task="$cpus" -w "$head" ray start --head --node-ip-address="$address" --port=$port --block &
sleep 20
srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) --cpus-per-task="$cpus" \
    --exclude="$head" ray start --address="$address:$port" --block &
sleep 20

equipoise compare "$plan" --out "$shared" --on "ray=$address:$port" --quiet ${GPUS_PER_RUN:+--gpus-per-run "$GPUS_PER_RUN"}
