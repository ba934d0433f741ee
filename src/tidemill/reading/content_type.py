"""What a ``Content-Type`` says about a text: its encoding, in the spelling of a stranger."""

from email.message import Message

from tidemill.kit.errors import Unsupported

_LONGEST = 1000
"""Characters: a longer one names nothing, and costs more to take apart the longer it is."""


def declared_encoding(content_type: str) -> str | None:
    """The ``charset``; None without one. Raises Unsupported for one that is no name, or that cannot be read."""
    if len(content_type) > _LONGEST:
        raise _unknown()
    header = Message()
    header["content-type"] = content_type
    try:
        given = header.get_param("charset")
        name = header.get_content_charset("")
    except ValueError:  # such as a part of a parameter whose number has thousands of digits
        raise _unknown() from None
    if given and not name:
        raise _unknown()
    return name or None


def _unknown() -> Unsupported:
    return Unsupported("encoding_unknown", "There is no such encoding.")
