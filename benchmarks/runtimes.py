"""How long films take to become files, in a process of its own each time: ONNX Runtime and torch, 64^3 and 128^3.

    python benchmarks/runtimes.py [--runs 3] [--out runtimes.json]

The 128^3 network has the weights of the packaged one for 64^3, which is a matter of convolutions only, on a grid of the
same edge. `cold` has no compiled numba kernels, as a fresh installation; `bare` no compiled Python
either (pip makes it when it installs); `warm` is a second process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from boneray.datasets.phantom import phantom_case
from boneray.io.dicom_writing import write_dicom
from boneray.io.files import write_json
from boneray.models.checkpoint import build_network, load_checkpoint, save_checkpoint
from boneray.models.export import export_onnx

CHECKPOINT = "raylift_tiny-femur"
# says at its end what it used; the kernel's own count for children begins with what the parent had
PROGRAM = """
import atexit, time
words = lambda: open("/proc/self/status").read().split("VmHWM:")[1].split()
atexit.register(lambda: print(words()[0], round(time.process_time(), 2)))
from boneray.cli.app import main
main()
"""


def films(folder: Path) -> str:
    """Write ap.dcm and lat.dcm of a phantom; returns its bone."""
    case = phantom_case("femur", seed=8123, number=0)
    place = {"centre_mm": case.labels.grid.centre_mm, "study": "s"}
    for number, (view, radiograph) in enumerate(case.radiographs.items(), start=1):
        write_dicom(folder / f"{view}.dcm", radiograph, patient_id="p", patient_name="n", number=number, **place)
    return case.target


def large(folder: Path) -> Path:
    """A checkpoint for 128^3 with the weights of the packaged one, and its ONNX file."""
    network, card = load_checkpoint(CHECKPOINT)
    card = replace(card, grid_shape=(128, 128, 128), image_shape=(256, 256))
    other = build_network(card).eval()
    other.load_state_dict(network.state_dict())
    file = save_checkpoint(folder / "large.safetensors", other, card, half=True)
    export_onnx(file, folder / "large.onnx")
    return file


def once(folder: Path, bone: str, checkpoint: str, runtime: str, environment: dict[str, str]) -> dict[str, float]:
    """Seconds by the clock and of the processor, and MB, of one `boneray reconstruct`."""
    command = [sys.executable, "-c", PROGRAM, "reconstruct"]
    command += ["--ap", str(folder / "ap.dcm"), "--lat", str(folder / "lat.dcm"), "--bone", bone, "--force"]
    command += ["--checkpoint", checkpoint, "--runtime", runtime, "--out", str(folder / "out")]
    start = time.perf_counter()
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(done.stderr)
    peak_kb, processor_s = done.stdout.split()
    return {"seconds": round(seconds, 2), "processor_s": float(processor_s), "peak_mb": int(peak_kb) // 1024}


def main() -> None:
    """Print one line per run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        bone = films(folder)
        checkpoints = {"64": CHECKPOINT, "128": str(large(folder))}
        plans = [("64", "onnx", "cold", {"NUMBA_CACHE_DIR": str(folder / "numba")})]
        bare = {"NUMBA_CACHE_DIR": str(folder / "none"), "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
        plans += [("64", "onnx", "bare", bare)]
        plans += [(size, "onnx", "warm", {}) for size in checkpoints for _ in range(given.runs)]
        plans += [(size, "torch", "warm", {}) for size in checkpoints]
        for size, runtime, state, environment in plans:
            row = {"grid": size, "runtime": runtime, "state": state}
            row |= once(folder, bone, checkpoints[size], runtime, environment)
            rows.append({**row, "load": round(os.getloadavg()[0], 1)})
            print(json.dumps(rows[-1]), flush=True)
    if given.out:
        write_json(given.out, {"cores": os.cpu_count(), "rows": rows})


if __name__ == "__main__":
    main()
