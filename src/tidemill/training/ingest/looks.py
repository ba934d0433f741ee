"""What texts seem to mean that are read as text all the same: numbers and times in the notations of people."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

_LIKENESS = 0.95
"""The share of a column's texts that look like something else, from which on it is worth a word."""
_LOOKED_AT = 1000
_LONGEST = 64
"""Characters of a text that may look like a number or a time."""
_BLANKS = " \u00a0\u2009\u202f"
"""Those that stand within numbers, too: no-break, thin, and narrow no-break space."""
_MARKS = f".,'\u2019{_BLANKS}"
_MINUS = "\u2212"
_NUMBER = f"[0-9][0-9{_MARKS}]*"
_PLAIN = r"[0-9]+(?:\.[0-9]+)?"
_CURRENCY = "(?:[$\u20ac\u00a3\u00a5\u20b9\u20bd\u20a9\u20ba\u20aa\u0e3f]|EUR|USD|GBP|CHF|JPY|CNY|INR)"
_LETTERS = r"[^\W\d_]{3,9}\.?"
_DAY = r"(?:[0-9]{1,2}[./-][0-9]{1,2}[./-](?:[0-9]{4}|[0-9]{2})|[0-9]{4}[/.][0-9]{1,2}[/.][0-9]{1,2})"
_NAMED_DAY = rf"(?:[0-9]{{1,2}}\.?[ -]{_LETTERS}[ -](?:[0-9]{{4}}|[0-9]{{2}})|{_LETTERS} [0-9]{{1,2}},? [0-9]{{4}})"
_CLOCK = r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?(?: ?[AaPp]\.?[Mm]\.?)?"


@dataclass(frozen=True)
class Look:
    """pattern: of whole texts without blanks around them; telling: of what at least one of these holds."""

    pattern: re.Pattern[str]
    name: str
    advice: str
    telling: re.Pattern[str]

    def fits(self, texts: Sequence[str]) -> bool:
        """``texts``: without blanks around them."""
        misfits = int((1 - _LIKENESS) * len(texts))
        told = False
        for text in texts:
            if len(text) > _LONGEST or not self.pattern.fullmatch(text):
                misfits -= 1
                if misfits < 0:
                    return False
            else:
                told = told or self.telling.search(text) is not None
        return told


def _look(pattern: str, name: str, advice: str, telling: str = "") -> Look:
    return Look(re.compile(pattern), name, advice, re.compile(telling))


_WITHOUT = "write them without"
_AS_DATE = "--type COLUMN=date:%d.%m.%Y, with the format they have, reads them as such"
_AS_TIME = '--type "COLUMN=datetime:%d.%m.%Y %H:%M", with the format they have, reads them as such'
_LOOKS = (
    _look(
        "[+-]?[0-9]{1,3}(?:,[0-9]{3})?",
        "numbers with thousands separators or decimal commas",
        "write the former without, the latter with points; --decimal , reads these as numbers from delimited text",
        ",",
    ),
    _look(
        "[+-]?[0-9]+(?:,[0-9]+)?",
        "decimal commas",
        "--decimal , reads them as numbers from delimited text; elsewhere write points",
        ",",
    ),
    _look(
        rf"[+-]?[0-9]{{1,3}}(?:[{_MARKS}][0-9]{{3}})*(?:[.,][0-9]+)?|"
        r"[+-]?[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}(?:\.[0-9]+)?",
        "numbers with thousands separators",
        _WITHOUT,
        f"[0-9][{_MARKS}][0-9]{{3}}",
    ),
    _look(f"[+-]?{_NUMBER}(?: ?%)?", "percentages", "write them without the sign", "%"),
    _look(
        f"[+-]?{_CURRENCY}?[{_BLANKS}]?[+-]?{_NUMBER}{_CURRENCY}?",
        "amounts with their currency",
        _WITHOUT,
        _CURRENCY,
    ),
    _look(
        rf"[+-]?{_PLAIN}|\({_PLAIN}\)|{_PLAIN}-|{_MINUS}{_PLAIN}",
        "numbers whose minus is no hyphen in front",
        "write them as in -5",
        rf"[({_MINUS}]|-$",
    ),
    _look(r"[+-]?\d+(?:[.,]\d+)?", "numbers in digits of another script", "write them as in 123", "[^0-9.,+-]"),
    _look(_DAY, "dates", _AS_DATE),
    _look(_NAMED_DAY, "dates", _AS_DATE),
    _look(f"(?:{_DAY}|{_NAMED_DAY})[ T,]+{_CLOCK}", "times", _AS_TIME),
    _look(
        rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(?:[T ]{_CLOCK} ?(?:Z|[+-][0-9]{{2}}(?::?[0-9]{{2}})?)?)?",
        "times",
        "write them as in 2024-02-29T12:00:30.123456Z, with six decimals at most",
        ":",
    ),
    _look(
        rf"(?:-?[0-9]+ days?, )?[+-]?[0-9]+:[0-9]{{2}}(?::[0-9]{{2}}(?:[.,][0-9]+)?)?|{_CLOCK}",
        "times of the day or durations",
        "there is no such type; write them as numbers, such as seconds",
    ),
)


def looks_of(texts: Any) -> Iterator[Look]:
    """What the first texts of an array look like, the likeliest first."""
    begun = pc.utf8_slice_codeunits(texts[:_LOOKED_AT], 0, _LONGEST + 1)  # texts may be long
    bare = [text.strip() for text in begun.to_pylist() if text is not None]
    return (look for look in _LOOKS if look.fits(bare))
