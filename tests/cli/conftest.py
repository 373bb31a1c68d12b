"""A small trained run to use commands on."""

import pytest


@pytest.fixture(scope="session")
def small_world(tmp_path_factory):
    """Six tiny femora and a run of a few steps on them."""
    from boneray.datasets.phantom import write_phantoms
    from boneray.training.run import train

    root = tmp_path_factory.mktemp("world")
    write_phantoms("femur", cases=6, seed=0, out=root / "data", voxels=16, pixels=32)
    settings = ("recipe.steps=40", "recipe.validations=2", "recipe.learning_rate=0.01", "validation_share=0.2")
    train("raylift_tiny", data=root / "data", out=root / "run", overrides=settings, device="cpu")
    return root
