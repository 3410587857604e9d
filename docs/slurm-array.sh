#!/bin/bash
# The shards of one stage as a SLURM array; every node sees this folder (docs/scale.md). `dvc repro` starts and awaits it:
#   MERC_ARRAY="sbatch --array=0-15 --wait docs/slurm-array.sh" dvc repro
# A stage appends its name and items: sbatch ... docs/slurm-array.sh encode meld text
#SBATCH --job-name=merc
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --output=out/runs/slurm-%A-%a.log
set -euo pipefail
exec python -m "stages.$1" "${@:2}" --shard
