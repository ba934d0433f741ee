"""Ingest, search, fit and explain: heavy code that runs in a worker's child process and nowhere else."""
