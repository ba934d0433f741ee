"""The control plane process: `python -m tidemill.api`."""
