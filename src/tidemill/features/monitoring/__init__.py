"""Monitoring: how good the deployed models really are."""
