"""Text files made plain: decompressed, decoded, as UTF-8 without a byte order mark."""

import codecs
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import charset_normalizer
import zstandard

from tidemill.kit.errors import Invalid, TooLarge, Unavailable, Unsupported
from tidemill.training.ingest.detect import Compression, Head, detect_compression, looks_like_utf16

_CHUNK_BYTES = 2**20
_SAMPLE_BYTES = 2**16
_WINDOWS_1252_UNDEFINED = b"\x81\x8d\x8f\x90\x9d"


@dataclass(frozen=True)
class PlainText:
    """A UTF-8 file on the local disk. encoding: what it was before; guessed: nothing in the file proves it."""

    path: Path
    encoding: str
    compression: Compression
    guessed: bool = False


def decompress(path: Path, scratch: Path, limit_bytes: int) -> tuple[Path, Compression]:
    """The file itself, or a decompressed copy. Raises Invalid if it is damaged, TooLarge past ``limit_bytes``."""
    compression = detect_compression(Head.of(path))
    if compression is Compression.NONE:
        return path, compression
    target = scratch / "decompressed"
    try:
        with _opened(path, compression) as source, target.open("wb") as out:
            _copy(source, out, limit_bytes)
    except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError):
        raise Invalid("file_damaged", f"The {compression} data is damaged or cut short.") from None
    except OSError as error:
        raise _of_disk(error) from error
    return target, compression


@contextmanager
def _opened(path: Path, compression: Compression) -> Iterator[IO[bytes]]:
    with path.open("rb") as raw:
        if compression is Compression.GZIP:
            with gzip.GzipFile(fileobj=raw) as stream:
                yield stream  # type: ignore[misc]
        else:
            window = zstandard.ZstdDecompressor(max_window_size=2**27)
            with window.stream_reader(raw, read_across_frames=True) as stream:
                yield stream


def _copy(source: IO[bytes], out: IO[bytes], limit_bytes: int) -> None:
    size_bytes = 0
    while chunk := source.read(_CHUNK_BYTES):
        size_bytes += len(chunk)
        if size_bytes > limit_bytes:
            raise TooLarge("file_too_large", f"The file grows beyond {limit_bytes} bytes when decompressed.")
        out.write(chunk)


def make_plain(path: Path, compression: Compression, scratch: Path, encoding: str | None) -> PlainText:
    """``path`` as UTF-8; the same file when it is UTF-8 already, which is judged on all its bytes.

    Raises Invalid for NUL characters and for bytes that the declared encoding cannot hold, Unsupported for an unknown
    encoding.
    """
    found, guessed = (_known(encoding), False) if encoding else _detect_encoding(path)
    if found == "utf-8" and encoding is None:
        return PlainText(path, found, compression)
    target = scratch / "decoded"
    try:
        with path.open("rb") as source, target.open("w", encoding="utf-8", newline="") as out:
            _decode(source, out, found)
    except OSError as error:
        raise _of_disk(error) from error
    return PlainText(target, found, compression, guessed)


def _known(encoding: str) -> str:
    try:
        return codecs.lookup(encoding).name
    except LookupError:
        raise Unsupported("encoding_unknown", "There is no such encoding.") from None


def _detect_encoding(path: Path) -> tuple[str, bool]:
    head = Head.of(path).data
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig", False
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32", False
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16", False
    if looks_like_utf16(head):
        return ("utf-16-be" if head[:1] == b"\0" else "utf-16-le"), False
    strange = _first_bytes_not_utf8(path)
    return ("utf-8", False) if strange is None else (_guess(strange), True)


def _first_bytes_not_utf8(path: Path) -> bytes | None:
    """None if all of the file is UTF-8, else what surrounds the first bytes that are not."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            _refuse_nul(chunk, line)
            line += chunk.count(b"\n")
            if chunk.isascii() and not decoder.getstate()[0]:
                continue
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                return _surroundings(path, stream.tell() - len(chunk))
        return _surroundings(path, stream.tell() - 4) if decoder.getstate()[0] else None


def _surroundings(path: Path, offset: int) -> bytes:
    with path.open("rb") as stream:
        stream.seek(offset)
        chunk = stream.read(_CHUNK_BYTES)
    strange = [line for line in chunk.split(b"\n") if not line.isascii()]
    return b"\n".join(strange)[:_SAMPLE_BYTES]


def _guess(sample: bytes) -> str:
    """Windows-1252 or Latin-1 unless the sample clearly reads better in another alphabet."""
    best = charset_normalizer.from_bytes(sample).best()
    western = "cp1252" if _is_windows_1252(sample) else "iso8859-1"
    if best is None or len(sample) < 64:
        return western
    name = codecs.lookup(best.encoding).name
    alphabets = {alphabet for alphabet in best.alphabets if "Latin" not in alphabet}
    letters = any(word in alphabet for alphabet in alphabets for word in ("Cyrillic", "Greek", "Hebrew", "Arabic",
                  "CJK", "Hiragana", "Katakana", "Hangul", "Thai"))  # fmt: skip
    return name if letters else western


def _is_windows_1252(sample: bytes) -> bool:
    high = any(0x80 <= byte <= 0x9F for byte in sample)
    return high and not any(byte in _WINDOWS_1252_UNDEFINED for byte in sample)


def _decode(source: IO[bytes], out: IO[str], encoding: str) -> None:
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    while True:
        chunk = source.read(_CHUNK_BYTES)
        text = _decoded(decoder, chunk, line)
        _refuse_nul(text, line)
        out.write(text)
        line += text.count("\n")
        if not chunk:
            return


def _decoded(decoder: codecs.IncrementalDecoder, chunk: bytes, line: int) -> str:
    try:
        return decoder.decode(chunk, final=not chunk)
    except UnicodeDecodeError as error:
        line += error.object.count(b"\n", 0, error.start)
        raise Invalid(
            "encoding_wrong", f"Line {line} is not {error.encoding}. Name the encoding, such as cp1252 or utf-16."
        ) from None


def _refuse_nul(chunk: bytes | str, first_line: int) -> None:
    before, nul, _ = chunk.partition(b"\0") if isinstance(chunk, bytes) else chunk.partition("\0")
    if nul:
        lines = before.count(b"\n") if isinstance(before, bytes) else before.count("\n")
        line = first_line + lines
        raise Invalid("nul_character", f"Line {line} holds a NUL character; the file is binary or damaged.")


def _of_disk(error: OSError) -> Exception:
    return Unavailable("disk_full", "The worker's disk is full.") if error.errno == 28 else error
