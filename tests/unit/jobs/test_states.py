"""The life of a job."""

import pytest

from tidemill.jobs.states import FINAL, TRANSITIONS, JobStatus, may_move


def test_every_state_has_its_transitions_and_final_ones_have_none() -> None:
    assert set(TRANSITIONS) == set(JobStatus)
    assert {status for status, following in TRANSITIONS.items() if not following} == FINAL


@pytest.mark.parametrize("final", sorted(FINAL))
def test_an_ended_job_never_moves_again(final: JobStatus) -> None:
    assert not any(may_move(final, new) for new in JobStatus)


def test_only_a_waiting_job_starts_and_only_a_running_one_succeeds() -> None:
    assert [status for status in JobStatus if may_move(status, JobStatus.RUNNING)] == [JobStatus.QUEUED]
    assert [status for status in JobStatus if may_move(status, JobStatus.SUCCEEDED)] == [JobStatus.RUNNING]
