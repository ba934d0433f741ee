"""The errors of the domain. Only the edges (web, cli) know HTTP numbers and exit codes.

TidemillError
├── NotFound          what was named does not exist
├── Conflict          the present state forbids it
│   ├── Refused       a gate or a policy said no
│   └── PreconditionFailed  it was changed since the caller read it
├── Forbidden         the principal may not
│   └── Unauthenticated   who is asking is unknown
├── Invalid           the request can never work as it is
│   ├── Malformed         it cannot even be read
│   ├── TooLarge      a stated limit was passed
│   └── Unsupported   a media type or format we do not read
└── Unavailable       something we need is away; trying again may help
    └── DeadlineExceeded  it took longer than was allowed
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One place where something is wrong.

    pointer: JSON pointer or a place such as ``row 17, column age``; code: stable; detail: for people.
    """

    pointer: str
    code: str
    detail: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


class TidemillError(Exception):
    """Base of all expected failures.

    Args:
        code: stable, machine-readable, snake_case.
        detail: one sentence for people; never holds callers' values.
        problems: the single places that are wrong, where there are several.
    """

    title = "Error"

    def __init__(self, code: str, detail: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.problems = tuple(problems)


class NotFound(TidemillError):
    title = "Not found"


class Conflict(TidemillError):
    title = "Conflict"


class Refused(Conflict):
    title = "Refused"


class PreconditionFailed(Conflict):
    title = "Precondition failed"


class Forbidden(TidemillError):
    title = "Forbidden"


class Unauthenticated(Forbidden):
    title = "Unauthenticated"


class Invalid(TidemillError):
    title = "Invalid"


class Malformed(Invalid):
    title = "Malformed"


class TooLarge(Invalid):
    title = "Too large"


class Unsupported(Invalid):
    title = "Unsupported"


class Unavailable(TidemillError):
    title = "Unavailable"


class DeadlineExceeded(Unavailable):
    title = "Deadline exceeded"


KINDS: dict[str, type[TidemillError]] = {
    kind.__name__: kind
    for kind in (
        NotFound, Conflict, Refused, PreconditionFailed, Forbidden, Unauthenticated,
        Invalid, Malformed, TooLarge, Unsupported, Unavailable, DeadlineExceeded,
    )
}  # fmt: skip
"""By name, for errors that cross a process boundary."""


def to_record(error: TidemillError) -> dict[str, object]:
    """A JSON-ready form; `from_record` gives the same error back."""
    return {
        "kind": type(error).__name__,
        "code": error.code,
        "detail": error.detail,
        "problems": [problem.as_dict() for problem in error.problems],
    }


def from_record(record: dict[str, object]) -> TidemillError:
    kind = KINDS.get(str(record.get("kind")), TidemillError)
    problems = record.get("problems")
    return kind(
        str(record.get("code", "unknown")),
        str(record.get("detail", "")),
        [Problem(**p) for p in problems] if isinstance(problems, list) else (),
    )
