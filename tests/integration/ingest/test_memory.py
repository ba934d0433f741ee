"""Memory does not grow with the file."""

import json
import subprocess
import sys
from pathlib import Path

_LIMIT_BYTES = 256 * 2**20
_CHILD = """
import json, pathlib, sys
import pyarrow as pa
from tests.integration.ingest.ingesting import QuietReporter
from tidemill.training.ingest.entry import normalise

class Reporter(QuietReporter):
    def progress(self, stage, *_, **__):
        self.peaks = {**getattr(self, "peaks", {}), stage: pa.default_memory_pool().max_memory()}

reporter = Reporter(pathlib.Path(sys.argv[3]), 2, int(sys.argv[4]))
result = normalise({"source": sys.argv[1], "filename": "big.csv", "output": sys.argv[2]}, reporter)
print(json.dumps({"rows": result["row_count"], "peak_bytes": reporter.peaks["profiling"]}))
"""


def _peak_bytes(folder: Path, blocks: int) -> int:
    """Most bytes of columns in flight while a file of ``blocks`` times some 4 MB is read."""
    folder.mkdir()
    rows = (f"{index},{index / 7:.9f},2024-01-{index % 28 + 1:02d},name {index % 1000}\n" for index in range(100_000))
    block = "".join(rows)
    with (folder / "big.csv").open("w") as out:
        out.write("id,value,day,name\n")
        out.writelines(block for _ in range(blocks))
    for name in ("parts", "scratch"):
        (folder / name).mkdir()
    arguments = [str(folder / name) for name in ("big.csv", "parts", "scratch")]
    command = [sys.executable, "-c", _CHILD, *arguments, str(_LIMIT_BYTES)]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=240, cwd=root)
    result = json.loads(done.stdout)
    assert result["rows"] == blocks * 100_000
    return int(result["peak_bytes"])


def test_a_file_five_times_as_large_takes_no_more_memory(tmp_path: Path) -> None:
    small, large = _peak_bytes(tmp_path / "small", 8), _peak_bytes(tmp_path / "large", 40)
    assert large < 1.25 * small
