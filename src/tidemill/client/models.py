"""Registered models: versions, aliases, the gate."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from tidemill.client.jobs import Jobs
from tidemill.client.pages import iterate
from tidemill.client.transport import Transport, segment
from tidemill.kit.errors import NotFound
from tidemill.schemas.registry import (
    AliasEvent,
    AliasState,
    GateDecision,
    GatePolicy,
    ImportModel,
    JobStarted,
    ModelSummary,
    ModelVersion,
    Policy,
    Promotion,
    VersionComparison,
)

_ROOT = "/api/v1/models"


class Models:
    """``tidemill.models``: registered models, their versions, aliases and gate decisions."""

    def __init__(self, transport: Transport, jobs: Jobs) -> None:
        self._transport = transport
        self._jobs = jobs

    def list(self) -> Iterator[ModelSummary]:
        """All models by name, page by page."""
        return iterate(self._transport, _ROOT, ModelSummary)

    def get(self, name: str) -> ModelSummary:
        """One model with its aliases and champion. Raises NotFound."""
        return ModelSummary.model_validate(self._call("GET", segment(name)))

    def versions(self, name: str) -> Iterator[ModelVersion]:
        """Versions, newest first, without deleted ones."""
        return iterate(self._transport, f"{_ROOT}/{segment(name)}/versions", ModelVersion)

    def version(self, name: str, number: int) -> ModelVersion:
        """One version, a deleted one too. Raises NotFound for a number that never was."""
        return ModelVersion.model_validate(self._call("GET", f"{segment(name)}/versions/{number}"))

    def delete_version(self, name: str, number: int) -> ModelVersion:
        """Delete a version. Raises Conflict while an alias or a deployment points to it."""
        return ModelVersion.model_validate(self._call("DELETE", f"{segment(name)}/versions/{number}"))

    def request_promotion(
        self, name: str, version: int, *, force: bool = False, reason: str | None = None
    ) -> Promotion:
        """Ask for a promotion: done at once, or ``deciding`` in the job ``job_id``. Raises Refused, Conflict."""
        body = {"version": version, "force": force, "reason": reason}
        return Promotion.model_validate(self._call("POST", f"{segment(name)}:promote", json=body))

    def promote(
        self, name: str, version: int, *, force: bool = False, reason: str | None = None,
        timeout_seconds: float | None = None,
    ) -> AliasEvent:  # fmt: skip
        """Make a version champion and wait until the gate has decided.

        ``force`` passes the gate by, needs ``reason`` and is recorded as forced. Raises Refused with the gate's
        reasons, Conflict if the version is champion already.
        """
        asked = self.request_promotion(name, version, force=force, reason=reason)
        if asked.event is not None:
            return asked.event
        assert asked.job_id is not None
        self._jobs.result(asked.job_id, timeout_seconds)
        return self.last_move(name)

    def last_move(self, name: str, alias: str = "champion") -> AliasEvent:
        """The move that put an alias where it is. Raises NotFound if there is no such alias."""
        for event in self.aliases(name).aliases:
            if event.alias == alias:
                return event
        raise NotFound("alias_not_found", f"The model has no alias {alias}.")

    def rollback(self, name: str, reason: str | None = None) -> AliasEvent:
        """Make the champion before the present one champion again; twice goes back two. Raises Conflict."""
        return AliasEvent.model_validate(self._call("POST", f"{segment(name)}:rollback", json={"reason": reason}))

    def history(self, name: str, alias: str | None = None) -> Iterator[AliasEvent]:
        """Every move of an alias, newest first."""
        return iterate(self._transport, f"{_ROOT}/{segment(name)}/history", AliasEvent, {"alias": alias})

    def aliases(self, name: str, at: datetime | None = None) -> AliasState:
        """Where the aliases point, or pointed at the moment ``at`` (aware)."""
        params = {"at": at.isoformat() if at else None}
        return AliasState.model_validate(self._call("GET", f"{segment(name)}/aliases", params=params))

    def set_alias(self, name: str, alias: str, version: int, reason: str | None = None) -> AliasEvent:
        """Point an alias other than ``champion`` at a version."""
        body = {"version": version, "reason": reason}
        return AliasEvent.model_validate(self._call("PUT", f"{segment(name)}/aliases/{segment(alias)}", json=body))

    def delete_alias(self, name: str, alias: str) -> AliasEvent:
        """Remove an alias other than ``champion``."""
        return AliasEvent.model_validate(self._call("DELETE", f"{segment(name)}/aliases/{segment(alias)}"))

    def decisions(self, name: str, version: int | None = None) -> Iterator[GateDecision]:
        """What the gate decided, newest first."""
        return iterate(self._transport, f"{_ROOT}/{segment(name)}/decisions", GateDecision, {"version": version})

    def policy(self, name: str) -> Policy:
        """The gate's policy for this model."""
        return Policy.model_validate(self._call("GET", f"{segment(name)}/policy"))

    def set_policy(self, name: str, policy: GatePolicy, revision: int | None = None) -> Policy:
        """Replace the policy; with ``revision`` only if it is still that one (else PreconditionFailed)."""
        headers = {} if revision is None else {"If-Match": f'"{revision}"'}
        answer = self._call("PUT", f"{segment(name)}/policy", json=policy.model_dump(mode="json"), headers=headers)
        return Policy.model_validate(answer)

    def request_comparison(self, name: str, version: int, other: int, other_model: str | None = None) -> JobStarted:
        """Start comparing two versions on the same holdout rows; the job's result is a VersionComparison."""
        body = {"version": version, "other": other, "other_model": other_model}
        return JobStarted.model_validate(self._call("POST", f"{segment(name)}:compare", json=body))

    def compare(
        self, name: str, version: int, other: int, other_model: str | None = None, timeout_seconds: float | None = None
    ) -> VersionComparison:
        """Compare two versions and wait for the result."""
        started = self.request_comparison(name, version, other, other_model)
        return VersionComparison.model_validate(self._jobs.result(started.job_id, timeout_seconds))

    def request_registration(self, name: str, request: ImportModel) -> JobStarted:
        """Start registering a model that MLflow holds; the job's result has its ``number``."""
        body = request.model_dump(mode="json")
        return JobStarted.model_validate(self._call("POST", f"{segment(name)}/versions:import", json=body))

    def register(self, name: str, request: ImportModel, timeout_seconds: float | None = None) -> ModelVersion:
        """Register a model that MLflow holds as the next version, and wait for it."""
        result = self._jobs.result(self.request_registration(name, request).job_id, timeout_seconds)
        return self.version(name, int(result["number"]))

    def _call(self, method: str, path: str, **options: Any) -> Any:
        return self._transport.request(method, f"{_ROOT}/{path}", **options)
