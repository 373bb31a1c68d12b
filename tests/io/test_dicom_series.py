"""CT series in DICOM: HU, order and place from the headers alone; a phantom written as a series comes back exactly."""

import random

import numpy as np
import pydicom
import pytest

from boneray.core.errors import GeometryError, InputError
from boneray.core.grid import Grid
from boneray.core.volume import Volume
from boneray.datasets.dicom_miniature import write_series
from boneray.io.dicom_series import find_series, read_series
from boneray.io.nifti import read_labels

GRID = Grid((6, 5, 7), (0.5, 0.75, 2.0), (-10.0, 20.0, -300.0))


@pytest.fixture
def series(tmp_path):
    hu = np.arange(GRID.shape[0] * GRID.shape[1] * GRID.shape[2], dtype=np.int16).reshape(GRID.shape) - 100
    write_series(tmp_path / "s", Volume(hu, GRID), "1.2.3", patient_id="anna", age_years=34)
    return tmp_path / "s", hu


def test_it_comes_back_in_place_whatever_the_file_names_say(series):
    folder, hu = series
    names = [f"{n}.dcm" for n in range(7)]
    random.Random(1).shuffle(names)
    for n, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"x{names[n]}")
    (folder / "readme.txt").write_text("not a slice")
    back = read_series(folder)
    assert back.data.dtype == np.int16 and np.array_equal(back.data, hu)
    assert back.grid.matches(GRID, tolerance_mm=1e-4)
    (found,) = find_series(folder)
    assert (found.patient_id, found.sex, found.age_years, len(found.files)) == ("anna", "F", 34.0, 7)


def change(path, **values):
    slice_ = pydicom.dcmread(path)
    for key, value in values.items():
        setattr(slice_, key, value)
    slice_.save_as(path)


@pytest.mark.parametrize(
    ("spoil", "error", "says"),
    [
        (
            lambda f: (f / "4.dcm").unlink(),
            GeometryError,
            "2 mm apart, but 4 mm after slice 3 of 6; a slice is missing",
        ),
        (
            lambda f: (f / "9.dcm").write_bytes((f / "4.dcm").read_bytes()),
            GeometryError,
            "two slices at the same place",
        ),
        (lambda f: change(f / "4.dcm", SeriesInstanceUID="9.9"), InputError, "holds 2 CT series"),
        (lambda f: change(f / "4.dcm", PixelSpacing=None), InputError, "lacks PixelSpacing"),
        (lambda f: change(f / "4.dcm", ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), GeometryError, "right angles"),
        (lambda f: change(f / "4.dcm", ImageOrientationPatient=[1, 0, 0, 0, 0, -1]), GeometryError, "another size"),
        (lambda f: [p.unlink() for p in f.iterdir()], InputError, "no CT slice"),
        (lambda f: [change(p, Modality="MR") for p in f.iterdir()], InputError, "no CT slice"),
    ],
)
def test_what_is_no_volume_is_refused(series, spoil, error, says):
    spoil(series[0])
    with pytest.raises(error, match=says):
        read_series(series[0])


def test_a_tilted_gantry_is_refused(series):
    for path in series[0].iterdir():
        place = [float(v) for v in pydicom.dcmread(path).ImagePositionPatient]
        change(path, ImagePositionPatient=[place[0], place[1] + 0.3 * place[2], place[2]])
    with pytest.raises(GeometryError, match=r"sheared by 3\.6 mm"):
        read_series(series[0])


def test_slope_and_intercept_make_hu(series):
    folder, hu = series
    for path in folder.iterdir():
        change(path, RescaleSlope="0.5", RescaleIntercept="-512")
    back = read_series(folder)
    assert back.data.dtype == np.float32 and np.array_equal(back.data, (hu + 1024) * 0.5 - 512)


@pytest.mark.data
def test_the_real_series_lies_where_its_labels_lie(test_data):
    folder = test_data / "ct_dicom_series_TotalSegmentator"
    ct = read_series(folder)
    labels = read_labels(folder / "seg_of_series.nii.gz")
    assert ct.data.shape == (512, 512, 20) and ct.grid.spacing_mm == pytest.approx((0.9765625, 0.9765625, 2.0))
    assert ct.grid.matches(labels.grid)
    ribs_and_spine = np.isin(labels.data, [*range(27, 51), *range(92, 116)])
    assert ct.data[ribs_and_spine].mean() > 150 and ct.data.min() == -1024
