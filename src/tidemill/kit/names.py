"""Names that people give to datasets, models, deployments and keys."""

import re
from typing import Annotated

from pydantic import StringConstraints

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,62}$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""Lower-case letters, digits, dot, dash, underscore; begins with a letter or digit; at most 63 characters."""

REFERENCE_PATTERN = "^[a-z0-9][a-z0-9._-]{0,62}(@[a-z][a-z0-9_-]{0,62}|:[1-9][0-9]{0,8})?$"
"""What `split_model_reference` takes, for documents."""
_REFERENCE = re.compile(
    r"^(?P<name>[a-z0-9][a-z0-9._-]{0,62})(?:@(?P<alias>[a-z][a-z0-9_-]{0,62})|:(?P<version>[1-9][0-9]{0,8}))?$"
)


def split_model_reference(text: str) -> tuple[str, str | None, int | None] | None:
    """``name@alias`` or ``name:version`` or ``name`` as (name, alias, version); None if it is none of these."""
    match = _REFERENCE.match(text)
    if match is None:
        return None
    version = match["version"]
    return match["name"], match["alias"], int(version) if version else None
