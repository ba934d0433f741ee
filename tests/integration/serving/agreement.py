"""Loaded by schemathesis: how it sends what it does not know, what stands on the platform that it tries, and which
refusals a schema cannot foretell.

Made-up names reach no further than 404, and so nothing behind it. Here each operation is first asked once for what is
there (``examples`` of the `Scenario` in the working directory), and wherever a later request is well formed, what
``standing`` names takes the place of what was made up.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, HookContext, Response

SCENARIO, ANSWERS = "scenario.json", "answers.ndjson"
"""In the working directory: what to ask for, and (written here) which status each request of an operation got."""
_CONTAINERS = {"path": "path_parameters", "query": "query", "body": "body"}

FORETOLD_BY_NO_SCHEMA = {
    "page_token_invalid": "a token of another list, or none of ours",
    "span_empty": "two moments in the wrong order",
    "span_too_long": "two moments too far apart",
    "expiry_past": "a moment before now",
    "metric_unfit": "a metric of another task",
    "check_unknown": "a check that the gate does not make",
    "column_missing": "the content of a file",
    "column_unknown": "the columns of a dataset",
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
            "parquet_invalid",
            "quote_misplaced",
            "quote_open",
            "row_ragged",
            "rows_ragged",
            "single_column",
        ),
        "the content of a file",
    ),
    "inputs_invalid": "rows of MLflow's formats that do not fit the model",
}


def _unforetold(case: Case) -> set[str]:
    """A deployment's own document says all about its rows."""
    described = case.operation.definition.raw["operationId"] == "predict"
    return set(FORETOLD_BY_NO_SCHEMA) - ({"inputs_invalid"} if described else set())


@cache
def scenario() -> dict[str, dict[str, Any]]:
    return json.loads(Path(SCENARIO).read_text())  # type: ignore[no-any-return]


def _parts_of(kind: str, operation: Any) -> dict[str, Any]:
    return scenario()[kind].get(operation.definition.raw["operationId"], {})


@schemathesis.hook
def before_load_schema(_context: HookContext, raw_schema: dict[str, Any]) -> None:
    """What a deployment says of its own rows takes the place of what is said of any."""
    described = scenario()["described"]
    for operations in described.get("paths", {}).values():
        narrower = operations["post"]
        for general in (operation for path in raw_schema["paths"].values() for operation in path.values()):
            if general["operationId"] == narrower["operationId"]:
                general |= {name: narrower[name] for name in ("requestBody", "responses")}
    raw_schema["components"]["schemas"] |= described.get("components", {}).get("schemas", {})


@schemathesis.hook
def before_add_examples(context: HookContext, examples: list[Case]) -> None:
    """The request that is bound to succeed, and none of schemathesis' own: it might take away what others need."""
    assert context.operation is not None
    parts = _parts_of("examples", context.operation)
    named = {_CONTAINERS.get(name, name): part for name, part in parts.items()}
    examples[:] = [context.operation.Case(**named)]


@schemathesis.hook
def before_call(_context: HookContext, case: Case, _kwargs: dict[str, Any]) -> None:
    """Put what is there in the place of what was made up, where that was well formed."""
    if case.meta is None or not _is_asked(case):
        return
    negative = {location.container_name for location, made in case.meta.components.items() if made.mode.is_negative}
    for name, part in _parts_of("standing", case.operation).items():
        container = getattr(case, _CONTAINERS[name])
        if isinstance(container, dict) and _CONTAINERS[name] not in negative:
            container.update({key: value for key, value in part.items() if key in container})


@schemathesis.hook
def after_call(_context: HookContext, case: Case, response: Response) -> None:
    if _is_asked(case):
        with Path(ANSWERS).open("a") as answers:
            answers.write(json.dumps([case.operation.definition.raw["operationId"], response.status_code]) + "\n")


def _is_asked(case: Case) -> bool:
    """False where another method of its path is tried."""
    return case.method.upper() == case.operation.method.upper()


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
    if response.status_code == 422 and response.json()["code"] in _unforetold(case):
        return
    taken = response.status_code < 400 or response.status_code in (401, 403, 404, 409, 412, 503)
    assert taken, f"{response.status_code} for a request that fits the schema"
