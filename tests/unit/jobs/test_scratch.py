"""Temporary directories of runs, on a real file system."""

import signal
import subprocess
import sys
from pathlib import Path

from tidemill.jobs.scratch import ScratchSpace

_HOLD = """
import asyncio, sys, time
from pathlib import Path
from tidemill.jobs.scratch import ScratchSpace

async def hold():
    async with ScratchSpace(Path(sys.argv[1])).directory() as directory:
        print(directory, flush=True)
        time.sleep(60)

asyncio.run(hold())
"""


async def test_a_directory_is_empty_and_gone_afterwards_with_what_is_in_it(tmp_path: Path) -> None:
    space = ScratchSpace(tmp_path)
    async with space.directory() as one, space.directory() as two:
        assert one != two
        assert list(one.iterdir()) == []
        (one / "below").mkdir()
        (one / "below" / "file").write_text("x")
    assert not one.exists()
    space.close()
    assert list(tmp_path.iterdir()) == []


def test_directories_of_killed_workers_are_removed_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    directory = Path(holder.stdout.readline().strip())
    try:
        assert ScratchSpace(tmp_path).remove_abandoned() == 0
        assert directory.is_dir()
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    assert ScratchSpace(tmp_path).remove_abandoned() == 1
    assert list(tmp_path.iterdir()) == []
