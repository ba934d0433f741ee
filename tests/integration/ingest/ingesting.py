"""Runs the ingest of a file in this process."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tidemill.kit.errors import TidemillError
from tidemill.training.ingest.entry import normalise
from tidemill.training.ingest.memory import resident_bytes

FREE_BYTES = 384 * 2**20
"""What the ingest may take beside the process of the tests."""


@dataclass
class QuietReporter:
    scratch: Path
    cpu_threads: int = 2
    memory_limit_bytes: int = field(default_factory=lambda: resident_bytes() + FREE_BYTES)
    stages: list[str] = field(default_factory=list)

    def progress(self, stage: str, *_: Any, **__: Any) -> None:
        self.stages.append(stage)

    def log(self, level: str, message: str) -> None:
        pass

    def event(self, **fields: Any) -> None:
        pass

    def check(self) -> None:
        pass


@dataclass
class Ingest:
    """``ingest(b"a,b\\n1,2\\n", types={"a": "string"})``; options by name, ``contract`` as columns."""

    folder: Path
    count: int = 0
    free_bytes: int = FREE_BYTES

    def __call__(
        self, content: bytes | str | Path, contract: list[dict[str, Any]] | None = None, **options: Any
    ) -> Any:
        self.count += 1
        work = self.folder / str(self.count)
        (work / "scratch").mkdir(parents=True)
        (work / "parts").mkdir()
        source = content if isinstance(content, Path) else work / "raw"
        if not isinstance(content, Path):
            source.write_bytes(content.encode() if isinstance(content, str) else content)
        request = {
            "source": str(source),
            "filename": "raw",
            "output": str(work / "parts"),
            "options": options,
            "contract": {"columns": contract} if contract else None,
        }
        return normalise(
            request, QuietReporter(work / "scratch", memory_limit_bytes=resident_bytes() + self.free_bytes)
        )

    def refused(self, content: bytes | str | Path, **options: Any) -> TidemillError:
        with pytest.raises(TidemillError) as caught:
            self(content, **options)
        return caught.value

    def places(self, content: bytes | str | Path, **options: Any) -> list[str]:
        return [problem.pointer for problem in self.refused(content, **options).problems]


def types_of(result: Any) -> dict[str, str]:
    return {column["name"]: column["type"] for column in result["columns"]}


def table_of(result: Any) -> pa.Table:
    return pa.concat_tables([pq.read_table(part["path"]) for part in result["parts"]])
