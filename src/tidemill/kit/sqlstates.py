"""What PostgreSQL's SQLSTATEs mean: one table for the api, the ledger's intake, workers and their children."""

from tidemill.kit.errors import DeadlineExceeded, Unavailable

_AWAY = ("database_unavailable", "PostgreSQL does not answer.")
_BUSY = ("database_busy", "PostgreSQL could not fit the transaction in.")
_STATES = {
    "25006": ("database_unavailable", "PostgreSQL takes no changes at present."),
    "25P03": ("database_unavailable", "PostgreSQL ended a transaction that was silent for too long."),
    "40001": _BUSY,
    "40003": _AWAY,
    "40P01": _BUSY,
    "53100": ("disk_full", "PostgreSQL has no space left."),
    "53200": ("database_busy", "PostgreSQL has not enough memory."),
    "53300": ("database_busy", "All connections to PostgreSQL are in use."),
    "55P03": ("database_busy", "PostgreSQL could not get a lock in time."),
}
_CLASSES = {
    "08": _AWAY,  # connection exception
    "53": ("database_busy", "PostgreSQL has not enough of something at present."),
    "57": _AWAY,  # operator intervention: shut down, starting up, crashed
    "58": ("database_unavailable", "PostgreSQL's own disk failed."),
}
_ABOUT_VALUES = frozenset({"22", "54"})
"""Class 22 is "data exception", 54 "program limit exceeded", such as JSON nested too deeply."""


def passing(sqlstate: str | None) -> Unavailable | None:
    """The error of the domain for a state that trying again may cure; None for any other."""
    if sqlstate is None:
        return None
    if sqlstate == "57014":
        return DeadlineExceeded("database_timeout", "PostgreSQL took longer than allowed.")
    found = _STATES.get(sqlstate) or _CLASSES.get(sqlstate[:2])
    return None if found is None else Unavailable(*found)


def is_about_values(sqlstate: str | None) -> bool:
    """Whether PostgreSQL refuses a value, and always will."""
    return sqlstate is not None and sqlstate[:2] in _ABOUT_VALUES
