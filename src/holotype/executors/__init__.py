"""Where jobs run: processes on this machine, a Ray cluster, or SLURM."""
