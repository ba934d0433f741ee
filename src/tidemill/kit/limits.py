"""How large a cell, a row, a request and a page may be. One place, so that what one part takes the next can keep.

They follow from one number, the longest row. A dataset's file may hold it, so a prediction may be asked for it; what is
asked is recorded as JSON, which doubles quotes and line breaks; what is recorded is shipped, stored and listed.
Sizes are bytes of UTF-8.
"""

MAX_ROW_BYTES = 16 * 2**20
"""Of a row's values together, in a file, in a request and in a model's answer. A cell may fill its row."""
MAX_RECORD_BYTES = 3 * MAX_ROW_BYTES
"""Of one prediction as it is recorded: inputs, output and their names as JSON."""
MAX_SEGMENT_BYTES = MAX_RECORD_BYTES + MAX_ROW_BYTES
"""Of one shipment of the ledger: whole records, at least one."""
MAX_ANSWER_BYTES = 128 * 2**20
"""Of all that a model answers to one request, as JSON."""
PAGE_BYTES = 8 * 2**20
"""A page of a list ends after this much, but not before its first item."""
MAX_SIGNATURE_BYTES = PAGE_BYTES // 2
"""Of a model version's signature and classes as JSON."""
MAX_SNAPSHOT_BYTES = 64 * 2**20
"""Of the signatures and classes of all deployments together, which model servers ask for every second."""
MAX_DATASET_ROWS = 2**31 - 1
"""Formats that write equal values once can claim any number of rows in a few bytes."""
