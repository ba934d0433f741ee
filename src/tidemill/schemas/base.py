"""What all wire models share."""

from pydantic import BaseModel, ConfigDict


class Schema(BaseModel):
    """Unknown members are refused, so that a misspelt option is never silently ignored."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, from_attributes=True)


class Reply(BaseModel):
    """What the api answers. Members may be added in later releases, so readers ignore what they do not know."""

    model_config = ConfigDict(use_attribute_docstrings=True, from_attributes=True)
