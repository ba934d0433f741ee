"""Text files made plain: decompressed, decoded, as UTF-8 without a byte order mark."""

import codecs
import gzip
import io
import itertools
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import charset_normalizer
import zstandard

from tidemill.kit.errors import Invalid, Problem, TooLarge, Unavailable, Unsupported
from tidemill.reading.detect import Compression, Head, detect_compression, looks_like_utf16

_CHUNK_BYTES = 2**20
_PACKED_BYTES = 2**10
"""Of zstd at once: they may unpack to 32,768 times as much."""
_SURELY_UNPACKED_BYTES = 2**30
_MOST_GROWTH = 250
"""Beyond a GiB. Tables shrink to a twentieth or a hundredth; what grows a thousandfold was made to fill the disk."""
_SAMPLE_BYTES = 2**16
_WESTERN = "cp1252"
"""Latin-1 with printable characters where that has control characters, which no text holds."""
_OF_PYTHON = frozenset({"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"})
_HOW_TO_NAME = "--encoding NAME for a dataset, charset=NAME in a Content-Type"
_BEYOND_ASCII = 0x80
_NEAR_BYTES = 2
_BYTE_ORDER_MARK = "\ufeff"
_MARKED_LINE = re.compile("[\r\n]\ufeff")
_DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError)


@dataclass(frozen=True)
class PlainText:
    """A UTF-8 file on the local disk. encoding: what it was before; guessed: nothing in the file proves it."""

    path: Path
    encoding: str
    compression: Compression
    guessed: bool = False

    @property
    def warnings(self) -> tuple[str, ...]:
        return guess_warnings(self.encoding, self.guessed)


def guess_warnings(encoding: str, guessed: bool) -> tuple[str, ...]:
    """A guess is told."""
    said = f"The file is not UTF-8 and was read as {encoding}; {_HOW_TO_NAME} names another, and UTF-8 needs no name."
    return (said,) if guessed else ()


def decompress(path: Path, scratch: Path, limit_bytes: int) -> tuple[Path, Compression]:
    """The file itself, or a decompressed copy. Raises Invalid if it is damaged, TooLarge past ``limit_bytes``."""
    compression = detect_compression(Head.of(path))
    if compression is Compression.NONE:
        return path, compression
    target = scratch / "decompressed"
    try:
        with path.open("rb") as raw, target.open("wb") as out:
            _copy(_unpacked(raw, compression), out, most_unpacked_bytes(path.stat().st_size, limit_bytes))
    except _DAMAGED:
        raise _damaged(compression) from None
    except OSError as error:
        raise _of_disk(error) from error
    return target, compression


def most_unpacked_bytes(size_bytes: int, limit_bytes: int) -> int:
    """What a compressed file of ``size_bytes`` may become."""
    return min(limit_bytes, max(_SURELY_UNPACKED_BYTES, _MOST_GROWTH * size_bytes))


def unpacked_chunks(stream: IO[bytes], limit_bytes: int) -> Iterator[bytes]:
    """The bytes of ``stream``, unpacked if they are compressed; it is closed at their end.

    Raises Invalid if they are damaged, TooLarge past ``limit_bytes`` or what a file of its size may become.
    """
    with stream:
        compression = detect_compression(Head(stream.read(4)))
        most_bytes = most_unpacked_bytes(stream.seek(0, io.SEEK_END), limit_bytes)
        stream.seek(0)
        if compression is Compression.NONE:
            yield from chunks_of(stream)
            return
        size_bytes = 0
        try:
            for chunk in _unpacked(stream, compression):
                size_bytes += len(chunk)
                if size_bytes > most_bytes:
                    raise TooLarge("file_too_large", f"The file grows beyond {most_bytes} bytes when decompressed.")
                yield chunk
        except _DAMAGED:
            raise _damaged(compression) from None


def _damaged(compression: Compression) -> Invalid:
    return Invalid("file_damaged", f"The {compression} data is damaged or cut short.")


def _unpacked(raw: IO[bytes], compression: Compression) -> Iterator[bytes]:
    if compression is Compression.ZSTD:
        yield from _unpacked_zstd(raw)
        return
    with gzip.GzipFile(fileobj=raw) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk


def _unpacked_zstd(raw: IO[bytes]) -> Iterator[bytes]:
    """Frame after frame. Raises EOFError within one, where the library's own reader ends as if all were well."""
    library = zstandard.ZstdDecompressor(max_window_size=2**27)
    frame, is_inside = library.decompressobj(), False
    while data := raw.read(_PACKED_BYTES):
        while data:
            yield frame.decompress(data)
            is_inside, data = not frame.eof, frame.unused_data
            if frame.eof:
                frame = library.decompressobj()
    if is_inside:
        raise EOFError


