"""Waits between attempts, and leases."""

from datetime import timedelta

import pytest

from tidemill.adapters.store_mark import FOREIGN
from tidemill.db.tables.jobs import Job
from tidemill.jobs.lease import Lease, lease_clock
from tidemill.jobs.outcome import backoff_seconds, may_pass, timed_out, waits_for_store
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Conflict, DeadlineExceeded, Invalid, NotFound, Unavailable
from tidemill.settings.model import WorkerSettings


@pytest.mark.parametrize(("earlier", "least"), [(0, 2), (1, 4), (2, 8), (20, 300), (5000, 300)])
def test_waits_double_up_to_five_minutes(earlier: int, least: float) -> None:
    assert least <= backoff_seconds(earlier, 2) <= least * 1.1


def test_only_what_may_pass_is_tried_again() -> None:
    assert may_pass(Unavailable("mlflow_unavailable", "Away."))
    assert may_pass(DeadlineExceeded("database_timeout", "Slow."))
    assert not any(may_pass(kind("code", "No.")) for kind in (Invalid, NotFound, Conflict))
    assert not may_pass(timed_out(5).error)


@pytest.mark.parametrize(
    ("code", "age_hours", "waits"),
    [
        (FOREIGN, 1, True),
        ("object_store_unavailable", 167, True),
        ("object_store_refuses", 1, True),
        (FOREIGN, 169, False),
        ("disk_full", 1, False),
        ("mlflow_unavailable", 1, False),
    ],
)
def test_a_job_waits_a_week_for_a_store_that_is_away(code: str, age_hours: float, waits: bool) -> None:
    job = Job(created_at=utc_now() - timedelta(hours=age_hours))
    assert waits_for_store(job, Unavailable(code, "Away."), WorkerSettings()) == waits


def test_a_lease_ends_before_the_job_may_be_taken_over_and_tells_when_it_is_renewed() -> None:
    now = lease_clock()
    lease = Lease(10, now)
    assert now < lease.ends < now + 10
    told: list[float] = []
    lease.listen(told.append)
    lease.renew(now + 5)
    lease.forget(told.append)
    lease.renew(now + 6)
    assert told == [pytest.approx(now + 13)]
