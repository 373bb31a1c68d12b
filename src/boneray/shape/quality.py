"""How good a shape model is: compactness, generalisation and specificity.

Source: Davies et al. 2002, A minimum description length approach to statistical shape modelling.
All curves are over the number of modes; distances are between corresponding vertices, mm.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from boneray.core.errors import DataError
from boneray.core.seeds import generator
from boneray.shape.model import ShapeModel, shape_model


def compactness(model: ShapeModel) -> NDArray[np.float64]:
    """Share of the variance in the first 1, 2, ... modes, (k,); it rises to 1. Higher is better."""
    return np.asarray(np.cumsum(model.variances_mm2) / model.variances_mm2.sum())


def generalisation_mm(members_mm: Sequence[NDArray] | NDArray, faces: NDArray) -> NDArray[np.float64]:
    """Mean error of a member in the model of all others, by the number of modes (0 first), (members - 1,).

    Falls; lower is better. With 0 modes it is the distance from the mean of the others.

    Raises:
        DataError: fewer than three members.
    """
    data = np.asarray(members_mm, dtype=float)
    if len(data) < 3:
        raise DataError(f"{len(data)} shapes; leaving one out needs at least three")
    errors = np.zeros((len(data), len(data) - 1))
    for out in range(len(data)):
        model = shape_model(np.delete(data, out, axis=0), faces)
        weights = model.weights(data[out])
        for count in range(len(data) - 1):
            shape = model.shape_mm(weights[:count])
            errors[out, count] = np.linalg.norm(shape - data[out], axis=1).mean()
    return np.asarray(errors.mean(axis=0))


def specificity_mm(
    model: ShapeModel, members_mm: Sequence[NDArray] | NDArray, *, samples: int = 200, seed: int = 0
) -> NDArray[np.float64]:
    """Mean distance of random shapes to the nearest member, with the first 1, 2, ... modes, (k,). Lower is better."""
    data = np.asarray(members_mm, dtype=float)
    rng = generator(seed, "specificity")
    weights = np.clip(rng.standard_normal((samples, model.mode_count)), -3.0, 3.0)
    out = np.zeros(model.mode_count)
    for count in range(1, model.mode_count + 1):
        shapes = (model.shape_mm(row[:count]) for row in weights)
        out[count - 1] = np.mean([np.linalg.norm(data - shape, axis=2).mean(axis=1).min() for shape in shapes])
    return out
