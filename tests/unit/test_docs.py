"""The documents say what the code says."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest

from tidemill.evaluation.comparison import Verdict
from tidemill.features.datasets.states import VersionState
from tidemill.jobs.states import TRANSITIONS
from tidemill.schemas.deployments import DeploymentState

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DECISIONS = sorted((DOCS / "decisions").glob("0*.md"))
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
_COMMAND = re.compile(r"`(tidemill(?: [a-z][a-z-]+)+)")
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["settings.md", "cli.md", "metrics.md"])
def test_every_setting_command_and_metric_is_documented(generate: ModuleType, name: str) -> None:
    written = (DOCS / name).read_text(encoding="utf-8")
    assert written == generate.pages()[name], f"docs/{name} is out of date: run make docs"


def test_every_metric_says_what_it_means_and_follows_the_naming_rules(generate: ModuleType) -> None:
    metrics = generate.metrics()
    assert metrics
    assert [metric.name for metric in metrics if not metric.meaning] == []
    assert [metric.name for metric in metrics if metric.kind == "counter" and not metric.name.endswith("_total")] == []


def test_no_metric_is_made_where_the_generator_cannot_see_it(generate: ModuleType) -> None:
    """A name that is not a literal at its creation would be missing from the page."""
    seen = {metric.name for metric in generate.metrics()}
    named = set()
    for file in generate.SOURCES.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        if "prometheus_client" in text or "metrics" in text:
            named |= set(re.findall(r'"(tidemill_[a-z_]+)"', text))
    assert named == seen


def test_every_command_that_is_advised_exists(generate: ModuleType) -> None:
    """In the documents, and in the advice of errors and checks."""
    commands = generate.commands()
    texts = [*PAGES, *generate.SOURCES.rglob("*.py"), *(ROOT / "deploy").rglob("*.y*ml"), ROOT / "deploy" / "init"]
    unknown = set()
    for file in texts:
        for named in _COMMAND.findall(file.read_text(encoding="utf-8")):
            words = tuple(named.split())
            if not any(words[: len(command)] == command or command[: len(words)] == words for command in commands):
                unknown.add((str(file.relative_to(ROOT)), named))
    assert unknown == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert [link for link in _LINK.findall(text) if not (page.parent / link).exists()] == []


def test_decisions_have_numbers_of_their_own_and_their_four_parts() -> None:
    numbers = [int(file.name[:4]) for file in DECISIONS]
    assert len(numbers) == len(set(numbers))
    for number, file in zip(numbers, DECISIONS, strict=True):
        text = file.read_text(encoding="utf-8")
        assert file.name.startswith(f"{number:04d}-")
        assert text.startswith(f"# {number}. ")
        assert re.findall(r"^## (\w+)$", text, flags=re.MULTILINE) == ["Context", "Decision", "Consequences"]
        assert len(text.splitlines()) <= 30
        assert file.name in (DOCS / "decisions" / "README.md").read_text(encoding="utf-8")


def test_the_glossary_draws_exactly_the_transitions_of_a_job() -> None:
    glossary = (DOCS / "glossary.md").read_text(encoding="utf-8")
    drawing = glossary.partition("### A job")[2].partition("```mermaid")[2].partition("```")[0]
    drawn = {(present, new) for present, new in re.findall(r"(\w+) --> (\w+)", drawing)}
    assert drawn == {(present.value, new.value) for present, news in TRANSITIONS.items() for new in news}


@pytest.mark.parametrize(
    ("section", "states"),
    [("A dataset version", {state.value for state in VersionState}), ("A deployment", set(get_args(DeploymentState)))],
)
def test_the_glossary_draws_the_states_that_the_code_knows(section: str, states: set[str]) -> None:
    glossary = (DOCS / "glossary.md").read_text(encoding="utf-8")
    drawing = glossary.partition(f"### {section}\n")[2].partition("```mermaid")[2].partition("```")[0]
    assert {name for pair in re.findall(r"(\w+|\[\*\]) --> (\w+|\[\*\])", drawing) for name in pair} - {"[*]"} == states


def test_the_glossary_names_every_verdict() -> None:
    glossary = (DOCS / "glossary.md").read_text(encoding="utf-8")
    assert [name for name in get_args(Verdict) if name not in glossary and name != "no_holdout"] == []
