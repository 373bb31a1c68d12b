"""Many patients: one model, done ones skipped, one bad one stops nobody."""

import csv
import json

import pytest

from boneray.core.errors import InputError
from boneray.io.case_folder import write_case
from boneray.reconstruction.many import is_many, patients_of
from tests.reconstruction import films


def folder_of_patients(root):
    """Two with DICOM films, one with a damaged film, one case folder, and things that are no patients."""
    for number in (0, 1):
        case = films.femur(number)
        (root / f"p{number}").mkdir(parents=True)
        films.dicom_films(root / f"p{number}", films.exposed(case))
    (root / "bad").mkdir()
    (root / "bad" / "ap.dcm").write_bytes((root / "p0" / "ap.dcm").read_bytes()[:900])
    (root / "bad" / "lat.dcm").write_bytes((root / "p0" / "lat.dcm").read_bytes())
    write_case(root / "case", films.femur(2))
    (root / "notes").mkdir()
    (root / "notes" / "readme.txt").write_text("no films here")
    return root


def test_a_folder_of_patients(tmp_path, boneray):
    root, out = folder_of_patients(tmp_path / "in"), tmp_path / "out"
    assert is_many(root) and not is_many(root / "case")
    assert [p.case_id for p in patients_of(root)] == ["bad", "case", "p0", "p1"]
    table = tmp_path / "patients.csv"
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["case_id", "ap", "lat", "bone", "centre_mm"])
        for number in (0, 1):
            films_of = [f"in/p{number}/ap.dcm", f"in/p{number}/lat.dcm"]
            rows.writerow([f"p{number}", *films_of, films.femur(number).target, "0 0 0"])
        rows.writerow(["gone", "in/none.dcm", "", "femur_left", ""])
    command = ["reconstruct", table, "--checkpoint", films.FEMUR, "--no-confidence", "--out", out]
    first = boneray(*command, "--json")
    assert first.code == 1, first.err
    summary = json.loads(first.out)
    assert (summary["ok"], summary["done_before"], summary["failed"]) == (2, 0, 1)
    assert "does not exist" in summary["cases"][2]["reason"]
    for number in (0, 1):
        run = json.loads((out / f"p{number}" / "run.json").read_text())
        assert list(run["bones"]) == [films.femur(number).target] and run["centre"]["from"] == "given"
    stamp = (out / "p0" / "run.json").stat().st_mtime_ns
    again = boneray(*command)
    assert again.code == 1 and "0 reconstructed, 2 done before, 1 failed" in again.err
    assert (out / "p0" / "run.json").stat().st_mtime_ns == stamp
    more = boneray("reconstruct", root, "--bone", films.femur(0).target, "--checkpoint", films.FEMUR,
                   "--no-confidence", "--out", tmp_path / "more", "--json")  # fmt: skip
    rows = {row["case_id"]: row["status"] for row in json.loads(more.out)["cases"]}
    assert more.code == 1 and rows["bad"] == "failed" and rows["case"] == rows["p0"] == "ok"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ap,lat\na.png,b.png\n", "case_id and ap or lat are needed"),
        ("case_id,ap,colour\nx,a.png,red\n", "column 'colour' is unknown"),
        ("case_id,ap\n../x,a.png\n", "cannot name a folder"),
        ("case_id,ap\nx,a.png\nx,b.png\n", "occurs twice"),
        ("case_id,ap\n", "holds no patient"),
    ],
)
def test_a_table_that_is_wrong_is_refused(tmp_path, text, says):
    file = tmp_path / "patients.csv"
    file.write_text(text)
    with pytest.raises(InputError, match=says):
        patients_of(file)
