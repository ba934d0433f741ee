"""Reading files of rows: what a file is, its text, and delimited text cut into records.

It lies below every entrance (datasets, predictions, feedback), so that all of them read the same cells, and needs no
library that computes.
"""
