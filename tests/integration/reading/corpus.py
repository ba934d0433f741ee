"""Delimited texts in the dialects people send, and damaged ones, with what every entrance makes of them."""

import gzip
import io
import zipfile
from dataclasses import dataclass

import zstandard

IDS = [f"prd_{number:032x}" for number in range(4)]
Cells = tuple[str | None, str | None]
"""Of a row: its truth and its note."""
HEADER = "prediction_id,truth,note\n"


@dataclass(frozen=True)
class Text:
    """cells: of every row; else the code of the refusal, and the line it names if it can."""

    content: bytes
    cells: list[Cells] | None = None
    code: str = ""
    line: int | None = None


def _rows(*rows: tuple[str, str], delimiter: str = ",", end: str = "\n", header: str = HEADER) -> str:
    lines = [delimiter.join([IDS[index], *row]) for index, row in enumerate(rows)]
    return header.replace(",", delimiter).replace("\n", end) + end.join(lines) + end


PLAIN = _rows(("a", "x"), ("b", "y"), ("c", "z"))
PLAIN_CELLS: list[Cells] = [("a", "x"), ("b", "y"), ("c", "z")]
UMLAUTS = _rows(("gr\u00fcn", "\u00fcber"), ("rot", "stra\u00dfe"), ("blau", "f\u00fcr"))
UMLAUT_CELLS: list[Cells] = [("gr\u00fcn", "\u00fcber"), ("rot", "stra\u00dfe"), ("blau", "f\u00fcr")]
LONG = "l" * 1_000_000
MARK = "\ufeff".encode()
UNPACKED_AT_ONCE_BYTES = 2**20


