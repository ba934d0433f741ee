"""What texts seem to mean that are read as text all the same: numbers and times in the notations of people."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

_LIKENESS = 0.95
"""The share of a column's texts that look like something else, from which on it is worth a word."""
_BLANKS = r" \x{a0}\x{2009}\x{202f}"
"""Those that stand within numbers, too: no-break, thin, and narrow no-break space."""
_APOSTROPHES = r"'\x{2019}"
_MINUS = r"\x{2212}"
_NUMBER = rf"\d[\d.,{_APOSTROPHES}{_BLANKS}]*"
_PLAIN = r"\d+(\.\d+)?"
_CURRENCY = r"(\p{Sc}|EUR|USD|GBP|CHF|JPY|CNY|INR)"
_DAY = r"(\d{1,2}[./-]\d{1,2}[./-](\d{4}|\d\d)|\d{4}[/.]\d{1,2}[/.]\d{1,2})"
_NAMED_DAY = r"(\d{1,2}\.?[ -]\p{L}{3,9}\.?[ -](\d{4}|\d\d)|\p{L}{3,9}\.? \d{1,2},? \d{4})"
_CLOCK = r"\d{1,2}:\d\d(:\d\d([.,]\d+)?)?( ?[AaPp]\.?[Mm]\.?)?"


@dataclass(frozen=True)
class Look:
    """pattern: of whole texts without blanks around them; telling: of what at least one of these holds."""

    pattern: str
    name: str
    advice: str
    telling: str = ""

    def fits(self, texts: Any) -> bool:
        """``texts``: an array without blanks around them."""
        present = len(texts) - texts.null_count
        fitting = _count(texts, f"^({self.pattern})$")
        return fitting > 0 and fitting >= _LIKENESS * present and (not self.telling or _count(texts, self.telling) > 0)


_WITHOUT = "write them without"
_AS_DATE = "--type COLUMN=date:%d.%m.%Y, with the format they have, reads them as such"
_AS_TIME = '--type "COLUMN=datetime:%d.%m.%Y %H:%M", with the format they have, reads them as such'
_LOOKS = (
    Look(
        r"[+-]?\d{1,3}(,\d{3})?",
        "numbers with thousands separators or decimal commas",
        "write the former without, the latter with points; --decimal , reads these as numbers from delimited text",
        ",",
    ),
    Look(
        r"[+-]?\d+(,\d+)?",
        "decimal commas",
        "--decimal , reads them as numbers from delimited text; elsewhere write points",
        ",",
    ),
    Look(
        rf"[+-]?\d{{1,3}}([,.{_APOSTROPHES}{_BLANKS}]\d{{3}})*([.,]\d+)?|[+-]?\d{{1,2}}(,\d\d)+,\d{{3}}(\.\d+)?",
        "numbers with thousands separators",
        _WITHOUT,
        rf"\d[,.{_APOSTROPHES}{_BLANKS}]\d{{3}}",
    ),
    Look(rf"[+-]?{_NUMBER}( ?%)?", "percentages", "write them without the sign", "%"),
    Look(
        rf"[+-]?{_CURRENCY}?[{_BLANKS}]?[+-]?{_NUMBER}[{_BLANKS}]?{_CURRENCY}?",
        "amounts with their currency",
        _WITHOUT,
        _CURRENCY,
    ),
    Look(
        rf"[+-]?{_PLAIN}|\({_PLAIN}\)|{_PLAIN}-|{_MINUS}{_PLAIN}",
        "numbers whose minus is no hyphen in front",
        "write them as in -5",
        rf"[(){_MINUS}]|-$",
    ),
    Look(r"[+-]?\p{Nd}+([.,]\p{Nd}+)?", "numbers in digits of another script", "write them as in 123", r"[^\d.,+-]"),
    Look(_DAY, "dates", _AS_DATE),
    Look(_NAMED_DAY, "dates", _AS_DATE),
    Look(rf"({_DAY}|{_NAMED_DAY})[ T,]+{_CLOCK}", "times", _AS_TIME),
    Look(
        rf"\d{{4}}-\d\d-\d\d([T ]{_CLOCK} ?(Z|[+-]\d\d(:?\d\d)?)?)?",
        "times",
        "write them as in 2024-02-29T12:00:30.123456Z, with six decimals at most",
        ":",
    ),
    Look(
        rf"(-?\d+ days?, )?[+-]?\d+:\d\d(:\d\d([.,]\d+)?)?|{_CLOCK}",
        "times of the day or durations",
        "there is no such type; write them as numbers, such as seconds",
    ),
)


def looks_of(texts: Any) -> Iterator[Look]:
    """What the texts of an array look like, the likeliest first."""
    bare = pc.utf8_trim_whitespace(texts)
    return (look for look in _LOOKS if look.fits(bare))


def _count(texts: Any, pattern: str) -> int:
    return int(pc.sum(pc.match_substring_regex(texts, pattern)).as_py() or 0)
