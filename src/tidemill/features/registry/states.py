"""What an alias move is, and where a rollback leads."""

from collections.abc import Collection, Iterable
from enum import StrEnum

CHAMPION = "champion"
CHALLENGER = "challenger"
MAX_ALIASES = 100
"""Of one model, besides these two."""


class Move(StrEnum):
    """Why an alias moved.

    A version's life: registered (challenger) -> gate | promoted | forced (champion) -> rollback or a successor.
    """

    REGISTERED = "registered"
    GATE = "gate"
    """The gate's own decision about a new version."""
    PROMOTED = "promoted"
    """Somebody asked and the gate agreed."""
    FORCED = "forced"
    ROLLBACK = "rollback"
    SET = "set"
    REMOVED = "removed"


def champions(events: Iterable[tuple[Move, int | None]]) -> list[int]:
    """The stack of champions after ``events`` (kind, version moved to) in order; the present one is last.

    A promotion pushes; a rollback pops down to the version it went back to. So a second rollback goes further back,
    and never forth again to what was rolled back.
    """
    stack: list[int] = []
    for move, number in events:
        if move is not Move.ROLLBACK and number is not None:
            stack.append(number)
        elif stack:
            stack.pop()
            while stack and number is not None and stack[-1] != number:
                stack.pop()
    return stack


def previous_champion(stack: list[int], present: int | None, deleted: Collection[int]) -> int | None:
    """The version that a rollback goes to: the newest below the top that still exists and is not the present one."""
    below = stack[:-1] if stack and stack[-1] == present else stack
    return next((number for number in reversed(below) if number != present and number not in deleted), None)
