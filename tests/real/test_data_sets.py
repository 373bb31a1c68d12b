"""Real scans in the layouts of their data sets: curated as is known of them, and back in the file voxel for voxel."""

import json
import shutil
from dataclasses import dataclass

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from boneray.core.bones import bone
from boneray.datasets.choice import chosen
from boneray.datasets.collection import prepare_collection
from boneray.datasets.label_maps import LABEL_MAPS, label_map
from boneray.datasets.registry import DATASETS
from boneray.datasets.source_frame import labels_in_source
from boneray.datasets.totalsegmentator import mask_names
from boneray.io.case_folder import read_case
from boneray.io.nifti import read_labels
from boneray.projection.maximum import ray_maxima

pytestmark = pytest.mark.data


@dataclass(frozen=True)
class Real:
    """One real scan: what is asked of it, and what is known."""

    data_set: str
    anatomy: str
    case_id: str
    hu: bool
    flags: tuple[str, ...] = ()
    names: str = ""


SCANS = {
    "0243": Real(
        "ctpelvic1k", "pelvis", "colonog-1.3.6.1.4.1.9328.50.4.0243", False, ("cropped_hip", "mirrored_header")
    ),
    "0532": Real("ctspine1k", "spine", "1.3.6.1.4.1.9328.50.4.0532", False, ("mirrored_header",)),
    "verse230": Real("verse19", "spine", "sub-verse230", False, ("mirrored_header",)),
    "verse004": Real("verse19", "spine", "sub-verse004", True),
    "s0308": Real("totalsegmentator", "pelvis", "s0308", False, ("mirrored_header",)),
    "example": Real("totalsegmentator-output", "all", "example", True, ("foreign_material",)),
    "series": Real("dicom-labels", "spine", "series", True, (), "totalsegmentator"),
}


def lay_out(name, data, root):
    """Copy a scan into its owners' layout below `root`."""

    def copy(source, target):
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(data / source, root / target)

    if name == "0243":
        uid = "1.3.6.1.4.1.9328.50.4.0243"
        copy("pelvis_CTPelvic1K_0243/pelvis0243_ct.nii.gz", f"dataset2_{uid}_data.nii.gz")
        copy("pelvis_CTPelvic1K_0243/pelvis0243_label.nii.gz", f"masks/dataset2_{uid}_mask_4label.nii.gz")
    elif name == "0532":
        uid = "1.3.6.1.4.1.9328.50.4.0532"
        copy("spine_CTSpine1K_0532/spine0532_ct.nii.gz", f"volumes/COLONOG/{uid}.nii.gz")
        copy("spine_CTSpine1K_0532/spine0532_label.nii.gz", f"labels/COLONOG/{uid}_seg.nii.gz")
    elif name == "verse230":
        copy("spine_VerSe19_verse230/verse230_ct.nii.gz", "t/rawdata/sub-verse230/sub-verse230_ct.nii.gz")
        copy("spine_VerSe19_verse230/verse230_label.nii.gz",
             "t/derivatives/sub-verse230/sub-verse230_seg-vert_msk.nii.gz")  # fmt: skip
    elif name == "verse004":
        stem = "t/derivatives/sub-verse004/sub-verse004"
        folder = "spine_VerSe_sample_verse004"
        copy(f"{folder}/sub-verse004_seg-vert_msk.nii.gz", f"{stem}_seg-vert_msk.nii.gz")
        copy(f"{folder}/sub-verse004_seg-subreg_ctd.json", f"{stem}_seg-subreg_ctd.json")
        mask = nib.load(root / f"{stem}_seg-vert_msk.nii.gz")  # its CT is not among the files: bone in water instead
        hu = np.where(np.asanyarray(mask.dataobj) > 0, 300, 0).astype(np.int16)
        hu[0] = -1000
        (root / "t/rawdata/sub-verse004").mkdir(parents=True)
        nib.save(nib.Nifti1Image(hu, mask.affine), root / "t/rawdata/sub-verse004/sub-verse004_ct.nii.gz")
    elif name == "s0308":
        copy("allbones_TotalSegmentator_s0308/s0308_all_ct.nii.gz", "s0308/ct.nii.gz")
        whole = nib.load(data / "allbones_TotalSegmentator_s0308/s0308_all_label.nii.gz")
        ids = np.asanyarray(whole.dataobj)
        (root / "s0308/segmentations").mkdir()
        for number, bone_of in LABEL_MAPS["boneray"].items():
            part = nib.Nifti1Image((ids == number).astype(np.uint8), whole.affine)
            nib.save(part, root / f"s0308/segmentations/{mask_names(bone_of)[0]}.nii.gz")
    elif name == "example":
        folder = "ct_raw_HU_TotalSegmentator_example"
        copy(f"{folder}/example_ct.nii.gz", "example/ct.nii.gz")
        copy(f"{folder}/example_seg_totalsegmentator_v2_ids.nii.gz", "example/segmentations.nii.gz")
    else:
        folder = data / "ct_dicom_series_TotalSegmentator"
        for slice_ in folder.glob("*.dcm"):
            copy(slice_.relative_to(data), f"series/{slice_.name}")
        copy("ct_dicom_series_TotalSegmentator/seg_of_series.nii.gz", "series.nii.gz")


