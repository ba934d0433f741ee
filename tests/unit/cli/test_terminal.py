"""What others wrote gives no orders to the terminal of whoever looks at it."""

import io

import pytest
from rich.panel import Panel
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from tidemill.cli.context import make_table
from tidemill.cli.terminal import SafeConsole, visible

HOSTILE = "a\x1b[2Jb\x1b]0;title\x07c\x9b31md\u202ee\rf\x7fg\x08h\u2066i"
ORDERS = "\x1b\x07\x9b\u202e\r\x7f\x08\u2066"


def test_orders_are_shown_as_json_writes_them_and_all_else_as_it_is() -> None:
    shown = visible(HOSTILE)
    assert not set(shown) & set(ORDERS)
    assert shown.startswith("a\\u001b[2Jb\\u001b]0;title")
    assert visible("Größe\t1\n日本 🙂 [x]") == "Größe\t1\n日本 🙂 [x]"


@pytest.mark.parametrize(
    "what",
    [
        HOSTILE,
        Text(HOSTILE, style="bold red"),
        make_table(HOSTILE, HOSTILE, "b", rows=[[HOSTILE, 1]]),
        Panel(HOSTILE),
        Table(HOSTILE, title=HOSTILE),
    ],
    ids=["text", "styled", "table", "panel", "title"],
)
def test_nothing_that_is_printed_holds_an_order_of_somebody_else(what: object) -> None:
    out = io.StringIO()
    SafeConsole(file=out, width=120, markup=False, highlight=False).print(what)
    assert "001b" in out.getvalue()
    assert not set(out.getvalue()) & set(ORDERS)


def test_colours_and_progress_still_reach_a_terminal() -> None:
    out = io.StringIO()
    console = SafeConsole(file=out, width=80, force_terminal=True, color_system="standard", _environ={"TERM": "xterm"})
    console.print(Text("ready", style="bold green"))
    with Progress(TextColumn("{task.description}", markup=False), console=console) as progress:
        progress.add_task(HOSTILE)
    assert "\x1b[1;32mready" in out.getvalue()
    assert "\x1b[?25l" in out.getvalue(), "the cursor is hidden while it moves"
    assert "\x1b]0;title" not in out.getvalue()