def _zipped(text: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("rows.csv", text)
    return out.getvalue()


def _mark_across_pieces(read_of_it: int) -> bytes:
    """A line that begins with a mark, of which the first piece that is read has so many bytes."""
    head = f"{HEADER}{IDS[0]},a,".encode()
    filling = b"x" * (UNPACKED_AT_ONCE_BYTES - len(head) - 1 - read_of_it)
    return head + filling + b"\n" + MARK + f"{IDS[1]},b,y\n".encode()


DIALECTS: dict[str, Text] = {
    "comma": Text(PLAIN.encode(), PLAIN_CELLS),
    "semicolon": Text(PLAIN.replace(",", ";").encode(), PLAIN_CELLS),
    "tab": Text(PLAIN.replace(",", "\t").encode(), PLAIN_CELLS),
    "pipe": Text(PLAIN.replace(",", "|").encode(), PLAIN_CELLS),
    "caret": Text(PLAIN.replace(",", "^").encode(), PLAIN_CELLS),
    "semicolon with decimal commas": Text(
        _rows(("1,5", "x"), ("2,5", "y"), delimiter=";").encode(), [("1,5", "x"), ("2,5", "y")]
    ),
    "crlf": Text(PLAIN.replace("\n", "\r\n").encode(), PLAIN_CELLS),
    "cr": Text(PLAIN.replace("\n", "\r").encode(), PLAIN_CELLS),
    "mixed line ends": Text(PLAIN.replace("a,x\n", "a,x\r\n").replace("b,y\n", "b,y\r").encode(), PLAIN_CELLS),
    "no end of the last line": Text(PLAIN.rstrip("\n").encode(), PLAIN_CELLS),
    "blank lines": Text(PLAIN.replace("\n", "\n\n").encode(), PLAIN_CELLS),
    "blank lines first": Text(b"\n\r\n" + PLAIN.encode(), PLAIN_CELLS),
    "blanks in the header": Text(PLAIN.replace(HEADER, " prediction_id , truth,note \n").encode(), PLAIN_CELLS),
    "quoted fields": Text(_rows(('"a,b"', '"x"'), ('"c"', "y")).encode(), [("a,b", "x"), ("c", "y")]),
    "quoted header": Text(PLAIN.replace(HEADER, '"prediction_id","truth","note"\n').encode(), PLAIN_CELLS),
    "doubled quotes": Text(_rows(('"a ""b"""', "x"), ("c", "y")).encode(), [('a "b"', "x"), ("c", "y")]),
    "backslash quotes": Text(
        _rows(('"a \\"b\\" c"', "x"), ('"\\"d\\", e"', "y")).encode(), [('a "b" c', "x"), ('"d", e', "y")]
    ),
    "single quotes": Text(_rows(("'a,b'", "'x'"), ("'c'", "'y'")).encode(), [("a,b", "x"), ("c", "y")]),
    "line breaks in quotes": Text(_rows(('"a\nb"', "x"), ("c", '"y\r\nz"')).encode(), [("a\nb", "x"), ("c", "y\r\nz")]),
    "inch marks": Text(_rows(("a", '27" TV'), ("b", '5" disk')).encode(), [("a", '27" TV'), ("b", '5" disk')]),
    "halves of a text that look like rows, below quoted names": Text(
        f'"prediction_id",truth,note\n{IDS[0]},"a,x\n{IDS[1]},b",y\n'.encode(), [(f"a,x\n{IDS[1]},b", "y")]
    ),
    "halves of a text that look like rows, above a row that needs its quotes": Text(
        f'{HEADER}{IDS[0]},"a,x\n\n{IDS[1]},b",y\n{IDS[2]},"c,d",z\n'.encode(),
        [(f"a,x\n\n{IDS[1]},b", "y"), ("c,d", "z")],
    ),
    "marks of repetition that pair up in their line": Text(
        _rows(("a", "x"), ('5"', '3"'), ("c", "z")).encode(), [("a", "x"), ('5"', '3"'), ("c", "z")]
    ),
    "a mark of the byte order within a line": Text(
        _rows(("a\ufeff", "x"), ("\ufeffb", "y")).encode(), [("a\ufeff", "x"), ("\ufeffb", "y")]
    ),
    "a name as a value": Text(
        _rows(("truth", "note"), ("note", "truth")).encode(), [("truth", "note"), ("note", "truth")]
    ),
    "blanks around cells": Text(_rows((" a ", " x"), ("b", "y ")).encode(), [(" a ", " x"), ("b", "y ")]),
    "missing cells": Text(
        _rows(("NA", ""), ("a", "null"), ("b", "N/A")).encode(), [(None, None), ("a", None), ("b", None)]
    ),
    "quoted NA is Namibia": Text(_rows(('"NA"', "NA"), ("a", '"null"')).encode(), [("NA", None), ("a", "null")]),
    "quoted NA after a quoted comma": Text(
        _rows(('"a,""b"', '"NA"'), ("NA", "x")).encode(), [('a,"b', "NA"), (None, "x")]
    ),
    "long cell": Text(_rows(("a", LONG), ("b", "y")).encode(), [("a", LONG), ("b", "y")]),
    "long quoted cell": Text(_rows(("a", f'"{LONG},"'), ("b", "NA")).encode(), [("a", f"{LONG},"), ("b", None)]),
    "utf-8 with its mark": Text(UMLAUTS.encode("utf-8-sig"), UMLAUT_CELLS),
    "utf-16 with its mark": Text(UMLAUTS.encode("utf-16"), UMLAUT_CELLS),
    "utf-16 without its mark": Text(UMLAUTS.encode("utf-16-le"), UMLAUT_CELLS),
    "utf-32": Text(UMLAUTS.encode("utf-32"), UMLAUT_CELLS),
    "windows-1252": Text(UMLAUTS.encode("cp1252"), UMLAUT_CELLS),
    "gzip": Text(gzip.compress(UMLAUTS.encode(), mtime=0), UMLAUT_CELLS),
    "two members of gzip": Text(
        gzip.compress(PLAIN[:70].encode(), mtime=0) + gzip.compress(PLAIN[70:].encode(), mtime=0), PLAIN_CELLS
    ),
    "zstd": Text(zstandard.compress(UMLAUTS.encode("utf-16")), UMLAUT_CELLS),
    "line separators of Unicode": Text(
        _rows(("a\u2028b", "x\x85"), ("c", "y")).encode(), [("a\u2028b", "x\x85"), ("c", "y")]
    ),
}
DAMAGES: dict[str, Text] = {
    "empty": Text(b"", code="file_empty"),
    "blank": Text(b"\n \n", code="file_empty"),
    "quote that never closes": Text(_rows(("a", "x"), ("b", '"y'), ("c", "z")).encode(), code="quote_open", line=3),
    "quote that closes within a field": Text(
        _rows(("a", "x"), ("b", '"y" inch'), ("c", "z")).encode(), code="quote_misplaced", line=3
    ),
    "quotes that would swallow a row": Text(
        _rows(("a", "x"), ("b", '"y'), ("c", 'z" w')).encode(), code="quote_misplaced", line=3
    ),
    "misplaced after a row of several lines": Text(
        _rows(('"a\nb"', "x"), ("c", '"y"z')).encode(), code="quote_misplaced", line=4
    ),
    "inch marks that pair up across rows": Text(
        _rows(("a", "x"), ('"5', "y"), ('6"', "z"), ("d", "w")).encode(), code="quote_ambiguous", line=3
    ),
    "marks of repetition, each between tabs": Text(
        _rows(("a", "x"), ('"', "y"), ('"', "z"), delimiter="\t").encode(), code="quote_ambiguous", line=3
    ),
    "marks that pair up across blank lines and CR": Text(
        _rows(("a", "x"), ('"', "y"), ("b", "w"), ('"', "z"), end="\r\r").encode(), code="quote_ambiguous", line=5
    ),
    "marks that pair up far behind the beginning": Text(
        (HEADER + f"{IDS[0]},a,x\n" * 40_000 + f'{IDS[1]},"b,y\n{IDS[2]},c",z\n').encode(),
        code="quote_ambiguous",
        line=40_002,
    ),
    "too many fields": Text(PLAIN.replace("b,y", "b,y,1").encode(), code="row_ragged", line=3),
    "too few fields": Text(PLAIN.replace("b,y", "b").encode(), code="row_ragged", line=3),
    "too few fields after a row of several lines": Text(
        _rows(('"a\nb"', "x"), ("c", "y")).replace("c,y", "c").encode(), code="row_ragged", line=4
    ),
    "too few fields after blank lines and CR": Text(
        PLAIN.replace("\n", "\r\r").replace("b,y", "b").encode(), code="row_ragged", line=5
    ),
    "name twice": Text(PLAIN.replace("note", "truth").encode(), code="column_name_duplicate"),
    "name twice but for blanks": Text(PLAIN.replace("note", " truth").encode(), code="column_name_duplicate"),
    "empty name": Text(PLAIN.replace("note", "").encode(), code="column_name_empty"),
    "nul": Text(PLAIN.replace("y", "\0").encode(), code="nul_character", line=3),
    "nul after CR": Text(PLAIN.replace("y", "\0").replace("\n", "\r").encode(), code="nul_character", line=3),
    "nul after CRLF and far": Text(
        (HEADER + f"{IDS[0]},a,x\n" * 40_000 + f"{IDS[1]},b,\0\n").replace("\n", "\r\n").encode(),
        code="nul_character",
        line=40_002,
    ),
    "bytes that fit no guess": Text(
        PLAIN.replace("y", "\udc81").encode("ascii", "surrogateescape"), code="encoding_wrong", line=3
    ),
    "half a pair in utf-16 after CR": Text(
        PLAIN.replace("\n", "\r").encode("utf-16-le").replace(b"y\0", b"\0\xd8"), code="encoding_wrong", line=3
    ),
    "gzip cut short": Text(gzip.compress(PLAIN.encode(), mtime=0)[:-12], code="file_damaged"),
    "zstd cut short": Text(zstandard.compress(PLAIN.encode())[:-4], code="file_damaged"),
    "files put together, each with its mark": Text(
        MARK + PLAIN.encode() + MARK + PLAIN.encode(), code="byte_order_mark", line=5
    ),
    "files put together, the second in utf-16 too": Text(
        (PLAIN + "\ufeff" + PLAIN).replace("\n", "\r").encode("utf-16"), code="byte_order_mark", line=5
    ),
    **{
        f"files put together, {count} bytes of the mark in the first piece": Text(
            _mark_across_pieces(count), code="byte_order_mark", line=3
        )
        for count in range(3)
    },
    "files put together, each with its names": Text((PLAIN + PLAIN).encode(), code="names_repeated", line=5),
    "files put together, each with its names, quoted once and far": Text(
        (HEADER + f"{IDS[0]},a,x\n" * 40_000 + '"prediction_id", truth ,note\n').encode(),
        code="names_repeated",
        line=40_002,
    ),
    "objects as Python prints them": Text(
        f"{{'prediction_id': '{IDS[0]}', 'truth': 'a', 'note': 'x'}}\n".encode() * 3, code="format_unsupported"
    ),
    "title above the names": Text(f"Report of today\n\n{PLAIN}".encode(), code="title_line", line=1),
    "page of HTML": Text(b"<!DOCTYPE html>\n<html><p>1, 2, 3</p></html>\n", code="format_unsupported"),
    "zip archive": Text(_zipped(PLAIN), code="format_unsupported"),
    "picture": Text(b"\x89PNG\r\n\x1a\n" + bytes(range(32)) * 20, code="format_unsupported"),
    "binary": Text(bytes(range(256)) * 4, code="file_binary"),
}
