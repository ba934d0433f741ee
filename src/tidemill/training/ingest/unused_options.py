"""Options that mean nothing for the format a file turned out to have: whoever gave one expects that it was heard."""

from tidemill.kit.errors import NotFound
from tidemill.schemas.datasets import FileFormat, IngestOptions

_OF_TEXT = frozenset({"encoding", "missing", "default_missing"})
_USED: dict[str, frozenset[str]] = {
    FileFormat.CSV: _OF_TEXT | {"delimiter", "quote", "has_header", "decimal"},
    FileFormat.JSON: _OF_TEXT,
    FileFormat.NDJSON: _OF_TEXT,
    FileFormat.EXCEL: frozenset({"sheet", "has_header", "missing", "default_missing"}),
    FileFormat.PARQUET: frozenset(),
    FileFormat.ARROW: frozenset(),
}
_FLAGS = {
    "delimiter": "--delimiter",
    "quote": "--quote",
    "encoding": "--encoding",
    "has_header": "--header",
    "decimal": "--decimal",
    "missing": "--missing",
    "default_missing": "--no-default-missing",
}


def unused_options(options: IngestOptions, form: str) -> list[str]:
    """A warning that names what ``form`` has no use for. Raises NotFound for a sheet of what is no workbook."""
    given = {name for name in IngestOptions.model_fields if getattr(options, name) != getattr(IngestOptions(), name)}
    unused = given - _USED[form]
    if "sheet" in unused:
        raise NotFound("sheet_not_found", f"The file is {form} and has no sheets; only workbooks have.")
    flags = [flag for name, flag in _FLAGS.items() if name in unused]
    return [f"{', '.join(flags)} means nothing for a file of {form} and was not used."] if flags else []
