"""Every network that takes under five seconds a step on a core learns two phantom cases by heart."""

import pytest

from boneray.benchmark.overfit import ENOUGH, MOST_STEP_S, overfit
from boneray.models.registry import MODELS

LEARNING = [e.name for e in MODELS if e.value.learns_by_gradient and e.value.learns == "labels"]


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNING)
def test_two_cases_are_learnt_by_heart(name):
    learnt = overfit(name)
    if learnt.reason:
        pytest.skip(learnt.reason)
    assert learnt.step_s < MOST_STEP_S
    assert learnt.dice >= ENOUGH, f"{learnt.dice:.3f} after {learnt.steps} steps"
