"""Names that were probably meant."""

from collections.abc import Collection
from difflib import get_close_matches

from tidemill.kit.errors import Invalid, Problem


def check_column(name: str, known: Collection[str], what: str) -> None:
    """Raise Invalid (``column_unknown``) unless ``name`` is one of the columns ``known``, with near matches of it.

    ``what`` says for which role the column was named, such as ``target``.
    """
    if name in known:
        return
    near = get_close_matches(name, known, n=3, cutoff=0.6)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    detail = f"The dataset has no {what} column {name}.{hint}"
    raise Invalid("column_unknown", detail, [Problem(f"column {name}", "column_unknown", detail)])
