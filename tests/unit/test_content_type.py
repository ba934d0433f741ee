"""The encoding that a Content-Type names."""

import pytest

from tidemill.kit.errors import Unsupported
from tidemill.reading.content_type import declared_encoding


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [
        ("", None),
        ("text/csv", None),
        ("text/csv; charset=", None),
        ("text/csv; header=present", None),
        ("text/csv; charset=CP1252", "cp1252"),
        ('text/csv; charset="utf-8"; header=present', "utf-8"),
        ("text/csv; charset*=us-ascii'en'latin-1", "latin-1"),
    ],
)
def test_the_encoding_is_what_charset_says(content_type: str, encoding: str | None) -> None:
    assert declared_encoding(content_type) == encoding


@pytest.mark.parametrize(
    "content_type",
    [
        "text/csv; charset=\xe9",
        "text/csv; charset*=utf-8''%ff",
        "text/csv; charset*=\x00''x",
        f"text/csv; charset*{'9' * 5000}=x",
        f"text/csv; {';' * 5000}",
    ],
)
def test_a_charset_that_cannot_be_read_is_refused(content_type: str) -> None:
    with pytest.raises(Unsupported) as raised:
        declared_encoding(content_type)
    assert raised.value.code == "encoding_unknown"
