"""The process that runs jobs: `python -m tidemill.worker`."""
