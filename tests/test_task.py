"""What a model's outputs mean: the class that it predicts, and whether that is right."""

from __future__ import annotations

import math

import pytest
import torch

from bench.task import NO_ANSWER, correct, lead, predicted

NAN, INF = math.nan, math.inf


def test_the_largest_logit_is_the_prediction_and_of_equal_ones_the_first() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [1.0, 3.0, 3.0], [0.0, 0.0, 0.0]])
    assert predicted(logits).tolist() == [1, 1, 0]
    assert correct(logits, torch.tensor([1, 2, 0])).tolist() == [True, False, True]


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("label", [0, 1, 2])
def test_an_answer_that_is_not_finite_is_never_right(bad: float, place: int, label: int) -> None:
    logits, y = torch.tensor([[5.0, 1.0, 0.0]]), torch.tensor([label])
    logits[0, place] = bad
    assert predicted(logits).tolist() == [NO_ANSWER]
    assert correct(logits, y).tolist() == [False]
    assert lead(logits, y).tolist() == [-INF]


def test_the_lead_is_the_label_s_logit_over_the_largest_other() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.5], [1.0, 3.0, 3.0]])
    assert lead(logits, torch.tensor([1, 0])).tolist() == [0.5, -2.0]