def _copy(source: Iterator[bytes], out: IO[bytes], limit_bytes: int) -> None:
    size_bytes = 0
    for chunk in source:
        size_bytes += len(chunk)
        if size_bytes > limit_bytes:
            raise TooLarge("file_too_large", f"The file grows beyond {limit_bytes} bytes when decompressed.")
        out.write(chunk)


def make_plain(path: Path, compression: Compression, scratch: Path, encoding: str | None) -> PlainText:
    """``path`` as UTF-8; the same file when it is UTF-8 already, which is judged on all its bytes.

    Raises Invalid for NUL characters, marks of the byte order that begin a later line and bytes that the encoding
    cannot hold, Unsupported for an unknown encoding.
    """
    found, guessed = encoding_of(lambda: chunks_of(path.open("rb")), encoding)
    if found == "utf-8" and encoding is None:
        return PlainText(path, found, compression)
    target = scratch / "decoded"
    try:
        with target.open("w", encoding="utf-8", newline="") as out:
            for text in decoded(chunks_of(path.open("rb")), found, guessed):
                out.write(text)
    except OSError as error:
        raise _of_disk(error) from error
    return PlainText(target, found, compression, guessed)


def _known(encoding: str) -> str:
    """Codecs that are no encodings of text, such as base64, do not count."""
    try:
        io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        name = codecs.lookup(encoding).name
    except (LookupError, ValueError):
        name = ""
    if not name or name in _OF_PYTHON:
        raise Unsupported("encoding_unknown", "There is no such encoding.")
    return name


Chunks = Callable[[], Iterator[bytes]]
"""Begins to read the bytes of a file anew."""


def chunks_of(stream: IO[bytes]) -> Iterator[bytes]:
    """The rest of ``stream``, which is closed at its end."""
    with stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk


def encoding_of(chunks: Chunks, declared: str | None) -> tuple[str, bool]:
    """The encoding, judged on all bytes if none is declared, and whether it is a guess.

    Raises Invalid for NUL characters and marks of the byte order within, Unsupported for an unknown encoding.
    """
    return (_known(declared), False) if declared else _detect_encoding(chunks)


def _detect_encoding(chunks: Chunks) -> tuple[str, bool]:
    head = next(chunks(), b"")[:_SAMPLE_BYTES]
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig", False
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32", False
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16", False
    if looks_like_utf16(head):
        return ("utf-16-be" if head[:1] == b"\0" else "utf-16-le"), False
    strange = _first_bytes_not_utf8(chunks())
    return ("utf-8", False) if strange is None else (_guess(strange), True)


def _first_bytes_not_utf8(chunks: Iterator[bytes]) -> bytes | None:
    """None if all of the file is UTF-8, else what surrounds the first bytes that are not."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines, marks = _LineCount(), _Marks()
    for chunk in chunks:
        _refuse_nul(chunk, lines)
        pending = decoder.getstate()[0]
        try:
            text = decoder.decode(chunk)
        except UnicodeDecodeError:
            return _strange_lines(pending + chunk, chunks)
        marks.refuse_in(text, lines)
        lines.pass_over(chunk)
    return decoder.getstate()[0] or None


def _strange_lines(found: bytes, following: Iterator[bytes]) -> bytes:
    while len(found) < _CHUNK_BYTES and (chunk := next(following, b"")):
        found += chunk
    strange = [line for line in found.split(b"\n") if not line.isascii()]
    return b"\n".join(strange)[:_SAMPLE_BYTES]


def _guess(sample: bytes) -> str:
    """Windows-1252 unless the sample clearly reads better in another alphabet."""
    if len(sample) < 64 or _is_scattered(sample):
        return _WESTERN
    best = charset_normalizer.from_bytes(sample).best()
    if best is None:
        return _WESTERN
    name = codecs.lookup(best.encoding).name
    alphabets = {alphabet for alphabet in best.alphabets if "Latin" not in alphabet}
    letters = any(word in alphabet for alphabet in alphabets for word in ("Cyrillic", "Greek", "Hebrew", "Arabic",
                  "CJK", "Hiragana", "Katakana", "Hangul", "Thai"))  # fmt: skip
    return name if letters else _WESTERN


def _is_scattered(sample: bytes) -> bool:
    """Whether most bytes beyond ASCII stand alone, as the accented letters of Western languages do.

    In other alphabets whole words are made of them, and characters of several bytes have one in every two.
    """
    places = [place for place, byte in enumerate(sample) if byte >= _BEYOND_ASCII]
    pairs = itertools.pairwise([-_NEAR_BYTES - 1, *places, len(sample) + _NEAR_BYTES + 1])
    gaps = [after - before for before, after in pairs]
    alone = sum(left > _NEAR_BYTES < right for left, right in itertools.pairwise(gaps))
    return 2 * alone > len(places)


def decoded(chunks: Iterator[bytes], encoding: str, guessed: bool = False) -> Iterator[str]:
    """The text of ``chunks``. A mark that tells the order of bytes is no part of it, whoever named the encoding.

    Raises Invalid, by line, for NUL characters, for such a mark on a later line and for bytes that the encoding cannot
    hold.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    lines, marks, begun = _LineCount(), _Marks(), False
    mark = _mark_in(encoding)
    for chunk in itertools.chain(chunks, [b""]):
        text = _decoded(decoder, chunk, lines, encoding, guessed)
        if text and not begun:
            text, begun = text.removeprefix(_BYTE_ORDER_MARK).removeprefix(mark), True
        _refuse_nul(text, lines)
        marks.refuse_in(text, lines)
        lines.pass_over(text)
        if text:
            yield text


