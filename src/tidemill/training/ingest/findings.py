"""Everything that is wrong with a file, gathered column by column and told with row numbers, never with values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from tidemill.kit.errors import Invalid, Problem
from tidemill.schemas.datasets import MAX_ROW_PROBLEMS
from tidemill.training.ingest.kinds import DESCRIPTIONS
from tidemill.training.ingest.model import Evidence, Kind, Plan, Source
from tidemill.training.ingest.text_column import ZONES

_CODES = {
    Kind.INFINITE: "infinite_number",
    Kind.MISSING: "missing_value",
    Kind.CODE: "leading_zeros",
    Kind.BIG_INTEGER: "integer_too_large",
    Kind.FAR: "date_out_of_range",
}
_SINGLE = {
    Kind.INFINITE: "infinite_numbers",
    Kind.BIG_INTEGER: "integers_too_large",
    Kind.FAR: "dates_out_of_range",
}
"""What the error is called when nothing else is wrong."""


@dataclass
class Findings:
    """Problems of whole columns, and of single rows: some of every column, with the total."""

    columns: list[Problem] = field(default_factory=list)
    rows: list[tuple[int, str, Kind, Plan]] = field(default_factory=list)
    total_rows: int = 0
    broken_contract: bool = False

    def add_column(self, name: str, code: str, detail: str, contract: bool) -> None:
        self.columns.append(Problem(f"column {name}", code, detail))
        self.broken_contract |= contract

    def add_rows(self, name: str, evidence: Evidence, kinds: tuple[Kind, ...], plan: Plan) -> None:
        for kind in kinds:
            if count := evidence.count(kind):
                self.total_rows += count
                self.broken_contract |= plan.contract
                self.rows.extend((index, name, kind, plan) for index in evidence.rows.get(kind, ()))

    def refuse(self, source: Source) -> NoReturn:
        """Raise Invalid with the first places of every offending column, however many columns there are."""
        offending = len({name for _, name, _, _ in self.rows})
        chosen = _fairly(self.rows, max(offending, MAX_ROW_PROBLEMS - len(self.columns)))
        numbers = source.row_numbers([index for index, *_ in chosen])
        problems = self.columns + [_row_problem(numbers, *place) for place in chosen]
        raise Invalid(self._code(), self._detail(), problems)

    def _code(self) -> str:
        if self.broken_contract:
            return "contract_broken"
        kinds = {kind for _, _, kind, _ in self.rows}
        if self.columns:
            return self.columns[0].code
        return _SINGLE.get(next(iter(kinds)), "mixed_types") if len(kinds) == 1 else "mixed_types"

    def _detail(self) -> str:
        places = []
        if self.columns:
            places.append(counted(len(self.columns), "column"))
        if self.total_rows:
            columns = counted(len({name for _, name, _, _ in self.rows}), "column")
            places.append(f"{counted(self.total_rows, 'value')} in {columns}")
        subject = " and ".join(places)
        if self.broken_contract:
            return f"The file breaks the dataset's contract in {subject}. Push it with a new contract if that is meant."
        if not self.total_rows:  # of columns, only their types can be wrong without a contract
            return (
                f"{subject} cannot be read. Leave out what is not needed, or write nested values as columns of their "
                "own, bytes as text and durations as numbers."
            )
        return (
            f"{subject} cannot be read. Correct the file, declare the column as string (--type COLUMN=string), or name "
            "the text that means a missing value (--missing TEXT)."
        )


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _fairly(rows: list[tuple[int, str, Kind, Plan]], limit: int) -> list[tuple[int, str, Kind, Plan]]:
    """At most ``limit`` rows in order, so that every column has its share."""
    by_column: dict[str, list[tuple[int, str, Kind, Plan]]] = {}
    for row in sorted(rows, key=lambda row: row[0]):
        by_column.setdefault(row[1], []).append(row)
    ranked = [(rank, row) for found in by_column.values() for rank, row in enumerate(found)]
    chosen = [row for _, row in sorted(ranked, key=lambda item: item[0])[:limit]]
    return sorted(chosen, key=lambda row: (row[0], row[1]))


def _row_problem(numbers: Mapping[int, int], index: int, name: str, kind: Kind, plan: Plan) -> Problem:
    place = f"row {numbers.get(index, index + 1)}, column {name}"
    if kind is Kind.MISSING:
        return Problem(place, _CODES[kind], "A value is missing, which the contract does not allow.")
    if kind is Kind.INFINITE:
        return Problem(place, _CODES[kind], "The number is infinite.")
    if kind is Kind.FAR:
        return Problem(place, _CODES[kind], "The date lies outside the years 1 to 9999.")
    if plan.type == "datetime" and kind in ZONES:
        having = "has a time zone; others of the column have" if kind is Kind.ZONED else "has no time zone; others have"
        return Problem(place, "zone_mismatch", f"The value {having} {'none' if kind is Kind.ZONED else 'one'}.")
    because = "by the contract" if plan.contract else "as declared" if plan.declared else "as nearly all of it"
    wanted = plan.type if plan.fixed else "a number"
    beyond_floats = kind is Kind.BIG_INTEGER and plan.type == "float"
    found = "an integer that no float holds exactly" if beyond_floats else DESCRIPTIONS[kind]
    detail = f"The value is {found}; the column is {wanted} {because}."
    return Problem(place, _CODES.get(kind, "type_mismatch"), detail)
