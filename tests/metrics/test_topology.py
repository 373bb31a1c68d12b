"""Pieces, tunnels and cavities of bodies whose topology is known."""

import numpy as np
import pytest

from boneray.metrics.facts import mask_facts
from boneray.metrics.registry import METRICS
from boneray.metrics.topology import Topology, topology


def block():
    mask = np.zeros((9, 9, 9), bool)
    mask[1:8, 1:8, 1:8] = True
    return mask


def with_tunnel():
    mask = block()
    mask[4, 4, :] = False
    return mask


def with_cavity():
    mask = block()
    mask[3:5, 3:5, 3:5] = False
    return mask


def two_tunnels_and_a_piece():
    mask = block()
    mask[2, 2, :] = mask[5, 5, :] = False
    mask[0, 0, 0] = True  # touches nothing: its neighbour (1, 1, 1) is cut off
    mask[1, 1, 1] = False
    return mask


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (np.zeros((3, 3, 3), bool), Topology(0, 0, 0)),
        (np.ones((3, 3, 3), bool), Topology(1, 0, 0)),
        (block(), Topology(1, 0, 0)),
        (with_tunnel(), Topology(1, 1, 0)),
        (with_cavity(), Topology(1, 0, 1)),
        (two_tunnels_and_a_piece(), Topology(2, 2, 0)),
        (np.eye(3, dtype=bool)[None], Topology(1, 0, 0)),  # voxels that touch at edges are one piece
    ],
)
def test_topology(mask, expected):
    assert topology(mask) == expected


def test_topology_of_both_sides():
    facts = mask_facts(with_tunnel(), with_cavity(), (1.0, 1.0, 1.0))
    found = {name: METRICS.get(name).value(facts) for name in ("tunnels_reference", "tunnels_prediction")}
    assert found == {"tunnels_reference": 1.0, "tunnels_prediction": 0.0}
    assert METRICS.get("cavities_prediction").value(facts) == 1.0
    assert METRICS.get("components_reference").value(facts) == 1.0
