"""How every benchmark tells its figures: a table for people, a JSON file for following them over time."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

FOLDER = Path("build/bench")


@dataclass(frozen=True)
class Figure:
    """One figure. ``peer`` is the same measured on what we compare with, ``ratio`` value by peer, ``goal`` in ``unit``
    (a ratio's goal where there is a peer), ``met`` whether it was reached."""

    name: str
    value: float
    unit: str
    peer: float | None = None
    ratio: float | None = None
    goal: float | None = None
    met: bool | None = None


def at_most(name: str, value: float, unit: str, goal: float) -> Figure:
    """A figure that should not be above ``goal``."""
    return Figure(name, value, unit, goal=goal, met=value <= goal)


def at_least(name: str, value: float, unit: str, goal: float) -> Figure:
    """A figure that should not be below ``goal``."""
    return Figure(name, value, unit, goal=goal, met=value >= goal)


def beside(name: str, value: float, unit: str, peer: float, goal: float) -> Figure:
    """A figure that should be at most ``goal`` times what ``peer`` needs."""
    return Figure(name, value, unit, peer, value / peer, goal, value / peer <= goal)


def record(figures: Sequence[Figure], name: str) -> Path:
    """Print ``figures`` and write them to ``build/bench/<name>.json``."""
    console = Console()
    console.width = console.width if console.is_terminal else 120
    console.print(_table(figures, name))
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / f"{name}.json"
    file.write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n")
    return file


def _table(figures: Sequence[Figure], name: str) -> Table:
    table = Table(
        "figure", "value", "unit", "peer", "ratio", "goal", "met", title=f"bench {name}", title_justify="left"
    )
    for figure in figures:
        met = {None: "-", True: "[green]yes[/]", False: "[bold red]no[/]"}[figure.met]
        numbers = [_number(value) for value in (figure.peer, figure.ratio, figure.goal)]
        table.add_row(figure.name, _number(figure.value), figure.unit, *numbers, met)
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
