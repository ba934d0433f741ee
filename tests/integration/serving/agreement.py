"""Loaded by schemathesis: how it sends what it does not know, and which refusals a schema cannot foretell."""

from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, Response

FORETOLD_BY_NO_SCHEMA = {
    "page_token_invalid": "a token of another list, or none of ours",
    "span_empty": "two moments in the wrong order",
    "span_too_long": "two moments too far apart",
    "expiry_past": "a moment before now",
    "metric_unfit": "a metric of another task",
    "check_unknown": "a check that the gate does not make",
    "column_missing": "the content of a file",
    "feedback_invalid": "the content of a file",
    **dict.fromkeys(
        (
            "column_name_duplicate",
            "column_name_empty",
            "delimiter_invalid",
            "encoding_unknown",
            "file_binary",
            "file_damaged",
            "file_empty",
            "nul_character",
            "quote_misplaced",
            "quote_open",
            "row_ragged",
            "rows_ragged",
            "single_column",
        ),
        "the content of a file",
    ),
    "inputs_invalid": "rows that do not fit the model, which its own document describes",
    "params_invalid": "params that do not fit the model, which its own document describes",
}


@schemathesis.serializer("application/x-ndjson")
def ndjson(_context: Any, value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else str(value).encode()


@schemathesis.serializer("application/vnd.apache.parquet")
def parquet(_context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.check
def what_fits_the_schema_is_taken(_context: CheckContext, response: Response, case: Case) -> None:
    """As schemathesis' own ``positive_data_acceptance``, but for the codes above."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if response.status_code == 422 and response.json()["code"] in FORETOLD_BY_NO_SCHEMA:
        return
    taken = response.status_code < 400 or response.status_code in (401, 403, 404, 409, 412, 503)
    assert taken, f"{response.status_code} for a request that fits the schema"
