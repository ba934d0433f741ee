"""What CONTRIBUTING.md asks of the code and no linter checks."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("src", "tests", "benchmarks", "observability", "docs", "release", "deploy")
SDK = sorted((ROOT / "src/tidemill/client").glob("*.py"))
MOST_LINES_OF_A_FILE, MOST_LINES_OF_A_FUNCTION = 499, 50
SAYING_NOTHING = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"}
MOCKS = ("unittest.mock", "pytest_mock", "mocker")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def _files() -> Iterator[Path]:
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*")):
            if file.suffix == ".py" or (
                file.is_file() and not file.suffix and _begins(file, b"#!/usr/bin/env python3")
            ):
                yield file


def _begins(file: Path, words: bytes) -> bool:
    with file.open("rb") as stream:
        return stream.read(len(words)) == words


def _place(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.fixture(scope="module")
def modules() -> dict[str, ast.Module]:
    return {_place(file): ast.parse(file.read_text(encoding="utf-8")) for file in _files()}


def test_files_and_functions_stay_small(modules: dict[str, ast.Module]) -> None:
    files = [place for place in modules if len((ROOT / place).read_text().splitlines()) > MOST_LINES_OF_A_FILE]
    functions = [
        (place, node.name)
        for place, module in modules.items()
        for node in ast.walk(module)
        if isinstance(node, Function) and (node.end_lineno or 0) - node.lineno + 1 > MOST_LINES_OF_A_FUNCTION
    ]
    assert (files, functions) == ([], [])


def test_names_of_modules_say_what_is_in_them(modules: dict[str, ast.Module]) -> None:
    assert [place for place in modules if SAYING_NOTHING & {*Path(place).with_suffix("").parts}] == []


def test_every_module_says_why_it_exists(modules: dict[str, ast.Module]) -> None:
    silent = [place for place, module in modules.items() if module.body and not ast.get_docstring(module)]
    assert silent == []


def test_everything_public_of_the_sdk_is_explained(modules: dict[str, ast.Module]) -> None:
    classes = [node for file in SDK for node in modules[_place(file)].body if isinstance(node, ast.ClassDef)]
    public = [node for node in classes if not node.name.startswith("_")]
    methods = [node for each in public for node in each.body if isinstance(node, Function) and node.name[0] != "_"]
    assert [node.name for node in (*public, *methods) if not ast.get_docstring(node)] == []


def test_fakes_not_mocks(modules: dict[str, ast.Module]) -> None:
    """A fake passes the tests of the real thing; a mock passes whatever was written into it."""
    imported = {
        (place, name)
        for place, module in modules.items()
        for node in ast.walk(module)
        for name in _imports(node)
        if name.startswith(MOCKS)
    }
    assert imported == set()


def _imports(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
