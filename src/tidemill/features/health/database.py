"""What PostgreSQL tells about the platform."""

from datetime import timedelta
from typing import Literal

from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from tidemill.db.engine import SessionFactory, transaction
from tidemill.db.migrate import newest_revision
from tidemill.db.tables.backups import BackupRun
from tidemill.db.tables.jobs import Job
from tidemill.features.deployments import service as deployments
from tidemill.features.deployments.service import SERVERS_ARE_GONE_AFTER
from tidemill.features.health.findings import age_text, ok, problem, warning
from tidemill.jobs import queries as jobs
from tidemill.kit.clock import utc_now
from tidemill.kit.limits import MAX_SNAPSHOT_BYTES
from tidemill.kit.sqlstates import passing
from tidemill.sandbox.confinement import Kernel
from tidemill.schemas.health import CheckResult
from tidemill.schemas.serving import ServerReport

_REVISION = text("SELECT version_num FROM alembic_version")
_WORKERS = text(
    "SELECT count(*) FROM procrastinate_workers "
    "WHERE last_heartbeat >= clock_timestamp() - make_interval(secs => :seconds)"
)
_REPORTS = text("""
    SELECT (report - 'keys_used') || jsonb_build_object('deployments', COALESCE((
        SELECT jsonb_agg(failed.item) FROM (
            SELECT item FROM jsonb_array_elements(report->'deployments') AS item WHERE item->>'state' = 'failed' LIMIT 5
        ) AS failed
    ), '[]'))
    FROM model_servers WHERE seen_at >= :since ORDER BY id LIMIT :servers
""")
_TAKES_ROOM = text(
    "CREATE TEMPORARY TABLE doctor_takes_room ON COMMIT DROP AS "
    "SELECT repeat('x', 1000) AS filler FROM generate_series(1, 1000)"
)
"""A megabyte, as much as a full disk has left at most."""
_SKEW_WARNING_SECONDS, _SKEW_PROBLEM_SECONDS = 2, 30
_WAIT_WARNING_SECONDS, _WAIT_PROBLEM_SECONDS = 300, 3600
_BACKLOG_WARNING_BYTES = 256 * 2**20
_MOST_SERVERS = 200
_LATE, _VERY_LATE = 1.5, 3.0
"""Of the time between two backups or drills."""


async def check_schema(sessions: SessionFactory) -> CheckResult:
    async with transaction(sessions) as session:
        revision = await session.scalar(_REVISION)
    newest = newest_revision()
    if revision == newest:
        return ok("schema", f"PostgreSQL answers; its schema is the newest, {revision}.")
    return problem("schema", f"The schema is {revision}, this version needs {newest}.", "Run `tidemill admin migrate`.")


async def check_space(sessions: SessionFactory) -> CheckResult:
    """Whether PostgreSQL takes changes: reading goes on where its disk is full, and all else looks well."""
    try:
        async with transaction(sessions) as session:
            await session.execute(_TAKES_ROOM)
    except DBAPIError as error:
        refused = passing(getattr(error.orig, "sqlstate", None))
        if refused is None:
            raise
        found = f"{refused.detail} Predictions wait on the model servers, and jobs in the queue."
        return problem("database space", found, "Make room on its disk; look at its log.")
    return ok("database space", "PostgreSQL takes changes.")


async def check_clock(sessions: SessionFactory) -> CheckResult:
    async with transaction(sessions) as session:
        before = utc_now()
        theirs = (await session.execute(select(func.clock_timestamp()))).scalar_one()
        after = utc_now()
    seconds = max((before - theirs).total_seconds(), (theirs - after).total_seconds(), 0)
    if seconds < _SKEW_WARNING_SECONDS:
        return ok("database clock", "The clocks of api and PostgreSQL agree.")
    report = problem if seconds > _SKEW_PROBLEM_SECONDS else warning
    return report("database clock", f"Api and PostgreSQL are {seconds:.0f} s apart.", "Let both machines use NTP.")


async def check_workers(sessions: SessionFactory, silent_after_seconds: float) -> CheckResult:
    async with transaction(sessions) as session:
        count = await session.scalar(_WORKERS, {"seconds": silent_after_seconds}) or 0
    if count:
        return ok("workers", "They send heartbeats.")
    return problem("workers", "No worker sent a heartbeat lately, so no job runs.", "Start one: `tidemill worker`.")


async def check_queue(sessions: SessionFactory, silent_after_seconds: float) -> CheckResult:
    silent = utc_now() - timedelta(seconds=silent_after_seconds)
    async with transaction(sessions) as session:
        backlog = await jobs.backlog(session)
        stalled = select(func.count()).where(Job.status == "running", Job.heartbeat_at < silent)
        stalled_count = await session.scalar(stalled) or 0
    waiting = sum(entry.waiting for entry in backlog)
    oldest = max((entry.oldest_seconds for entry in backlog), default=0.0)
    found = f"{waiting} jobs wait, the oldest for {age_text(timedelta(seconds=oldest))}; {stalled_count} stalled."
    if oldest > _WAIT_WARNING_SECONDS:
        report = problem if oldest > _WAIT_PROBLEM_SECONDS else warning
        return report("queue", found, "Start more workers, or see with `tidemill job list` what they do.")
    if stalled_count:
        return warning("queue", found, "A worker fell silent; another takes over its jobs.")
    return ok("queue", found)


