"""The folder of segments: numbered files, the newest one open for writing, all others waiting to be shipped."""

import os
from pathlib import Path

from tidemill.kit.hashing import sha256_of_bytes
from tidemill.model_server.disk import sync_directory

_SUFFIX = ".wal"
_DIGITS = 16


class SegmentFolder:
    """Segments by number, in order. Numbers only grow while segments wait."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rejected = folder / "rejected"
        folder.mkdir(parents=True, exist_ok=True)
        self.rejected.mkdir(exist_ok=True)
        sync_directory(folder)
        sync_directory(folder.parent)

    def numbers(self) -> list[int]:
        return sorted(int(path.stem) for path in self.folder.glob(f"*{_SUFFIX}"))

    def path(self, number: int) -> Path:
        return self.folder / f"{number:0{_DIGITS}d}{_SUFFIX}"

    def create(self, number: int) -> int:
        """A descriptor for appending to a new segment whose name is safely on disk."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(self.path(number), flags, 0o600)
        sync_directory(self.folder)
        return descriptor

    def delete(self, number: int) -> None:
        self.path(number).unlink(missing_ok=True)

    def size_bytes(self) -> int:
        """Of all segments together."""
        return sum(self.path(number).stat().st_size for number in self.numbers())

    def set_aside(self, lines: list[bytes]) -> None:
        """Keep lines that can never be shipped, for people to look at. The same lines again replace themselves."""
        name = sha256_of_bytes(b"\n".join(lines))[:32]
        part = self.rejected / f"{name}.part"
        with part.open("wb") as out:
            out.writelines(line + b"\n" for line in lines)
            out.flush()
            os.fsync(out.fileno())
        part.replace(self.rejected / f"{name}.ndjson")
        sync_directory(self.rejected)

    def oldest_written_at(self) -> float | None:
        """When the oldest segment was last written, in seconds since 1970; None if there is none."""
        for number in self.numbers():
            try:
                status = self.path(number).stat()
            except FileNotFoundError:
                continue  # shipped this moment
            if status.st_size:
                return status.st_mtime
        return None

    def rejected_rows(self) -> int:
        total = 0
        for path in self.rejected.glob("*.ndjson"):
            with path.open("rb") as lines:
                total += sum(1 for _ in lines)
        return total
