"""Tidemill: the self-hosted closed loop for machine learning on tables."""

__version__ = "0.1.0"
