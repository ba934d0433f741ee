"""`tidemill config ...`"""

from dataclasses import asdict

import typer

from tidemill.cli.context import make_table, show
from tidemill.settings.sources import load_settings_with_origins

app = typer.Typer(no_args_is_help=True, help="Settings.")


@app.command(name="show")
def show_settings() -> None:
    """Every setting, its value (secrets masked) and where the value comes from."""
    _, origins = load_settings_with_origins()
    rows = [(origin.name, origin.value, origin.source) for origin in origins]
    show([asdict(origin) for origin in origins], lambda: make_table(None, "setting", "value", "from", rows=rows))
