"""Two members of one name in an object: parsers take the last of them and say nothing."""

import json
from typing import Any

from tidemill.kit.errors import Invalid
from tidemill.model_server.transports.sizes import count_members


def refuse_repeated(body: bytes, parsed: Any) -> None:
    """Raises Invalid (``member_repeated``) if an object of ``body``, which was parsed, has a name twice.

    Rows are objects of plain values, so that counting what was written and what was kept tells; only where an object
    holds others is it read again, by a slower parser that shows both.
    """
    if b":" not in body or count_members(body) == _members_of_rows(parsed):
        return
    try:
        json.loads(body, object_pairs_hook=_checked, parse_int=str, parse_float=str)
    except RecursionError:
        raise Invalid("json_too_deep", "The body nests too deeply.") from None


def _members_of_rows(parsed: Any) -> int:
    """Of rows, or of the body and of what its members hold: an object, or a list of objects."""
    if isinstance(parsed, list):
        return sum(len(row) for row in parsed if isinstance(row, dict))
    if not isinstance(parsed, dict):
        return 0
    total = len(parsed)
    for value in parsed.values():
        if isinstance(value, dict):
            total += len(value)
        elif isinstance(value, list):
            total += sum(len(row) for row in value if isinstance(row, dict))
    return total


def _checked(members: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in members}) != len(members):
        raise Invalid("member_repeated", "An object of the body has two members of the same name.")
