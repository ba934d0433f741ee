"""Deployments: names under which model versions are served, and how far the model servers are with them."""