def _mark_in(encoding: str) -> str:
    """The mark of UTF-8 as a text of an encoding of single bytes, before which some programs write it all the same."""
    try:
        mark = codecs.BOM_UTF8.decode(encoding)
    except UnicodeError:
        return ""
    return mark if len(mark) == len(codecs.BOM_UTF8) else ""


class _LineCount:
    """Numbers lines as editors do: they end in LF, CRLF or CR."""

    def __init__(self) -> None:
        self._line = 1
        self._ends_in_cr = False

    def after(self, text: bytes | str) -> int:
        """The line on which what follows ``text`` stands, if that comes next."""
        if isinstance(text, bytes):
            text = text.decode("latin-1")
        pairs = text.count("\r\n") + (self._ends_in_cr and text.startswith("\n"))
        return self._line + text.count("\n") + text.count("\r") - pairs

    def pass_over(self, text: bytes | str) -> None:
        if text:
            self._line = self.after(text)
            self._ends_in_cr = text[-1:] in ("\r", b"\r")


class _Marks:
    """Marks of the byte order that begin a later line. They cannot be seen, and make another value of the first one."""

    def __init__(self) -> None:
        self._line_ended = False

    def refuse_in(self, text: str, lines: _LineCount) -> None:
        """``text`` follows what was looked at before; ``lines`` counts what comes before it."""
        if _BYTE_ORDER_MARK in text:
            begins = self._line_ended and text.startswith(_BYTE_ORDER_MARK)
            found = None if begins else _MARKED_LINE.search(text)
            if begins or found:
                raise self._refused(lines.after(text[: found.end() - 1] if found else ""))
        if text:
            self._line_ended = text[-1] in "\r\n"

    def _refused(self, line: int) -> Invalid:
        detail = "It begins with a byte order mark, as files do. Take it out, and the names if they follow it."
        return Invalid(
            "byte_order_mark",
            f"At line {line} another file seems to begin: several were put together. {detail}",
            [Problem(f"line {line}", "byte_order_mark", detail)],
        )


def _decoded(decoder: codecs.IncrementalDecoder, chunk: bytes, lines: _LineCount, encoding: str, guessed: bool) -> str:
    try:
        return decoder.decode(chunk, final=not chunk)
    except UnicodeError as error:  # UTF-16 without its mark is an error of another kind
        line = lines.after(_well_decoded(error) if isinstance(error, UnicodeDecodeError) else "")
        wrong = "neither UTF-8 nor the guessed" if guessed else "not"
        raise Invalid(
            "encoding_wrong",
            f"Line {line} is {wrong} {encoding}. Save it as UTF-8, or name its encoding, such as cp1252 or utf-16 "
            f"({_HOW_TO_NAME}).",
            [Problem(f"line {line}", "encoding_wrong", f"Bytes here are {wrong} {encoding}.")],
        ) from None


def _well_decoded(error: UnicodeDecodeError) -> str:
    """What of a piece could be decoded."""
    try:
        return error.object[: error.start].decode(error.encoding, "ignore")
    except LookupError:  # codecs name themselves as they like
        return error.object[: error.start].decode("latin-1")


def _refuse_nul(chunk: bytes | str, lines: _LineCount) -> None:
    before, nul, _ = chunk.partition(b"\0") if isinstance(chunk, bytes) else chunk.partition("\0")
    if nul:
        line = lines.after(before)
        problem = Problem(f"line {line}", "nul_character", "A NUL character stands here.")
        detail = f"Line {line} holds a NUL character; the file is binary or damaged."
        raise Invalid("nul_character", detail, [problem])


def _of_disk(error: OSError) -> Exception:
    return Unavailable("disk_full", "The worker's disk is full.") if error.errno == 28 else error
