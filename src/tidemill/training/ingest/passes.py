"""One reading of a source: columns converted as planned, evidence gathered on every row, parts written on the way."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tidemill.schemas.datasets import IngestOptions
from tidemill.training.ingest.memory import give_back, resident_bytes
from tidemill.training.ingest.model import Batch, Evidence, Kind, Limits, Mask, Plan, Source
from tidemill.training.ingest.parts import PartWriter
from tidemill.training.ingest.prefetch import Prefetched
from tidemill.training.ingest.text_column import ARROW_TYPES, FITTING, TextReading, TextSlice, read_texts
from tidemill.training.ingest.typed_column import read_typed

Plans = dict[str, Plan]
OnShare = Callable[[float], None]
_MERGED_ROWS = 2**15
_BLOCKS_AHEAD = 3


@dataclass
class PassResult:
    """evidence: by column. paths: of the parts; empty if the plans were contradicted and writing stopped."""

    evidence: dict[str, Evidence]
    row_count: int = 0
    paths: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class PassRunner:
    source: Source
    options: IngestOptions
    limits: Limits
    output: Path
    on_share: OnShare

    def sample(self) -> Batch | None:
        """The first rows, to guess types from; None if there are none."""
        with closing(self.source.batches()) as batches:
            return next(batches, None)

    def run(self, plans: Plans) -> PassResult:
        """Read everything once as ``plans`` say. Raises Invalid for what cannot be read at all."""
        result = PassResult({name: Evidence() for name in plans})
        schema = pa.schema([(name, ARROW_TYPES[plan.type]) for name, plan in plans.items()])
        writing = True
        with (
            PartWriter(self.output, schema, self.limits.group_bytes) as writer,
            Prefetched(self.source.batches(), _BLOCKS_AHEAD) as batches,
        ):
            for batch in merged(iter(batches), 4 * self.limits.block_bytes):
                table = self._read(batch, plans, result.evidence, schema)
                result.row_count += table.num_rows
                writing = writing and not _contradicted(plans, result.evidence)
                if writing:
                    writer.write(table)
                if self.limits.is_tight(resident_bytes()):
                    give_back()
                if batch.read_share is not None:
                    self.on_share(batch.read_share)
        if writing:
            result.paths = writer.paths
        else:
            writer.discard()
        return result

    def _read(self, batch: Batch, plans: Plans, evidence: Mapping[str, Evidence], schema: Any) -> Any:
        reading = TextReading.of(self.options)
        arrays = []
        for name, plan in plans.items():
            values = batch.column(name)
            if self.source.typed and not pa.types.is_string(values.type):
                arrays.append(read_typed(values, plan, evidence[name], batch.first_index, reading))
            else:
                slice_ = TextSlice(values, batch.first_index, batch.quoted.get(name))
                arrays.append(read_texts(slice_, plan, evidence[name], reading))
        return pa.Table.from_arrays(arrays, schema=schema)


def merged(batches: Iterator[Batch], limit_bytes: int) -> Iterator[Batch]:
    """Fewer, longer batches: what is done per batch and column costs less."""
    waiting: list[Batch] = []
    rows = size_bytes = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.table.num_rows
        size_bytes += batch.table.nbytes
        if rows >= _MERGED_ROWS or size_bytes >= limit_bytes:
            yield _merge(waiting)
            waiting, rows, size_bytes = [], 0, 0
    if waiting:
        yield _merge(waiting)


def _merge(batches: Sequence[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    names = {name for batch in batches for name in batch.quoted}
    quoted = {name: np.concatenate([_mask_of(batch, name) for batch in batches]) for name in names}
    table = pa.concat_tables([batch.table for batch in batches], promote_options="default")
    return Batch(table, batches[0].first_index, quoted, batches[-1].read_share)


def _mask_of(batch: Batch, name: str) -> Mask:
    mask = batch.quoted.get(name)
    return np.zeros(batch.table.num_rows, dtype=bool) if mask is None else mask


def _contradicted(plans: Plans, evidence: Mapping[str, Evidence]) -> bool:
    """Whether some value does not fit its column's plan, so that these parts will not be used."""
    return any(
        evidence[name].present > evidence[name].count(*FITTING[plan.type], *_accepted(plan))
        for name, plan in plans.items()
    )


def _accepted(plan: Plan) -> tuple[Kind, ...]:
    return (Kind.CODE, Kind.BIG_INTEGER) if plan.declared and plan.type in ("integer", "float") else ()
