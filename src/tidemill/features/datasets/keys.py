"""Where bytes of datasets lie in the object store."""

UPLOADS = "datasets/uploads/"
RAW = "datasets/raw/"
PARQUET = "datasets/parquet/"


def upload_key(upload_id: str) -> str:
    return f"{UPLOADS}{upload_id}"


def raw_key(sha256: str) -> str:
    return f"{RAW}{sha256}"


def part_key(digest: str, index: int) -> str:
    """``digest``: of the SHA-256 of all parts of the version."""
    return f"{PARQUET}{digest}/part-{index:05d}.parquet"


def address_of(key: str) -> str:
    """What a raw object or a folder of parts is addressed by: the third member of its key."""
    return key.split("/")[2]
