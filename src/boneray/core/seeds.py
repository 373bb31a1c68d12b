"""Explicit randomness: every generator comes from a run seed and a name."""

from __future__ import annotations

import hashlib

import numpy as np


def derived_seed(seed: int, *names: object) -> int:
    """A 63-bit seed that depends on the run seed and on every name (a case id, a purpose)."""
    text = "\x1f".join([str(int(seed)), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, *names: object) -> np.random.Generator:
    """A numpy generator for one purpose; the same arguments give the same numbers everywhere."""
    return np.random.Generator(np.random.PCG64(derived_seed(seed, *names)))
