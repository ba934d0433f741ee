"""Follows the api: what to serve, whose keys to accept, which bundles to load."""