@pytest.mark.parametrize("name", SCANS)
def test_real_scans_go_through_their_data_set(test_data, tmp_path, name):
    real, root = SCANS[name], tmp_path / "raw"
    lay_out(name, test_data, root)
    given = {"region": "native", "pixels": 64, "views": ("ap",)} | ({} if real.hu else {"intensity_zero": 0.0})
    entry, options = chosen(real.data_set, anatomy=real.anatomy, given=given)
    pairs = list(entry.value.cases(root, real.names or None))
    made = prepare_collection(
        pairs, options, name=name, out=tmp_path / "o", rules=entry.value.rules, root=root, single=False
    )
    (row,) = made["cases"]
    assert (row["case_id"], row["status"]) == (real.case_id, "ok"), row
    assert tuple(flag.partition(":")[0] for flag in row["flags"]) == real.flags
    back = labels_in_source(tmp_path / "o" / real.case_id)
    known = label_map(real.names) if real.names else pairs[0].bones
    kept = read_case(tmp_path / "o" / real.case_id).labels.ids
    if pairs[0].parts:
        stored = np.zeros(back.data.shape, np.uint8)
        for b, files in pairs[0].parts.items():
            if bone(b).bone_id in kept:
                stored[np.asanyarray(nib.load(files[0]).dataobj) > 0] = bone(b).bone_id
    else:
        raw = np.asanyarray(nib.load(pairs[0].labels).dataobj).astype(int)
        table = np.zeros(raw.max() + 1, np.uint8)
        for number, b in known.items():
            if number <= raw.max() and bone(b).bone_id in kept:
                table[number] = bone(b).bone_id
        stored = table[raw]
    assert stored.any() and np.array_equal(back.data, stored)


def test_a_report_shows_every_real_scan_with_its_bones_outlined(test_data, tmp_path, boneray):
    """AP and LAT of all of them on one page (docs/datasets.md); labelled bone is where the pictures are bright."""
    for name, real in SCANS.items():
        lay_out(name, test_data, tmp_path / name)
        given = {"pixels": 256, "voxels": 128, "views": ("ap", "lat")} | ({} if real.hu else {"intensity_zero": 0.0})
        entry, options = chosen(real.data_set, anatomy=real.anatomy, given=given)
        made = prepare_collection(
            entry.value.cases(tmp_path / name, real.names or None), options, name=name, out=tmp_path / f"{name}-out",
            rules=entry.value.rules, single=False,
        )  # fmt: skip
        (row,) = made["cases"]
        (tmp_path / "cases").mkdir(exist_ok=True)
        (tmp_path / f"{name}-out" / row["case_id"]).rename(tmp_path / "cases" / row["case_id"])
    page = tmp_path / "real.html"
    done = boneray("inspect", tmp_path / "cases", "--html", page, "--outlines")
    assert done.code == 0 and page.read_text().count("data:image/png;base64,") == 2 * len(SCANS)
    for real in SCANS.values():
        case = read_case(tmp_path / "cases" / real.case_id)
        for view, radiograph in case.radiographs.items():
            shadow = ray_maxima(case.labels.data > 0, case.labels.grid, radiograph.camera) >= 0.5
            beside = binary_dilation(shadow, iterations=6) & ~binary_dilation(shadow, iterations=2)
            if real.case_id != "series":  # a slab of 40 mm: its faces are where the labels end
                inside, outside = (radiograph.line_integrals[m].mean() for m in (shadow, beside))
                assert inside > outside, (real.case_id, view)


def test_ctpelvic1k_label_2_is_left_in_the_real_case(test_data, tmp_path):
    """Case 0243: the liver lies on label 3's side, so 2 is the patient's left; the frame says the same."""
    lay_out("0243", test_data, tmp_path)
    (pair,) = DATASETS.get("ctpelvic1k").value.cases(tmp_path, None)
    named, remarks = pair.naming(read_labels(pair.labels))
    assert remarks == []
    raw = read_labels(pair.labels).data
    assert np.all(named.data[raw == 2] == bone("hip_left").bone_id)
    assert np.all(named.data[raw == 3] == bone("hip_right").bone_id)


def test_the_implant_of_the_raw_hu_example_is_in_the_left_femur(test_data, tmp_path):
    """By the frame, in which the model's liver lies on the right."""
    lay_out("example", test_data, tmp_path / "raw")
    entry, options = chosen("totalsegmentator-output", anatomy="femur", given={"voxels": 16, "pixels": 16})
    pairs = list(entry.value.cases(tmp_path / "raw", None))
    made = prepare_collection(pairs, options, name="x", out=tmp_path / "o", rules=entry.value.rules, single=False)
    flags = {row["case_id"]: [flag.partition(":")[0] for flag in row["flags"]] for row in made["cases"]}
    assert flags == {"example-femur_left": ["foreign_material"], "example-femur_right": []}
    volume = nib.load(tmp_path / "raw/example/segmentations.nii.gz")
    liver = nib.affines.apply_affine(volume.affine, np.argwhere(np.asanyarray(volume.dataobj) == 5).mean(0))
    ct = nib.load(tmp_path / "raw/example/ct.nii.gz")
    metal = nib.affines.apply_affine(ct.affine, np.argwhere(np.asanyarray(ct.dataobj) > 2500).mean(0))
    assert liver[0] > 0 > metal[0]


def test_annotated_centres_lie_in_the_bodies_of_verse004(test_data, tmp_path):
    """The file's centres, put into the world, lie near the mask's centroids and in front of them, as bodies do."""
    lay_out("verse004", test_data, tmp_path)
    (pair,) = DATASETS.get("verse19").value.cases(tmp_path, None)
    labels = read_labels(pair.labels)
    centres = pair.centres()
    entries = json.loads(next(tmp_path.glob("**/*_ctd.json")).read_text())
    assert len(centres) == len(entries) - 1 == 9
    for name, centre in centres.items():
        inside = labels.grid.to_world(np.argwhere(labels.data == bone(name).bone_id))
        offset = np.array(centre) - inside.mean(0)
        i, j, k = np.round(labels.grid.to_index(centre)).astype(int)
        assert labels.data[i, j, k] == bone(name).bone_id
        assert abs(offset[0]) < 6 and 0 < offset[1] < 35 and abs(offset[2]) < 12, (name, offset)
