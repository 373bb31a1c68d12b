"""Bones as DICOM: read back with pydicom, voxel for voxel and millimetre for millimetre, on a tilted uneven grid."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest

from boneray.core.bones import BONES
from boneray.core.errors import ConfigError, DataError
from boneray.core.grid import Grid
from boneray.core.volume import LabelMap
from boneray.geometry.surface import faithful_meshes
from boneray.io.dicom_seg import write_dicom_objects
from boneray.io.meshes import read_mesh

TILT = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
GRID = Grid((12, 10, 7), (1.0, 1.5, 2.0), (5.0, -20.0, 100.0), tuple(TILT.ravel()))
WORDS = {"case_id": "case-1", "model": "raylift_tiny", "version": "0.1.0"}


def labels() -> LabelMap:
    data = np.zeros(GRID.shape, np.uint8)
    data[2:6, 1:5, 1:4] = BONES["femur_left"].bone_id
    data[7:11, 5:9, 2:6] = BONES["hip_left"].bone_id
    return LabelMap(data, GRID)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    out = tmp_path_factory.mktemp("dicom")
    write_dicom_objects(out, labels(), faithful_meshes(labels()), **WORDS)
    return out


def lps(ras_mm):
    return np.asarray(ras_mm) * (-1, -1, 1)


def test_every_voxel_of_every_segment_is_where_it_was(folder):
    seg = pydicom.dcmread(folder / "segmentation.dcm")
    assert seg.SOPClassUID.name == "Segmentation Storage"
    names = {int(one.SegmentNumber): one.SegmentLabel for one in seg.SegmentSequence}
    assert sorted(names.values()) == ["femur_left", "hip_left"]
    shared = seg.SharedFunctionalGroupsSequence[0]
    across = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    row_mm, column_mm = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    seen = {name: set() for name in names.values()}
    for frame, groups in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        name = names[int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)]
        corner = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        for row, column in np.argwhere(frame):
            seen[name].add(tuple(np.round(corner + across[:3] * column * column_mm + across[3:] * row * row_mm, 2)))
    for name, points in seen.items():
        index = np.argwhere(labels().data == BONES[name].bone_id).astype(float)
        expected = lps(GRID.to_world(index))
        got = np.array(sorted(points))
        assert len(got) == len(expected)
        distance = np.linalg.norm(got[:, None] - expected[None], axis=-1).min(axis=1)
        assert distance.max() < 0.02


def test_the_carrier_says_that_it_is_none_and_is_what_the_segmentation_refers_to(folder):
    slices = [pydicom.dcmread(path) for path in sorted((folder / "carrier").iterdir())]
    seg = pydicom.dcmread(folder / "segmentation.dcm")
    assert len(slices) == GRID.shape[2]
    for k, one in enumerate(slices):
        assert one.SyntheticData == "YES" and one.ImageType[0] == "DERIVED" and "no CT" in one.SeriesDescription
        np.testing.assert_allclose(one.ImagePositionPatient, lps(GRID.to_world((0.0, 0.0, k))), atol=1e-6)
        assert np.array_equal(one.pixel_array.T > 0, labels().data[:, :, k] > 0)
    named = {one.ReferencedSOPInstanceUID for one in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert named <= {one.SOPInstanceUID for one in slices}
    assert len({one.FrameOfReferenceUID for one in (*slices, seg)}) == 1
    assert len({one.StudyInstanceUID for one in (*slices, seg)}) == 1


def test_an_encapsulated_surface_is_the_mesh_in_the_frame_of_dicom(folder, tmp_path):
    for name, mesh in faithful_meshes(labels()).items():
        one = pydicom.dcmread(folder / "stl" / f"{name}.dcm")
        assert one.SOPClassUID.name == "Encapsulated STL Storage"
        assert one.MIMETypeOfEncapsulatedDocument == "model/stl"
        assert one.MeasurementUnitsCodeSequence[0].CodeValue == "mm"
        raw = one.EncapsulatedDocument[: one.EncapsulatedDocumentLength]
        assert b"not a medical device" in raw[:80] and b"LPS" in raw[:80]
        (tmp_path / "a.stl").write_bytes(raw)
        back = read_mesh(tmp_path / "a.stl")
        assert back.volume_mm3 == pytest.approx(mesh.volume_mm3, rel=1e-4)  # turned, not mirrored: still positive
        np.testing.assert_allclose(back.vertices_mm.mean(0), lps(mesh.vertices_mm.mean(0)), atol=0.01)


def test_purpose_and_patient_are_stated_in_every_object(folder):
    for path in folder.rglob("*.dcm"):
        one = pydicom.dcmread(path)
        assert one.PatientID == "case-1" and "Research use" in one.SeriesDescription


def test_what_is_missing_is_one_line(tmp_path, monkeypatch):
    empty = LabelMap(np.zeros(GRID.shape, np.uint8), GRID)
    pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    with pytest.raises(DataError, match="no bone"):
        write_dicom_objects(tmp_path, empty, {}, **WORDS)
    monkeypatch.setattr("boneray.io.dicom_seg.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"boneray\[dicom\]"):
        write_dicom_objects(tmp_path, labels(), {}, **WORDS)
