"""Tables of data sets: separators are found, .xlsx sheets are read by their XML."""

import zipfile

import pytest

from boneray.core.errors import InputError
from boneray.io.spreadsheet import read_table


@pytest.mark.parametrize("separator", [";", ",", "\t"])
def test_separators_are_found(tmp_path, separator):
    rows = [["image_id", "age", "study"], ["s0001", "61", 'ct "neck"'], ["", "", ""], ["s0002", "", "ct"]]
    (tmp_path / "t.csv").write_text("\n".join(separator.join(row) for row in rows))
    read = read_table(tmp_path / "t.csv", "table")
    assert [row["image_id"] for row in read] == ["s0001", "s0002"] and read[1]["age"] == ""


def write_xlsx(path, sheet, shared=()):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/worksheets/sheet1.xml", sheet)
        if shared:
            items = "".join(f"<si><t>{text}</t></si>" for text in shared)
            archive.writestr("xl/sharedStrings.xml", f'<sst xmlns="urn:x">{items}</sst>')


def test_an_xlsx_sheet_is_read_with_its_gaps(tmp_path):
    sheet = (
        '<worksheet xmlns="urn:x"><sheetData>'
        '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="C1" t="s"><v>1</v></c><c r="AB1" t="inlineStr"><is><t>L1_fx-s</t>'
        "</is></c></row>"
        '<row r="2"><c r="A2"><v>4</v></c><c r="AB2"><v>2</v></c></row>'
        "</sheetData></worksheet>"
    )
    write_xlsx(tmp_path / "t.xlsx", sheet, shared=("verse_ID", "note"))
    assert read_table(tmp_path / "t.xlsx", "grading sheet") == [{"verse_ID": "4", "note": "", "L1_fx-s": "2"}]


def test_what_is_no_table_is_refused(tmp_path):
    (tmp_path / "a.xlsx").write_text("no zip")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "c.csv").write_text("\n\n")
    write_xlsx(tmp_path / "d.xlsx", "<open")
    for name in "a.xlsx", "b.csv", "c.csv", "d.xlsx", "e.csv":
        with pytest.raises(InputError, match="grading sheet"):
            read_table(tmp_path / name, "grading sheet")
