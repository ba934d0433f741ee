"""Settings: one typed tree, read once by each process's main from ``TIDEMILL_*`` and an optional TOML file."""
