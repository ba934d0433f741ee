"""Tables and reporters for tests of training."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tidemill.schemas.experiments import TrainingOptions
from tidemill.training.frames import Table, to_table
from tidemill.training.preparation import Prepared, prepare_table


class SilentReporter:
    """Keeps what it was told; ``fail_at`` is the number of the check that raises, as if the lease had ended."""

    def __init__(self, scratch: Path = Path(), fail_at: int | None = None) -> None:
        self.scratch = scratch
        self.cpu_threads = 2
        self.memory_limit_bytes = 1 << 32
        self.stages: list[tuple[str, float, float | None]] = []
        self._checks_left = fail_at

    def progress(
        self, stage: str, done: float = 0, total: float | None = None, message: str = "",
        best: float | None = None, metric: str | None = None,
    ) -> None:  # fmt: skip
        self.stages.append((stage, done, total))

    def log(self, level: str, message: str) -> None: ...

    def event(self, **fields: Any) -> None: ...

    def check(self) -> None:
        if self._checks_left is not None:
            self._checks_left -= 1
            if self._checks_left < 0:
                raise KeyboardInterrupt


def people(rows: int = 400, seed: int = 0) -> pd.DataFrame:
    """Numbers, text with gaps, flags, dates; ``good`` depends on them, ``score`` is a number that does."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 80, rows)
    town = rng.choice(["ghent", "lille", "delft"], rows)
    wage = rng.normal(50, 15, rows)
    score = (age - 45) / 10 + (town == "lille") * 2 + (wage - 50) / 15 + rng.normal(0, 0.5, rows)
    return pd.DataFrame(
        {
            "age": age,
            "town": pd.Series(np.where(rng.random(rows) < 0.05, None, town), dtype="str"),
            "wage": np.where(rng.random(rows) < 0.05, np.nan, wage),
            "member": pd.Series(rng.choice([True, False, None], rows), dtype="object"),
            "joined": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, rows), "D"),
            "score": score,
            "good": np.where(score > 0, "yes", "no"),
            "grade": pd.cut(pd.Series(score), [-99, -1, 1, 99], labels=["low", "mid", "top"]).astype(str),
        }
    )


def census(rows: int) -> pd.DataFrame:
    """What the README trains on, made up: ``income`` depends on the two others."""
    frame = people(rows)
    return frame[["age", "wage"]].assign(income=frame["good"].map({"yes": ">50K", "no": "<=50K"}))


def table_of(frame: pd.DataFrame) -> Table:
    return to_table(pa.Table.from_pandas(frame, preserve_index=False))


def prepared(frame: pd.DataFrame, **options: Any) -> Prepared:
    return prepare_table(table_of(frame), TrainingOptions(**options), threads=2)
