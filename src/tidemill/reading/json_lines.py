"""Objects of JSON whose members are there once: lines of rows, and whole bodies."""

import json
from typing import Any


class RepeatedMember(ValueError):
    """Two members of an object have the same name: a parser left to itself takes the last and says nothing."""


def object_of(line: str) -> dict[str, Any] | None:
    """The object that ``line`` is; None if it is none. Raises RepeatedMember."""
    try:
        found = json.loads(line, object_pairs_hook=unrepeated)
    except RepeatedMember:
        raise
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def has_repeated_member(body: bytes) -> bool:
    """Whether an object somewhere in ``body`` has two members of one name; False for what is no JSON."""
    try:
        json.loads(body, object_pairs_hook=unrepeated, parse_int=str, parse_float=str)
    except RepeatedMember:
        return True
    except (ValueError, RecursionError):
        return False
    return False


def unrepeated(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """For ``object_pairs_hook``: an object. Raises RepeatedMember."""
    found = dict(members)
    if len(found) != len(members):
        raise RepeatedMember
    return found
