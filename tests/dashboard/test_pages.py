"""What the pages say of the records that ship, and of boards that have little to say."""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.dashboard.blocks import Block, Chart, Code, Columns, Downloads, Finding, Formula, Note, Table
from bench.dashboard.pages import about, compare, fronts, history, leaderboard, method, scenario, submit
from bench.dashboard.table import Selection
from bench.dashboard.view import View
from bench.method import METHODS
from bench.ranking.explanation import explain
from bench.ranking.render import to_csv
from bench.ranking.rows import read_board
from bench.records import shipped_leaderboards
from bench.scenario import Scenario, load_scenario, shipped_scenarios
from tests.dashboard.conftest import fail

Fill = Callable[..., list[Path]]


@pytest.fixture(scope="module")
def shipped() -> View:
    """The digits board that ships."""
    return View.of(read_board(load_scenario("digits-linf"), shipped_leaderboards()))


@pytest.fixture
def view(digits: Scenario, leaderboards: Path) -> Callable[[], View]:
    return lambda: View.of(read_board(digits, leaderboards))


def flat(blocks: Iterable[Block]) -> Iterator[Block]:
    for block in blocks:
        if isinstance(block, Columns):
            for column in block.columns:
                yield from flat(column)
        else:
            yield block


def of_kind(blocks: Iterable[Block], kind: type) -> list:
    return [block for block in flat(blocks) if isinstance(block, kind)]


def said(blocks: Iterable[Block]) -> str:
    return "\n".join(block.text for block in flat(blocks) if isinstance(block, Finding | Note))


# --- leaderboard ------------------------------------------------------------------------------------


def test_the_leaderboard_can_be_taken_along(shipped: View) -> None:
    (downloads,) = of_kind(leaderboard.blocks(shipped, Selection()), Downloads)
    files = {file.name: file.make().decode() for file in downloads.files}
    assert set(files) == {"digits-linf.csv", "digits-linf.tex", "digits-linf.md"}
    assert files["digits-linf.csv"].startswith("rank,") and "\\toprule" in files["digits-linf.tex"]


# --- fronts -----------------------------------------------------------------------------------------


def test_nothing_is_better_than_the_front_in_both(shipped: View) -> None:
    points = fronts.clean_and_robust(shipped)
    edge = points[points["on_front"]]
    for _, row in points[~points["on_front"]].iterrows():
        assert ((edge["x"] >= row["x"]) & (edge["y"] >= row["y"])).any()
    assert (points["x_low"] <= points["x"]).all() and (points["x"] <= points["x_high"]).all()


def test_the_front_in_words() -> None:
    points = pd.DataFrame({"label": ["a", "b", "c"], "on_front": [True, False, False]})
    points = points.assign(x=1.0, y=1.0)
    words = "a is on the front: for each of the 2 others, a is at least as good in both, and better in one."
    assert fronts.front_finding(points, "both") == words
    assert "the other row" in fronts.front_finding(points.assign(y=[1.0, 1.0, np.nan]), "both"), "a row without passes"
    assert fronts.front_finding(points[:1], "both") == "a is the only row."
    assert fronts.front_finding(points[1:], "both") == "No row has both measures yet."


def test_a_front_of_compute_needs_two_budgets(shipped: View) -> None:
    alone = fronts.blocks(shipped, [shipped])
    assert len(of_kind(alone, Chart)) == 1
    assert "needs records with two rulesets or budgets" in said(alone)
    points = fronts.robust_and_compute([shipped, shipped])
    assert len(points) == 2 * len(shipped.labels) and points["label"].str.endswith("(compute s)").all()
    assert (points["x"] == shipped.board.scenario.passes("s")).all(), "half a step less is no saving"
    assert (points.loc[points["on_front"], "y"] == points["y"].max()).all()


def test_students_are_compared_where_the_rest_is_the_same(shipped: View, digits: Scenario) -> None:
    def on(**changes: object) -> View:
        return View(replace(shipped.board, scenario=digits.model_copy(update=changes)), shipped.ranked)

    assert fronts.same_but_student(shipped, on(name="other", student=digits.teachers["robust"]))
    assert not fronts.same_but_student(shipped, on(budget=digits.budget.model_copy(update={"s": 7.0})))
    both = fronts.blocks(shipped, [shipped, on(name="other", student=digits.teachers["robust"])])
    assert {chart.key for chart in of_kind(both, Chart)} == {"clean", "parameters"}
    points = fronts.robust_and_parameters([shipped, shipped])
    assert (points["x"] == points["x"].iloc[0]).all() and points["x"].iloc[0] > 1000


def test_picked_rows_are_listed(shipped: View) -> None:
    (table,) = of_kind(fronts.blocks(shipped, [shipped], picked=["kd"]), Table)
    assert list(table.frame["row"]) == ["kd"]


def test_rows_far_below_are_counted_and_can_be_seen(shipped: View) -> None:
    near, everything = (fronts.blocks(shipped, [shipped], everything=each) for each in (False, True))
    drawn = [sum(len(trace.y) for trace in of_kind(each, Chart)[0].figure.data[1:]) for each in (near, everything)]
    assert drawn[0] < drawn[1] == len(shipped.labels)
    assert f"{drawn[1] - drawn[0]} rows" in of_kind(near, Finding)[0].detail


