"""McNemar's exact test against a count of all outcomes, and what it refuses."""

from itertools import product

import numpy as np
import pytest

from bench.errors import TemperError
from bench.ranking.statistics import McNemar, mcnemar


def students(only_first, only_second, both=5, neither=3):
    """Two students that disagree on so many images."""
    first = [True] * (only_first + both) + [False] * (only_second + neither)
    second = [False] * only_first + [True] * (both + only_second) + [False] * neither
    return np.array(first), np.array(second)


@pytest.mark.parametrize(("b", "c"), [(0, 1), (1, 1), (0, 8), (3, 7), (9, 2), (6, 6)])
def test_p_is_the_share_of_tosses_at_least_as_uneven(b, c):
    got = mcnemar(*students(b, c))
    tosses = [abs(2 * sum(toss) - (b + c)) for toss in product([0, 1], repeat=b + c)]
    assert got == McNemar(b, c, pytest.approx(np.mean([toss >= abs(b - c) for toss in tosses])))


def test_images_on_which_they_agree_say_nothing():
    assert mcnemar(*students(3, 9)) == mcnemar(*students(3, 9, both=500, neither=900))
    assert mcnemar(*students(0, 0)).p == 1


def test_two_equal_students_are_called_different_in_at_most_a_twentieth():
    rng = np.random.default_rng(0)
    pairs = (rng.random((2, 300)) + rng.normal(0, 0.5, 300) < 0.5 for _ in range(500))
    found = np.mean([mcnemar(*pair).p < 0.05 for pair in pairs])
    assert 0.01 < found < 0.07


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        (np.ones((3, 9), bool), np.ones((3, 9), bool), "one student each.*knows nothing of how seeds differ"),
        (np.ones((1, 9), bool), np.ones(9, bool), "one student each"),
        (np.ones(9, bool), np.ones(8, bool), "share their test images, got 9 and 8"),
        (np.full(9, 255, np.uint8), np.ones(9, bool), "takes booleans.*uint8"),
    ],
)
def test_what_it_cannot_judge_is_refused(first, second, why):
    with pytest.raises(TemperError, match=why):
        mcnemar(first, second)
