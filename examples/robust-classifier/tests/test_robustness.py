"""The classifier must stay robust: against a bound, and against what it was when its baseline was written."""

import classifier
import pytest
from torch import nn

QUICK = {"protocol": "screen", "examples": 300}  # for a release: protocol="standard", which is AutoAttack


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return classifier.trained()


def test_it_is_robust_enough(assert_robust, model):
    assert_robust(model, "digits-linf", at_least=0.5, **QUICK)


def test_it_is_as_robust_as_it_was(assert_robust, model):
    assert_robust(model, "digits-linf", **QUICK)
