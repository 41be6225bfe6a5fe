"""The hub: model files are found, fetched, verified and read here, and nowhere else."""
