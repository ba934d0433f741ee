"""The data plane process: `python -m tidemill.model_server`. Answers while everything else is away."""
