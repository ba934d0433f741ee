"""Backups of a whole stack: both databases and every object, verified, restored, thinned out."""
