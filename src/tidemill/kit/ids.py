"""Prefixed UUIDv7 identifiers (RFC 9562): sortable by creation time, recognisable by kind."""

import os
import re
import time
import uuid
from datetime import UTC, datetime

DATASET = "ds"
DATASET_VERSION = "dsv"
UPLOAD = "up"
JOB = "job"
EXPERIMENT = "exp"
RUN = "run"
MODEL = "mod"
MODEL_VERSION = "mv"
ALIAS_EVENT = "ae"
GATE_DECISION = "gd"
DEPLOYMENT = "dep"
PREDICTION = "prd"
REPORT = "rep"
KEY = "key"

_ID = re.compile(r"[a-z]{2,4}_[0-9a-f]{32}")


def uuid7() -> uuid.UUID:
    """48 bits of milliseconds, 12 of their fraction (method 3 of RFC 9562, section 6.2), 62 of randomness: a process
    that makes one after the other makes them in order."""
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    value = (milliseconds & ((1 << 48) - 1)) << 80
    value |= 0x7 << 76
    value |= (rest * 4096 // 1_000_000) << 64
    value |= 0b10 << 62
    value |= int.from_bytes(os.urandom(8), "big") & ((1 << 62) - 1)
    return uuid.UUID(int=value)


def new_id(prefix: str) -> str:
    """A new id such as ``job_0199c0de...``: the prefix and 32 hexadecimal digits of a UUIDv7."""
    return f"{prefix}_{uuid7().hex}"


def is_id(text: str, prefix: str) -> bool:
    return text.startswith(f"{prefix}_") and _ID.fullmatch(text) is not None


def created_at(identifier: str) -> datetime:
    """The moment (milliseconds, UTC) written into an id made by `new_id`."""
    milliseconds = int(identifier.rpartition("_")[2][:12], 16)
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def first_of(prefix: str, moment: datetime) -> str:
    """The smallest id that can have been made at ``moment`` (to the millisecond): ids from then on are not below it."""
    milliseconds = max(0, int(moment.timestamp() * 1000))  # nothing was made before 1970
    return f"{prefix}_{milliseconds:012x}{'0' * 20}"
