"""What api and model server tell each other."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from tidemill.schemas.base import AS_IN_JSON, Moment, Reply
from tidemill.schemas.deployments import ServerState

MAX_DEPLOYMENTS = 1_000
MAX_KEYS = 10_000
_LARGEST = 2**53
_Count = Annotated[int, Field(ge=0, le=_LARGEST), AS_IN_JSON]
_Id = Annotated[str, Field(min_length=1, max_length=100)]


class DeploymentSpec(Reply):
    """All that a model server must know to serve a deployment."""

    name: str
    model_name: str
    model_version: int
    reference: str
    flavor: str
    task: str | None
    target: str | None
    classes: list[Any] | None
    signature: dict[str, Any]
    bundle_sha256: str
    bundle_size_bytes: int
    runs_code: bool = False
    """Whoever registered the version allowed that loading it runs its maker's code. Else it is loaded as data only."""


class KeySpec(Reply):
    """A key and what it may do, for a model server to check by itself."""

    id: str
    secret_sha256: str
    scopes: list[str]
    expires_at: datetime | None


class Snapshot(Reply):
    """What to serve, and who may ask."""

    deployments: list[DeploymentSpec]
    unresolved: list[str] = Field(default_factory=list)
    """Deployments whose reference means no version now; whoever serves them goes on with what they have."""
    keys: list[KeySpec]


class LoadStatus(Reply):
    """One deployment as a model server has it."""

    model_config = ConfigDict(strict=True)

    name: _Id
    state: ServerState
    model_name: str | None = None
    model_version: Annotated[int, AS_IN_JSON] | None = None
    """What it serves now."""
    wanted_version: Annotated[int, AS_IN_JSON] | None = None
    error_code: str | None = None
    error_detail: Annotated[str | None, Field(max_length=2000)] = None


class ServerReport(Reply):
    """Sent by a model server when something changed, and every few seconds."""

    model_config = ConfigDict(strict=True)

    server_id: _Id
    version: str
    started_at: Moment
    deployments: Annotated[list[LoadStatus], Field(max_length=MAX_DEPLOYMENTS)]
    keys_used: Annotated[dict[_Id, Moment], Field(default_factory=dict, max_length=MAX_KEYS)]
    """Last use of each key since the last report."""
    ledger_waiting_bytes: _Count = 0
    ledger_rejected_rows: _Count = 0
    ledger_retry_rows: _Count = 0
    """Rows that were set aside and wait to be shipped again."""
    ledger_lost_rows: _Count = 0
    """Answered rows that damage of its disk took."""
    ledger_set_aside_bytes: _Count = 0
    """Of the ledger's budget: everything that lies aside, files in quarantine included."""
    quarantined_files: _Count = 0
    """Damaged or foreign files of its state directory in its quarantine."""
    sandbox: Literal["full", "partial", "none"] | None = None
    """How far it can confine models that bring code of their own; None from one that does not say."""


class Acknowledged(Reply):
    status: str = "ok"


class RejectedRow(Reply):
    """A line of a segment that can never be stored."""

    line: int
    """Counted from 1."""
    code: str
    detail: str


class SegmentReceipt(Reply):
    """What became of the lines of a shipped segment. All that are not in ``rejected`` are committed."""

    received: int
    stored: int
    duplicates: int
    """Lines that were there already."""
    rejected: list[RejectedRow]

    def accounts_for(self, lines: int) -> bool:
        """Whether it says of each of ``lines`` lines what became of it."""
        named = {row.line for row in self.rejected}
        return (
            self.received == lines == self.stored + self.duplicates + len(named)
            and min(self.stored, self.duplicates) >= 0
            and len(named) == len(self.rejected)
            and all(0 < line <= lines for line in named)
        )
