#!/bin/bash
# A comparison on a SLURM cluster as an array of equal tasks, which share its runs through a folder on a network drive:
#
#     sbatch experiments/slurm/array.sh experiments/compare/brief.toml /shared/brief
#
# Any number of tasks may start, wait in the queue, be cancelled or be added later: each takes runs that nobody works on,
# until none are left. The same command continues an interrupted comparison.

#SBATCH --job-name=equipoise
#SBATCH --array=0-63
#SBATCH --cpus-per-task=4
#SBATCH --mem-per-cpu=1500M
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=equipoise-%A-%a.log
# Two minutes before the end of its time, or before it is preempted, each task saves its runs and gives them back.
# Without "B:" the signal goes to the steps that srun starts, not to this script.
#SBATCH --signal=TERM@120

set -euo pipefail
plan=${1:?usage: sbatch array.sh PLAN.toml SHARED_FOLDER}
shared=${2:?usage: sbatch array.sh PLAN.toml SHARED_FOLDER}

cpus=${SLURM_CPUS_PER_TASK:-1}
# srun does not inherit --cpus-per-task from sbatch since SLURM 22.05; without it all runs would share one core.
srun --cpus-per-task="$cpus" equipoise compare "$plan" --out "$shared" --join --processes "$cpus" --quiet
