"""The bytes of a column of texts, for what would be slow text by text."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def raw(texts: Any) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8]]:
    """Where each text starts, how long it is, and the bytes of all. A missing text has length 0."""
    _, offset_buffer, data_buffer = texts.buffers()
    offsets = np.frombuffer(offset_buffer, dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
    data = np.frombuffer(data_buffer, dtype=np.uint8) if data_buffer is not None else np.zeros(0, np.uint8)
    return offsets[:-1], np.diff(offsets), data
