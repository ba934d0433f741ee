"""Datasets: immutable, content-addressed versions of tables."""
