"""What If-Match and If-None-Match say about an entity tag (RFC 9110, 8.8.3 and 13.1)."""

import re

_TAG = re.compile(r'(W/)?("[^"]*")')


def names_tag(header: str, tag: str, *, weak: bool = False) -> bool:
    """Whether ``header`` is ``*`` or lists ``tag``, which is strong. ``weak``: a weak one in the list counts too."""
    if header.strip() == "*":
        return True
    return any(quoted == tag and (weak or not prefix) for prefix, quoted in _TAG.findall(header))
