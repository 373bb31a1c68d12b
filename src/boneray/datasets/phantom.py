"""Phantom patients as a data set of case folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from boneray.anatomy.registry import anatomy as find_anatomy
from boneray.core.case import Case
from boneray.core.errors import InputError
from boneray.datasets.views import check_rendering, standard_radiographs
from boneray.io.case_folder import made_from, write_case, write_dataset
from boneray.io.files import prepare_output
from boneray.phantom.patient import check_deformity, make_patient

LICENCE = "CC0-1.0"


def phantom_case(
    anatomy: str,
    *,
    seed: int,
    number: int,
    voxels: int | None = None,
    pixels: int = 256,
    deformity: str = "none",
    views: tuple[str, ...] = (),
) -> Case:
    """One phantom patient with its standard radiographs, in memory."""
    case = make_patient(anatomy, seed=seed, number=number, voxels=voxels, deformity=deformity)
    assert case.ct is not None and case.labels is not None
    views = views or find_anatomy(anatomy).views
    return replace(case, radiographs=standard_radiographs(case.ct, case.labels.grid, views, pixels=pixels))


def write_phantoms(
    anatomy: str,
    *,
    cases: int,
    seed: int,
    out: Path,
    voxels: int | None = None,
    pixels: int = 256,
    deformity: str = "none",
    views: tuple[str, ...] = (),
    force: bool = False,
    progress: Callable[[Iterator[int]], Iterator[int]] = iter,
) -> dict[str, Any]:
    """Write `cases` phantom patients as case folders; what is already there is kept.

    Raises:
        InputError: `out` holds a data set made otherwise (unless `force`), or `cases` < 1.
        ConfigError: unknown anatomy or deformity.
    """
    find_anatomy(anatomy)
    if cases < 1:
        raise InputError(f"number of cases {cases} must be at least 1")
    check_rendering(views, pixels=pixels, voxels=voxels)
    check_deformity(anatomy, deformity)
    source = {
        "phantom": {
            "anatomy": anatomy,
            "seed": seed,
            "voxels": voxels,
            "pixels": pixels,
            "deformity": deformity,
            "views": list(views),
        }
    }
    same = made_from(out, source)
    prepare_output(out, force=force or same)
    rows = []
    for number in progress(iter(range(cases))):
        name = f"{anatomy}-{seed}-{number:04d}"
        if not (same and (out / name / "case.json").is_file()):
            case = phantom_case(
                anatomy, seed=seed, number=number, voxels=voxels, pixels=pixels, deformity=deformity, views=views
            )
            write_case(out / name, case)
        rows.append({"case_id": name, "patient_id": name, "status": "ok"})
    write_dataset(out, name=f"phantom-{anatomy}", anatomy=anatomy, licence=LICENCE, source=source, cases=rows)
    return {"anatomy": anatomy, "cases": len(rows), "out": str(out)}