# --- compare ----------------------------------------------------------------------------------------


def test_two_rows_are_explained(shipped: View) -> None:
    blocks = compare.blocks(shipped, ["trades", "kd"])
    assert of_kind(blocks, Finding)[0].text.startswith("trades beats kd by ")
    assert of_kind(blocks, Finding)[0].detail == explain(shipped.board, "trades", "kd").text


def test_pairs_that_cannot_be_told_apart_are_counted(shipped: View) -> None:
    names = ["rslad", "gkd-logit", "ard", "kd"]
    pairs = [explain(shipped.board, a, b) for k, a in enumerate(names) for b in names[k + 1 :]]
    words = compare.compare_finding(pairs)
    assert "beats kd by" in words
    untold = sum(not compare.told(pair) for pair in pairs)
    assert untold > compare.NAMED and f"{untold} of 6 pairs do not differ significantly." in words


def test_rows_are_called_different_as_on_the_leaderboard(shipped: View) -> None:
    """By the test among all pairs, so that no page contradicts another."""
    pair = shipped.comparisons.explain("pgd-at", "trades")
    assert pair.difference.p < 0.05 < pair.holm, "the case that tells the two tests apart"
    words = said(compare.blocks(shipped, ["pgd-at", "trades"]))
    assert words.startswith("pgd-at and trades do not differ significantly.")


def test_a_failed_seed_counts_in_the_bars_as_in_the_ranking(fill: Fill, view: Callable[[], View]) -> None:
    folders = fill({"trades": 0.8, "kd": 0.1})
    fail(folders[0])
    shares = compare.outcome_shares(view(), ["trades", "kd"])
    assert shares.loc["trades", compare.FAILED] == pytest.approx(20) and shares.loc["kd", compare.FAILED] == 0
    assert shares.loc["trades", "robust"] == pytest.approx(100 * view().rows[0]["robust"])


def test_a_row_that_took_the_place_of_another_version_is_compared(fill: Fill, view: Callable[[], View]) -> None:
    folders = fill({"trades": 0.8, "kd": 0.1})
    old = folders[0].with_name("0" * 16)
    shutil.copytree(folders[0], old)
    content = json.loads((old / "record.json").read_text())
    content["trial"]["version"], content["trial_id"], content["retracted"] = "older", "0" * 16, "Replaced."
    (old / "record.json").write_text(json.dumps(content))
    board = view()
    assert board.labels[0] == "trades · zhang2019"
    assert "trades · zhang2019 beats kd" in said(compare.blocks(board, board.labels[:2]))


def test_outcomes_are_shares_of_all_images(shipped: View) -> None:
    shares = compare.outcome_shares(shipped, ["trades", "kd"])
    np.testing.assert_allclose(shares.sum(axis=1), 100)
    ranked = shipped.ranked.set_index("method")
    assert shares.loc["kd", "robust"] == pytest.approx(100 * ranked.loc["kd", "robust"])
    assert shares.loc["kd", "misclassified"] == pytest.approx(100 - 100 * ranked.loc["kd", "clean"])
    assert "first by apgd-ce" in compare.outcome_finding(shares)


def test_images_apart_are_robust_in_one_and_broken_in_the_other(shipped: View) -> None:
    one, other = (shipped.board.rows[shipped.labels.index(name)][0] for name in ("trades", "kd"))
    apart = compare.images_apart(one, other)
    assert len(apart)
    assert one.robust[apart].all() and not other.robust[apart].any() and other.correct[apart].all()


def test_images_without_weights_are_described_only(fill: Fill, view: Callable[[], View]) -> None:
    fill()
    words = said(compare.image_blocks(view(), ["trades", "kd"], 0))
    assert "images are robust only with trades" in words and "cannot be shown" in words
    assert "do not both have seed 9" in said(compare.image_blocks(view(), ["trades", "kd"], 9))


# --- method -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gkd-logit", "adaad-igdm", "natural"])
def test_a_method_of_the_board(shipped: View, name: str) -> None:
    blocks = method.blocks(shipped, name)
    assert said(blocks).startswith(f"{name}: ")
    assert "Over half of the test images stand" not in said(blocks)
    assert {chart.key for chart in of_kind(blocks, Chart)} == {"validation", "losses", "eps", "classes"}
    assert of_kind(blocks, Formula)[0].latex == METHODS[name].info.formula
    code = "\n".join(block.text for block in of_kind(blocks, Code))
    assert f"temper run digits-linf --method {name}" in code and f'"{name}"' in code


def test_the_discriminator_is_in_the_learning_curve(shipped: View) -> None:
    chart = next(chart for chart in of_kind(method.blocks(shipped, "gkd-cond"), Chart) if chart.key == "losses")
    assert {"student", "discriminator", "gan_share"} <= {trace.name for trace in chart.figure.data}


def test_a_method_that_is_not_on_the_board_is_described(fill: Fill, view: Callable[[], View]) -> None:
    fill({"pgd-at": 0.75})
    blocks = method.blocks(view(), "ard")
    assert "ard has no row on this board." in said(blocks) and of_kind(blocks, Formula)


