"""Beams that papers and departments use."""

from __future__ import annotations

from boneray.projection.spectrum import BEAMS, Beam

BEAMS.register("60KV_AL35", "60 kVp, 3.5 mm Al", use="the radiographs of EAR and of DeepDRR under this name")(
    Beam(60.0, 3.5)
)
BEAMS.register("60KV_AL25", "60 kVp, 2.5 mm Al", use="hands, elbows, knees")(Beam(60.0, 2.5))
BEAMS.register("80KV_AL25", "80 kVp, 2.5 mm Al", use="hips, pelvis, spine from the front")(Beam(80.0, 2.5))
BEAMS.register("100KV_AL25", "100 kVp, 2.5 mm Al", use="spine from the side")(Beam(100.0, 2.5))
BEAMS.register("120KV_AL35", "120 kVp, 3.5 mm Al", use="chest")(Beam(120.0, 3.5))
