"""`tidemill model` against a real api."""

import json
import re

import pandas as pd
import pytest

from tests.integration.conftest import LiveApi, RunCli, RunJobs
from tests.integration.registry.conftest import Enrol
from tests.integration.registry.models import register
from tests.integration.registry.trained import train, useless
from tidemill.client import Tidemill
from tidemill.db.engine import SessionFactory
from tidemill.kit.errors import NotFound, PreconditionFailed
from tidemill.schemas.registry import GatePolicy

INTERVAL = re.compile(r"\d\.\d{4} \(\d\.\d{4} to \d\.\d{4}\)")


async def test_promotion_and_rollback_by_hand(run_cli: RunCli, sessions: SessionFactory) -> None:
    for number in (1, 2):
        await register(sessions)
        code, out, _ = await run_cli(
            "model", "promote", "loans", "--version", str(number), "--force", "--reason", "Trusted"
        )
        assert (code, out.startswith(f"champion now points to version {number}")) == (0, True)
    code, _, err = await run_cli("model", "promote", "loans", "--version", "1", "--force")
    assert (code, "--reason" in err) == (2, True)
    code, out, _ = await run_cli("model", "rollback", "loans", "--reason", "Worse in the evening")
    assert (code, "version 1" in out) == (0, True)
    code, _, err = await run_cli("model", "rollback", "loans")
    assert (code, "no_previous_champion" in err) == (5, True)
    code, out, _ = await run_cli("-o", "json", "model", "history", "loans", "--alias", "champion")
    assert [event["kind"] for event in json.loads(out)] == ["rollback", "forced", "forced"]
    code, out, _ = await run_cli("-o", "json", "model", "history", "loans", "--at", "0s")
    assert {alias["alias"]: alias["to_number"] for alias in json.loads(out)["aliases"]} == {"champion": 1}


async def test_models_and_versions_are_shown_as_tables_and_json(run_cli: RunCli, sessions: SessionFactory) -> None:
    await register(sessions)
    tables = (["list"], ["show", "loans"], ["show", "loans:1"], ["policy", "loans"], ["history", "loans"])
    for words in tables:
        code, out, err = await run_cli("model", *words)
        assert (code, err) == (0, "")
        assert out
    assert INTERVAL.search((await run_cli("model", "show", "loans"))[1])
    code, out, _ = await run_cli("-o", "json", "model", "show", "loans@challenger")
    assert (code, json.loads(out)["version"]["number"]) == (0, 1)
    code, out, _ = await run_cli("-o", "json", "model", "show", "loans")
    assert (code, [version["number"] for version in json.loads(out)["versions"]]) == (0, [1])
    assert (await run_cli("model", "show", "loans:9"))[0] == 4
    assert (await run_cli("model", "show", "nothing"))[0] == 4


async def test_aliases_policies_and_deletion(run_cli: RunCli, sessions: SessionFactory) -> None:
    await register(sessions)
    assert (await run_cli("model", "alias", "set", "loans", "shadow", "--version", "1"))[0] == 0
    assert (await run_cli("model", "delete", "loans", "--version", "1", "--yes"))[0] == 5
    for alias in ("shadow", "challenger"):
        assert (await run_cli("model", "alias", "delete", "loans", alias))[0] == 0
    assert (await run_cli("model", "delete", "loans", "--version", "1", "--yes"))[0] == 0
    code, out, _ = await run_cli("-o", "json", "model", "policy", "loans", "--champion-margin", "0.01")
    assert (code, json.loads(out)["revision"], json.loads(out)["policy"]["champion_margin"]) == (0, 2, 0.01)
    assert (await run_cli("model", "policy", "loans", "--confidence", "7"))[0] == 2


async def test_a_refused_promotion_exits_with_three_and_the_reasons(
    run_cli: RunCli, enrol: Enrol, run_jobs: RunJobs, frame: pd.DataFrame
) -> None:
    await enrol(useless(frame), "useless")
    await run_jobs()
    code, out, err = await run_cli("model", "promote", "loans", "--version", "1")
    assert (code, out) == (3, "")
    assert "Not shown to be better than the naive baseline" in err


async def test_versions_are_compared_side_by_side(
    live_api: LiveApi, enrol: Enrol, run_jobs: RunJobs, frame: pd.DataFrame
) -> None:
    for name, columns in (("one", ("age", "town")), ("two", ("town",))):
        await enrol(train(frame, *columns), name)
    with Tidemill(live_api.url, live_api.key) as tidemill:
        started = tidemill.models.request_comparison("loans", 1, 2)
        await run_jobs()
        result = tidemill.jobs.result(started.job_id, timeout_seconds=5)
    assert (result["first"]["number"], result["second"]["number"], result["holdout_of"]) == (1, 2, 1)
    assert (result["scored"], result["reason"]) == (False, "the dataset of the holdout is not at hand")


async def test_the_sdk_changes_a_policy_only_as_it_was_read(live_api: LiveApi, sessions: SessionFactory) -> None:
    await register(sessions)
    with Tidemill(live_api.url, live_api.key) as tidemill:
        read = tidemill.models.policy("loans")
        changed = tidemill.models.set_policy("loans", GatePolicy(champion_margin=0.1), read.revision)
        assert changed.revision == 2
        with pytest.raises(PreconditionFailed):
            tidemill.models.set_policy("loans", GatePolicy(), read.revision)
        with pytest.raises(NotFound):
            tidemill.models.last_move("loans")
        assert [model.name for model in tidemill.models.list()] == ["loans"]