def test_a_row_whose_trials_all_failed_has_a_page(fill: Fill, view: Callable[[], View]) -> None:
    for folder in fill({"pgd-at": 0.75}):
        fail(folder)
    words = said(method.blocks(view(), "pgd-at"))
    assert "pgd-at: 0.0 % robust" in words and "not measured" in words


def test_rows_of_one_method_have_pages_of_their_own(fill: Fill, view: Callable[[], View]) -> None:
    fill({"trades": 0.8})
    for folder in fill({"ard": 0.7}):
        content = json.loads((folder / "record.json").read_text())
        content["trial"] |= {"method": "trades", "version": "zhang2019", "hyperparameters": {"beta": 3.0}}
        (folder / "record.json").write_text(json.dumps(content))
    board = view()
    assert board.labels == ["trades", "trades (beta=3.0)"]
    for label in board.labels:
        assert said(method.blocks(board, label)).startswith(f"{label}: ")


def test_records_of_an_unknown_method_have_a_page(fill: Fill, view: Callable[[], View]) -> None:
    (folder,) = fill({"pgd-at": 0.75}, seeds=1)
    record = folder / "record.json"
    record.write_text(record.read_text().replace('"pgd-at"', '"gone"'))
    blocks = method.blocks(view(), "gone")
    assert "gone: 75" in said(blocks).replace("74.", "75.") and not of_kind(blocks, Formula)


def test_the_command_names_what_is_not_default(shipped: View) -> None:
    row = shipped.board.rows[shipped.labels.index("trades")]
    assert method.command(row) == "temper run digits-linf --method trades --seeds 5"
    trial = row[0].record.trial.model_copy(update={"ruleset": "epochs", "hyperparameters": {"beta": 3.0}})
    changed = [type(row[0])(row[0].record.model_copy(update={"trial": trial}), row[0].folder, row[0].outcomes)]
    assert method.command(changed) == "temper run digits-linf --method trades --seeds 1 --ruleset epochs --set beta=3.0"
    assert method.command(row[2:]) == "temper run digits-linf --method trades --seeds 5", "seeds are counted from 0"


# --- scenario, history, submit, about ---------------------------------------------------------------


@pytest.mark.parametrize("name", shipped_scenarios())
def test_every_scenario_has_a_page_and_fetches_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.data.split_hashes", lambda spec: pytest.fail("would download"))
    blocks = scenario.blocks(load_scenario(name))
    assert said(blocks) and of_kind(blocks, Table)


def test_radii_are_written_as_the_field_does() -> None:
    facts = dict(scenario.facts(load_scenario("cifar10-linf")))
    assert facts["threat"] == "Linf, eps = 8/255"
    assert dict(scenario.facts(load_scenario("digits-linf")))["threat"] == "Linf, eps = 0.15"


def test_without_releases_history_says_so(shipped: View) -> None:
    assert "No release yet" in said(history.blocks(shipped, {}))


def frozen(root: Path, day: str, text: str) -> None:
    table = root / "releases" / day / "tables" / "digits-linf.csv"
    table.parent.mkdir(parents=True)
    table.write_text(text)


def test_a_release_of_today_changes_nothing(shipped: View, tmp_path: Path) -> None:
    frozen(tmp_path, "2026-01-01", to_csv(shipped.ranked))
    releases, problems = history.read_releases("digits-linf", [tmp_path])
    assert not problems and list(releases["2026-01-01"]["label"]) == shipped.labels
    assert "Since 2026-01-01: nothing changed." in said(history.blocks(shipped, releases))


def test_history_names_what_moved_and_what_came_in(shipped: View, tmp_path: Path) -> None:
    old = shipped.ranked[shipped.ranked["method"].isin(["trades", "kd"])].copy()
    old.loc[old["method"] == "kd", "robust"] -= 0.02
    frozen(tmp_path, "2026-01-01", to_csv(old))
    blocks = history.blocks(shipped, history.read_releases("digits-linf", [tmp_path])[0])
    words = said(blocks)
    assert "Since 2026-01-01:" in words and "kd changed by +2.0 points" in words and "added" in words
    assert "trades moved" not in words
    assert of_kind(blocks, Chart)


def test_a_damaged_release_is_named(tmp_path: Path) -> None:
    frozen(tmp_path, "2026-01-02", "nothing")
    releases, problems = history.read_releases("digits-linf", [tmp_path])
    assert not releases and "2026-01-02" in problems[0]


def test_what_was_taken_back_says_why(fill: Fill, view: Callable[[], View]) -> None:
    fill({"pgd-at": 0.75, "trades": 0.8})
    fill({"kd": 0.1}, seeds=1, retracted="Trained on a damaged copy.")
    tables = of_kind(history.blocks(view(), {}), Table)
    assert any("Trained on a damaged copy." in set(map(str, table.frame.to_numpy().ravel())) for table in tables)


def test_pages_that_need_no_board() -> None:
    assert of_kind(submit.blocks(), Code) and of_kind(about.blocks(), Code)
