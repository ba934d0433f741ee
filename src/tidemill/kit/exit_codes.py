"""Which error ends a command with which exit code; the same for every command, so that scripts can trust it."""

from tidemill.kit import errors
from tidemill.kit.errors import TidemillError

FAILURE = 1
USAGE = 2
"""Also what the command line's own parser uses."""
INTERRUPTED = 130

_BY_KIND: tuple[tuple[type[TidemillError], int], ...] = (
    (errors.Refused, 3),
    (errors.NotFound, 4),
    (errors.Conflict, 5),
    (errors.DeadlineExceeded, 124),
)
_MISTYPED = frozenset(
    {
        "duration_invalid",
        "duration_too_long",
        "model_reference_invalid",
        "moment_invalid",
        "moment_out_of_range",
        "option_invalid",
        "rows_invalid",
        "rows_not_json",
        "scope_unknown",
        "setting_file_unreadable",
        "setting_invalid",
        "setting_unknown",
        "type_malformed",
    }
)
"""Codes of arguments and settings that cannot be read as what they stand for."""


def exit_code_of(error: TidemillError) -> int:
    """1 failure, 2 usage, 3 refused by a gate, 4 not found, 5 conflict, 124 timeout."""
    if error.code in _MISTYPED:
        return USAGE
    return next((code for kind, code in _BY_KIND if isinstance(error, kind)), FAILURE)
