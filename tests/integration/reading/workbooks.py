"""Workbooks whose XML a test writes itself, as no library would."""

import io
import zipfile
from pathlib import Path

from tests.integration.reading.damage import whole_files

WHOLE = whole_files()["excel"]
SPACE = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
NAMES = '<row r="1"><c r="A1" t="inlineStr"><is><t>a</t></is></c><c r="B1" t="inlineStr"><is><t>b</t></is></c></row>'


def workbook(**members: str | None) -> bytes:
    """The whole workbook with some members (sheet1, sharedStrings, workbook...) changed, or left out (None)."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(WHOLE)) as whole, zipfile.ZipFile(out, "w") as made:
        for name in whole.namelist():
            content: str | None = members.get(Path(name).stem, whole.read(name).decode())
            if content is not None:
                made.writestr(name, content)
    return out.getvalue()


def sheet(rows: str, before: str = "", after: str = "") -> str:
    return f'<worksheet xmlns="{SPACE}">{before}<sheetData>{rows}</sheetData>{after}</worksheet>'