async def check_model_servers(sessions: SessionFactory) -> CheckResult:
    reports = await _reports(sessions)
    if not reports:
        return problem(
            "model servers", "None was heard of lately, so nothing is predicted.", "Start one: `tidemill model-server`."
        )
    failed = sorted({item.name for report in reports for item in report.deployments if item.state == "failed"})
    if failed:
        shown = ", ".join(failed[:5])
        return problem("model servers", f"Not loadable: {shown}.", "`tidemill deploy show NAME` says why.")
    async with transaction(sessions) as session:
        size_bytes = await deployments.signature_bytes(session)
    if size_bytes > MAX_SNAPSHOT_BYTES:
        found = f"The signatures of all deployments take {size_bytes} bytes, so the last ones by name do not follow."
        return problem("model servers", found, f"Remove deployments until it is {MAX_SNAPSHOT_BYTES} at most.")
    return ok("model servers", f"{len(reports)} follow the api.")


async def check_ledger(sessions: SessionFactory) -> CheckResult:
    reports = await _reports(sessions)
    waiting = sum(report.ledger_waiting_bytes for report in reports)
    kinds = {
        "rows set aside": sum(report.ledger_rejected_rows for report in reports),
        "rows waiting to be shipped again": sum(report.ledger_retry_rows for report in reports),
        "answered rows lost": sum(report.ledger_lost_rows for report in reports),
        "files in quarantine": sum(report.quarantined_files for report in reports),
    }
    if any(kinds.values()):
        found = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
        aside = sum(report.ledger_set_aside_bytes for report in reports)
        advice = "On the model server: `tidemill admin ledger list` shows them, `retry` and `discard` clear them."
        return problem("ledger", f"{found}; {aside} bytes of the ledger's budget.", advice)
    if waiting > _BACKLOG_WARNING_BYTES:
        return warning("ledger", f"{waiting} bytes wait to be shipped.", "Look at the model servers' logs.")
    return ok("ledger", f"{waiting} bytes wait to be shipped.")


async def check_sandbox(sessions: SessionFactory, kernel: Kernel, allow_unconfined: bool) -> CheckResult:
    """Of the api's own machine, where workers mostly run too, and of every model server, which reports it."""
    weak = sum(report.sandbox not in {"full", None} for report in await _reports(sessions))
    lacks = [f"this machine lacks {kernel.lacks}"] if kernel.level != "full" else []
    lacks += [f"{weak} model servers cannot confine models"] if weak else []
    if not lacks:
        return ok("sandbox", "Computing children are confined: Landlock and seccomp.")
    found = f"Computing children are not fully confined: {'; '.join(lacks)}."
    if allow_unconfined:
        return warning("sandbox", f"{found} Models with code of their own run anyway.", "Use Linux 6.12 or newer.")
    return warning(
        "sandbox",
        f"{found} Models with code of their own are refused.",
        "Use Linux 6.12; docs/sandbox.md.",
    )


async def _reports(sessions: SessionFactory) -> list[ServerReport]:
    """Without what no check looks at: keys that were used, and deployments but a few that failed."""
    async with transaction(sessions) as session:
        since = utc_now() - SERVERS_ARE_GONE_AFTER
        found = await session.scalars(_REPORTS, {"since": since, "servers": _MOST_SERVERS})
        return [ServerReport.model_validate(each) for each in found]


async def check_backup(sessions: SessionFactory, every_hours: float) -> CheckResult:
    return await _check_age(sessions, "backup", every_hours, "Run `tidemill admin backup`, or let it be scheduled.")


async def check_drill(sessions: SessionFactory, every_hours: float) -> CheckResult:
    if every_hours == 0:
        return ok("restore drill", "Not scheduled.")
    return await _check_age(sessions, "drill", every_hours, "Run `tidemill admin restore-drill`.")


async def _check_age(
    sessions: SessionFactory, kind: Literal["backup", "drill"], every_hours: float, advice: str
) -> CheckResult:
    part = "restore drill" if kind == "drill" else kind
    query = select(func.max(BackupRun.finished_at)).where(BackupRun.kind == kind, BackupRun.succeeded)
    async with transaction(sessions) as session:
        last = await session.scalar(query)
    if last is None:
        return warning(part, "There was none yet.", advice)
    age, every = utc_now() - last, timedelta(hours=every_hours)
    if age < every * _LATE:
        return ok(part, f"The last one is {age_text(age)} old.")
    report = problem if age > every * _VERY_LATE and kind == "backup" else warning
    return report(part, f"The last one is {age_text(age)} old; one every {age_text(every)} is wanted.", advice)
