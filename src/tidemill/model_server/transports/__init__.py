"""Dialects over HTTP. They read requests and write answers; everything else is the data plane."""
