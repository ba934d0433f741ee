"""What others wrote, made visible before a terminal acts on it.

Column names, values, answers and log lines come from whoever sent them. A terminal takes some characters for orders: to
clear the screen, to change its title, to show text backwards.
"""

import re
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_ORDERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters but tab and line feed, and those that turn or end the direction of writing."""


def visible(text: str) -> str:
    """``text`` with each such character as JSON writes it, such as ``\\u001b``."""
    return _ORDERS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class SafeConsole(Console):
    """A console that says nothing to the terminal but what it was asked to: colours and places."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)
