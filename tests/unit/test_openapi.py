"""The OpenAPI document is a promise to callers, so every change of it is a visible one."""

import json
from pathlib import Path

from tidemill.api.openapi import document

SNAPSHOT = Path(__file__).parents[2] / "docs" / "openapi.json"


def test_the_document_is_the_committed_one() -> None:
    kept = json.loads(SNAPSHOT.read_text())
    assert json.loads(json.dumps(document())) == kept, "run `make docs` and look at the difference"


def test_operation_ids_are_stable_and_schemas_are_named() -> None:
    operations = [
        operation for path in document()["paths"].values() for operation in path.values() if isinstance(operation, dict)
    ]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))
    assert [operation["operationId"] for operation in operations if not operation.get("description")] == []
    for operation in operations:
        for response in operation["responses"].values():
            for content in response.get("content", {}).values():
                schema = content.get("schema", {})
                assert not ("properties" in schema and "$ref" not in schema), operation["operationId"]
