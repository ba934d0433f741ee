"""What operators look at, written in code: `python -m observability` writes the files that the stack mounts."""
