"""Delimited text of every habit is cut into the fields that were meant, or refused; never nearly so."""

import codecs

import pytest
import zstandard

from tests.integration.ingest.ingesting import Ingest, table_of, types_of


@pytest.mark.parametrize(
    ("text", "names", "first"),
    [
        ("a;b\n" + "1,5;2,5\n3,25;4,5\n" * 5, ["a", "b"], ["1,5", "2,5"]),
        ("1,5;2,5\n3,25;4,5\n" * 5, ["column_1", "column_2"], ["1,5", "2,5"]),
        ("1,5;text\n3,25;more\n" * 5, ["column_1", "column_2"], ["1,5", "text"]),
        ("a|b|c\n1|2,5|x\n3|4,5|y\n", ["a", "b", "c"], [1, "2,5", "x"]),
        ("country,2019,2020\nFrance,1,2\nSpain,4,5\n", ["country", "2019", "2020"], ["France", 1, 2]),
        (",a\n0,5\n1,6\n", ["column_1", "a"], [0, 5]),
    ],
)
def test_delimiter_and_header_are_those_that_were_meant(
    ingest: Ingest, text: str, names: list[str], first: list[object]
) -> None:
    table = table_of(ingest(text))
    assert table.column_names == names
    assert list(table.to_pylist()[0].values()) == first


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('p,n\n"C:\\temp\\new",1\n"D:\\x\\",2\n"E:\\",3\n', ["C:\\temp\\new", "D:\\x\\", "E:\\"]),
        ('p,n\n"say \\"hi\\"",1\n"",2\n', ['say "hi"', None]),
        ('p,n\n"say \\"hi\\", then",1\nx,2\n', ['say "hi", then', "x"]),
        ('p,n\n5" pipe,1\n6" hose,2\n', ['5" pipe', '6" hose']),
        ("p,n\n'n',1\n" + "roll,2\n" * 5, ["'n'", *["roll"] * 5]),
        ("p,n\n'a,b',1\nc,2\n", ["a,b", "c"]),
        ('p,n\n"x""",1\n"""y""",2\n', ['x"', '"y"']),
    ],
)
def test_quotes_and_backslashes_lose_nothing(ingest: Ingest, text: str, values: list[str]) -> None:
    assert table_of(ingest(text)).column("p").to_pylist() == values


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ('a,b\n"Big" Mike,1\nx,2\n', "row 2"),
        ('a,b\nx,0\n"abc,1\nfoo,2\n"bar",3\nz,4\n', "row 3"),
        ('a\tb\n' + "x\t1\n" * 400_000 + '"Rome" Special\t2\n', "row 400002"),
    ],
)  # fmt: skip
def test_a_quote_that_closes_within_a_field_is_refused_by_line(ingest: Ingest, text: str, row: str) -> None:
    error = ingest.refused(text)
    assert (error.code, [problem.pointer for problem in error.problems]) == ("quote_misplaced", [row])
    assert "--quote none" in error.detail


def test_quotes_can_be_declared_to_mean_nothing(ingest: Ingest) -> None:
    table = table_of(ingest('a\tb\n"Rome" Special\t2\n"x"\t3\n', quote="none"))
    assert table.column("a").to_pylist() == ['"Rome" Special', '"x"']


def test_what_was_guessed_about_the_file_is_told(ingest: Ingest) -> None:
    assert "--header" in ingest("1,2\n3,4\n")["warnings"][0]
    assert "--encoding" in ingest("a,b\né,1\n".encode("cp1252"))["warnings"][0]
    assert ingest("1,2\n3,4\n", has_header=False)["warnings"] == []


def test_a_late_euro_sign_is_no_control_character(ingest: Ingest) -> None:
    content = b"a,b\n" + b"\xe9t\xe9,1\n" * 30_000 + b"plain,1\n" * 200_000 + b"5 \x80,2\n"
    assert table_of(ingest(content)).column("a").to_pylist()[-1] == "5 €"
    assert ingest.refused(b"a,b\n\x81\x8d,1\n").code == "encoding_wrong"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_a_byte_order_mark_is_no_part_of_the_first_name(ingest: Ingest, encoding: str) -> None:
    assert list(types_of(ingest("\ufeffid,b\n1,2\n".encode(encoding), encoding=encoding))) == ["id", "b"]


def test_a_mark_of_utf_8_before_another_encoding_is_no_part_of_the_first_name(ingest: Ingest) -> None:
    content = codecs.BOM_UTF8 + "Größe;b\n1;2\n".encode("cp1252")
    assert list(types_of(ingest(content, encoding="cp1252"))) == ["Größe", "b"]


@pytest.mark.parametrize("codec", ["base64", "zip", "rot13", "idna", "unicode_escape"])
def test_codecs_that_are_no_encodings_are_refused(ingest: Ingest, codec: str) -> None:
    assert ingest.refused("a,b\n1,2\n", encoding=codec).code == "encoding_unknown"


def test_zstd_that_was_cut_short_is_damaged_and_not_a_shorter_file(ingest: Ingest) -> None:
    content = b"a,b\n" + b"1,2\n" * 100_000
    packed = zstandard.ZstdCompressor().compress(content)
    assert ingest.refused(packed[:-10]).code == "file_damaged"
    two_frames = zstandard.ZstdCompressor().compress(content[:100_000]) + zstandard.ZstdCompressor().compress(
        content[100_000:]
    )
    assert ingest(two_frames)["row_count"] == 100_000


def test_a_page_of_html_is_no_table(ingest: Ingest) -> None:
    assert ingest.refused("<!DOCTYPE html>\n<html>Sign in, please</html>\n").code == "format_unsupported"
