"""The snapshot that model servers serve from, and their reports."""

from sqlalchemy.ext.asyncio import AsyncSession

from tidemill.auth import service as auth
from tidemill.db.tables.registry import ModelVersion
from tidemill.features.deployments import service as deployments
from tidemill.kit.clock import utc_now
from tidemill.schemas.serving import MAX_KEYS, DeploymentSpec, KeySpec, ServerReport, Snapshot


async def snapshot(session: AsyncSession) -> Snapshot:
    """What to serve now, and all keys that are good."""
    specs = []
    found, unresolved = await deployments.list_resolved(session)
    for deployment, version in found:
        if version is None:
            unresolved.append(deployment.name)
        else:
            specs.append(_spec(deployment.name, deployment.reference, version))
    keys = [
        KeySpec(id=key.id, secret_sha256=key.secret_sha256, scopes=key.scopes, expires_at=key.expires_at)
        for key in await auth.valid_keys(session, MAX_KEYS)
    ]
    return Snapshot(deployments=specs, unresolved=unresolved, keys=keys)


async def take_report(session: AsyncSession, report: ServerReport) -> None:
    """Store how a model server is doing, and which keys were used there."""
    now = utc_now()
    await deployments.take_report(session, report)
    for key_id, used_at in sorted(report.keys_used.items()):
        await auth.record_use(session, key_id, min(used_at, now))


def _spec(name: str, reference: str, version: ModelVersion) -> DeploymentSpec:
    return DeploymentSpec(
        name=name,
        model_name=version.model_name,
        model_version=version.number,
        reference=reference,
        flavor=version.flavor,
        task=version.task,
        target=version.target,
        classes=version.classes,
        signature=version.signature,
        bundle_sha256=version.bundle_sha256,
        bundle_size_bytes=version.bundle_size_bytes,
        runs_code=version.code_allowed_by is not None,
    )
