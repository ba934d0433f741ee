"""`tidemill monitor ...` and the SDK against a live api and a running worker."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from tests.integration.conftest import LiveApi, RunCli, RunJobs
from tests.integration.monitoring.conftest import Income
from tidemill.client import Tidemill
from tidemill.kit.tasks import end_tasks


@pytest.fixture
async def working(run_jobs: RunJobs, income: Income) -> AsyncIterator[None]:
    """Jobs are run as they come, as long as the test lasts."""

    async def work() -> None:
        while True:
            await run_jobs()
            await asyncio.sleep(0.1)

    task = asyncio.create_task(work())
    yield
    await end_tasks(task)


async def test_a_report_is_made_shown_and_listed(run_cli: RunCli, working: None) -> None:
    code, out, err = await run_cli("monitor", "report", "adult-income", "--since", "7d")
    assert code == 0, err
    for said in ("adult-income:1", "450 of 900 with truth (50%)", "roc_auc", "within", "below", "Label delay", ">50K"):
        assert said in out
    assert "Report on adult-income" in err
    code, out, _ = await run_cli("-o", "json", "monitor", "list", "adult-income")
    report_id = json.loads(out)[0]["id"]
    code, out, _ = await run_cli("-o", "json", "monitor", "show", report_id)
    assert (code, json.loads(out)["content"]["counts"]["predictions"]) == (0, 900)


async def test_faults_end_with_their_exit_codes(run_cli: RunCli, income: Income) -> None:
    assert (await run_cli("monitor", "report", "absent"))[0] == 4
    code, _, err = await run_cli("monitor", "report", "adult-income", "--since", "yesterday")
    assert code == 2
    assert "7d, 2026-01-31" in err
    assert (await run_cli("monitor", "show", "rep_0"))[0] == 4


async def test_the_sdk_waits_for_its_report(live_api: LiveApi, working: None) -> None:
    def report() -> int:
        with Tidemill(live_api.url, live_api.key) as tidemill:
            return tidemill.monitoring.report("adult-income", timeout_seconds=60).content.counts.labelled

    assert await asyncio.to_thread(report) == 450
