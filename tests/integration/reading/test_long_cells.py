"""The look at a file's beginning takes time in proportion to it, whatever one cell is made of."""

from contextlib import suppress

import pytest

from tidemill.kit.errors import Invalid, TooLarge
from tidemill.reading.dialect import SAMPLE_CHARACTERS, sniff_sample
from tidemill.schemas.datasets import IngestOptions

UNITS = (
    " ", "\t", "\u00a0", " \t", "0", "1.", "1,", ".", "-", "+1", "1e", "2024-01-01T", "2024-01-01T0:", "19", " 1900 ",
    "true", "'", '"', "''", '""', "'a,", ",'", ",''", ",'''", "\\", '\\"', '"\\', "a;b,c|d\t", "x", "[", "{", "\u2028",
)  # fmt: skip


@pytest.mark.timeout(20)  # What goes through a cell once for each of its characters takes minutes.
@pytest.mark.parametrize("unit", UNITS, ids=map(repr, UNITS))
def test_a_long_cell_is_looked_at_once(unit: str) -> None:
    cell = unit * (SAMPLE_CHARACTERS // 4 // len(unit))
    for text in (f"{cell}x", f"x{cell}x", f"a,b\n{cell}x,1\n", f"a,b\n1,{cell}x\n", f"a;b\n 1 ;{cell}"):
        with suppress(Invalid, TooLarge):
            assert sniff_sample(text, IngestOptions()).names
