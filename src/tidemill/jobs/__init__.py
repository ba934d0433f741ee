"""Durable jobs on PostgreSQL: enqueued in the caller's transaction, fenced, resumable.

Procrastinate is named only here.
"""
