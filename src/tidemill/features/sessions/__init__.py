"""Signing in to the consoles (MLflow, Grafana) with an API key."""
