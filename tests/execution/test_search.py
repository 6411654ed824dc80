"""`temper run --until-decided`: looks after every seed, at levels that together err in 5%; nothing is run twice."""

from __future__ import annotations

import json

import pytest

from bench.ranking.sequential import nominal_levels


def search(temper, tiny, *arguments):
    result = temper("run", tiny, "--until-decided", "natural", "pgd-at", "--budget", "m", "--json", *arguments)
    return result, json.loads(result.out) if result.out else {}


@pytest.mark.slow
def test_seeds_are_added_to_both_until_they_differ_and_a_second_search_takes_the_same_looks(tiny, temper, here):
    tiny.write_text(tiny.read_text().replace("m = 4", "m = 10").replace("eps = 0.3", "eps = 0.1"))
    result, found = search(temper, tiny, "--seeds", "2", "--max-seeds", "3")
    assert result.code == 0, result.err
    assert len(found["trials"]) == 2 * found["looks"][-1]["seeds"]
    assert [look["seeds"] for look in found["looks"]] == list(range(2, 2 + len(found["looks"])))
    assert [look["level"] for look in found["looks"]] == pytest.approx(nominal_levels([2, 3])[: len(found["looks"])])
    assert [look["decided"] for look in found["looks"][:-1]] == [False] * (len(found["looks"]) - 1)
    assert found["looks"][-1]["decided"] or len(found["looks"]) == 2

    again, same = search(temper, tiny, "--seeds", "2", "--max-seeds", "3")
    assert same == found
    assert ": done" not in again.err  # nothing was run

    words = temper("run", tiny, "--until-decided", "natural", "pgd-at", "--budget", "m", "--seeds", 2, "--max-seeds", 3)
    assert "natural minus pgd-at" in words.out
    assert ("decided after" in words.out) and ("pgd-at is more robust" in words.out or "not decided" in words.out)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--until-decided", "kd", "kd"), "two methods"),
        (("--until-decided", "natural", "pgd-at", "--method", "natural"), "leave out --method"),
        (("--until-decided", "natural", "pgd-atx"), "did you mean"),
    ],
)
def test_what_is_no_pair_is_refused(tiny, temper, arguments, says):
    result = temper("run", tiny, *arguments)
    assert result.code == 2
    assert says in result.err
