"""What commands print is what there is, and their options are taken wherever they stand."""

import json
import os
import sys
from pathlib import Path

import pytest

from tidemill.cli.context import Output, client, make_table, report, show, state
from tidemill.cli.main import main
from tidemill.cli.prediction_results import flat
from tidemill.cli.processes import missing_extra
from tidemill.kit.errors import Forbidden, Invalid, Problem
from tidemill.schemas.predictions import PredictReply

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As at the start of a process, whatever ran in this one before, and as before afterwards."""
    monkeypatch.setattr(state, "output", Output.TABLE)
    monkeypatch.setattr(state, "data_dir", tmp_path)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["tidemill", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_square_brackets_are_no_markup(capsys: Capture) -> None:
    show([], lambda: [make_table("[title]", "price [EUR]", rows=[("a[/]b",), ("[red]",)]), "in files/[old]/x.csv"])
    assert [line.strip() for line in capsys.readouterr().out.splitlines()] == [
        "[title]", "price [EUR]", "a[/]b", "[red]", "in files/[old]/x.csv",
    ]  # fmt: skip


def test_an_error_is_said_as_it_is(capsys: Capture) -> None:
    error = Invalid("x", "pip install 'tidemill[local]'", [Problem("column [/]", "y", "is not [a, b]")])
    report(error)
    said = capsys.readouterr().err
    assert "pip install 'tidemill[local]' (x)" in said
    assert "column [/]: is not [a, b]" in said


@pytest.mark.parametrize("arguments", [["-o", "json", "version"], ["version", "--output", "json"]])
def test_options_hold_before_and_after_a_command(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, arguments: list[str]
) -> None:
    assert run(monkeypatch, *arguments) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"version"}


def test_what_stands_after_the_command_goes_before_what_stands_ahead(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run(monkeypatch, "--data-dir", "one", "version", "--data-dir", str(tmp_path)) == 0
    assert state.data_dir == tmp_path


@pytest.mark.parametrize("command", ["up", "demo", "admin"])
def test_no_option_is_lost_on_the_way_to_another_process(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, command: str
) -> None:
    assert run(monkeypatch, "--data-dir", "elsewhere", command) == 2
    assert "goes after" in capsys.readouterr().err


def test_a_platform_of_somebody_else_is_told_as_such(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TIDEMILL_API_KEY", raising=False)
    monkeypatch.setattr(state, "data_dir", tmp_path)
    (tmp_path / "admin.key").mkdir()
    with pytest.raises(Forbidden) as refused:
        client()
    assert refused.value.code == "file_unreadable"
    (tmp_path / "addresses.json").write_text("{")
    with pytest.raises(Invalid) as damaged:
        client()
    assert damaged.value.code == "addresses_damaged"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file to another user")
def test_a_platform_that_somebody_put_into_this_folder_is_not_taken_for_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("TIDEMILL_API_KEY", raising=False)
    monkeypatch.setattr(state, "data_dir", tmp_path / "tidemill-data")
    state.data_dir.mkdir()
    for name, text in (("admin.key", "tm_local_planted"), ("addresses.json", '{"api": "http://elsewhere"}')):
        (state.data_dir / name).write_text(text)
    os.chown(state.data_dir, 4242, 4242)
    with pytest.raises(Forbidden, match="another user"):
        client()


def test_an_input_that_is_named_like_an_answer_does_not_replace_it() -> None:
    reply = PredictReply.model_validate(
        {
            "deployment": "cars", "model_name": "cars", "model_version": 1,
            "predictions": [{"prediction_id": "prd_1", "prediction": 7.5}],
        }
    )  # fmt: skip
    (row,) = flat(reply, [{"prediction": "from before", "model": "Beetle", "doors": 2}])
    assert (row["prediction"], row["model"], row["doors"]) == (7.5, "cars:1", 2)


def test_a_process_that_is_not_installed_says_what_to_install() -> None:
    assert missing_extra("tidemill.platform") is None
    assert missing_extra("tidemill.platform", find=lambda _library: None) == "server,training,local"
