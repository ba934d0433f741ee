"""The life of a dataset version.

```
pending --> ready --> (deleted)
   |
   +------> (removed: refused, failed or cancelled; nothing but the job tells of it)
```
"""

from enum import StrEnum


class VersionState(StrEnum):
    PENDING = "pending"
    """Bytes are stored, the job has not ended; no number yet."""
    READY = "ready"
    """Numbered and never changed again."""
