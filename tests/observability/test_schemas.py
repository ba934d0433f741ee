"""The files of Grafana, Loki and Alloy have the form that these read, though none of the three runs here."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.observability import alloy
from tests.observability.conftest import ROOT

DEPLOY = ROOT / "deploy"
SCHEMAS = Path(__file__).parent / "schemas"
ALLOY = DEPLOY / "alloy" / "config.alloy"


def _schema(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((SCHEMAS / f"{name}.yml").read_text()))


def _faults(schema: dict[str, Any], content: Any) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema)
    return [f"{'/'.join(map(str, error.path))}: {error.message[:200]}" for error in validator.iter_errors(content)]


@pytest.mark.parametrize("file", sorted((DEPLOY / "grafana/dashboards").glob("*.json")), ids=lambda file: file.stem)
def test_a_dashboard_has_the_form_that_grafana_reads(file: Path) -> None:
    assert _faults(_schema("dashboard"), json.loads(file.read_text())) == []


def test_loki_knows_every_key_of_its_file() -> None:
    content = yaml.safe_load((DEPLOY / "loki/loki.yml").read_text())
    assert _faults(_schema("loki"), content) == []
    content["limits_config"]["retention_perriod"] = content["limits_config"].pop("retention_period")
    assert len(_faults(_schema("loki"), content)) == 2


@pytest.fixture(scope="module")
def components() -> list[alloy.Block]:
    return alloy.parse(ALLOY.read_text())


def _alloy_faults(blocks: list[alloy.Block], known: dict[str, Any]) -> Iterator[str]:
    for block in blocks:
        if block.name not in known:
            yield f"{block.name} is not known"
            continue
        rule = known[block.name]
        must, may = set(rule.get("must", ())), set(rule.get("may", ()))
        given = set(block.attributes)
        yield from (f"{block.name} lacks {name}" for name in must - given)
        yield from (f"{block.name} knows no {name}" for name in given - must - may)
        yield from _alloy_faults(block.blocks, rule.get("blocks", {}))


def _references(blocks: list[alloy.Block]) -> Iterator[tuple[str, str]]:
    """What refers to which component's export, by the names of the block's attributes."""
    for block in blocks:
        for name, value in block.attributes.items():
            yield from ((f"{block.name}.{name}", token) for token in value if re.fullmatch(r"[a-z]+(\.\w+){2,}", token))
        yield from _references(block.blocks)


def test_alloy_knows_every_block_and_attribute_of_its_file(components: list[alloy.Block]) -> None:
    assert list(_alloy_faults(components, _schema("alloy"))) == []


def test_every_component_of_alloy_hands_on_to_one_that_there_is(components: list[alloy.Block]) -> None:
    known = _schema("alloy")
    exports = {
        f"{block.name}.{block.label}.{name}" for block in components for name in known[block.name].get("exports", ())
    }
    used = {token for _, token in _references(components)}
    assert used <= exports, used - exports
    named = {name.rsplit(".", 2)[0] for name in used}
    silent = {block.name for block in components if "." in block.name} - named
    assert silent == {"loki.source.docker"}, "the one that begins"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("forward_to = [loki.process.lines.receiver]", ""),
        ("drop_malformed = false", "drop_malformd = false"),
        ("stage.label_keep {", "stage.label_kepp {"),
    ],
)
def test_a_slip_in_alloys_file_is_found(before: str, after: str) -> None:
    text = ALLOY.read_text()
    assert before in text
    assert list(_alloy_faults(alloy.parse(text.replace(before, after)), _schema("alloy")))


@pytest.mark.parametrize("broken", ['a "b" {', "a {\n x = [1,\n}", "x = 1", "a {\n x = \n}", 'a {\n x = "1\n}'])
def test_what_is_no_configuration_of_alloy_is_found(broken: str) -> None:
    with pytest.raises((AssertionError, IndexError)):
        alloy.parse(broken)
