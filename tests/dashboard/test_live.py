"""Stored students at work."""

from pathlib import Path

import pytest
import torch

from bench.dashboard import live
from bench.dashboard.pages import try_it
from bench.dashboard.view import View
from bench.ranking.collect import Entry
from bench.ranking.rows import read_board
from bench.records import shipped_leaderboards
from bench.scenario import load_scenario
from bench.threat import Linf


@pytest.fixture(scope="module")
def entry() -> Entry:
    """The first seed of a row of the main ranking."""
    board = read_board(load_scenario("digits-linf"), shipped_leaderboards())
    return next(row[0] for row in board.rows if row[0].record.trial.method == "trades")


@pytest.fixture(scope="module")
def folder(entry: Entry) -> Path:
    return entry.folder


def test_an_attack_stays_in_the_ball_and_repeats(folder: Path) -> None:
    x, _ = live.images("digits-linf")
    module, threat = live.student(folder), Linf(0.15)
    one, other = (live.strike(module, x[0], threat) for _ in range(2))
    assert torch.equal(one.image, other.image)
    assert (one.image - x[0]).abs().max() <= 0.15 + 1e-6 and one.image.min() >= 0 and one.image.max() <= 1
    assert torch.equal(one.clean, module(x[:1])[0].detach())


def test_the_attack_breaks_what_autoattack_breaks(entry: Entry, folder: Path) -> None:
    """Nearly: of the test images that AutoAttack broke, PGD on the margin breaks at least nine of ten."""
    broken = torch.from_numpy(~entry.robust & entry.correct).nonzero().squeeze(1)[:20]
    x, _ = live.images("digits-linf")
    struck = [live.strike(live.student(folder), x[k], Linf(0.15)) for k in broken]
    assert len(struck) == 20 and sum(not each.held for each in struck) >= 18


def test_at_a_radius_of_0_nothing_changes(folder: Path) -> None:
    x, _ = live.images("digits-linf")
    struck = live.strike(live.student(folder), x[0], Linf(0.0))
    assert torch.equal(struck.image, x[0]) and struck.held
    assert "At eps = 0 the image is unchanged." in try_it.strike_finding("trades", struck, 0)


def test_adversarial_images_fool_the_student(entry: Entry, folder: Path) -> None:
    index = tuple((~entry.robust & entry.correct).nonzero()[0][:3].tolist())
    found = live.adversarial(folder, "digits-linf", index)
    _, y = live.images("digits-linf")
    assert (live.student(folder)(found).argmax(1) != y[list(index)]).all()


def test_images_are_enlarged_and_grey_stays_grey() -> None:
    assert live.pixels(torch.zeros(1, 8, 8)).shape == (160, 160)
    assert live.pixels(torch.ones(3, 32, 32)).shape == (160, 160, 3)
    assert live.difference(torch.zeros(1, 2, 2), torch.full((1, 2, 2), 0.1), 0.1).max() == 255


def test_ink_is_one_digit_a_pixel_and_anything_is_read() -> None:
    image = try_it.from_ink("0f8", (1, 2, 2))
    assert image.shape == (1, 2, 2) and image.flatten().tolist() == pytest.approx([0, 1, 8 / 15, 0])
    assert not try_it.from_ink("<script>", (1, 2, 2)).isnan().any()
    assert try_it.from_ink("f" * 99, (1, 2, 2)).min() == 1


def test_the_page_says_who_holds() -> None:
    view = View.of(read_board(load_scenario("digits-linf"), shipped_leaderboards()))
    x, y = live.images("digits-linf")
    blocks = try_it.blocks(view, x[0], int(y[0]), "trades", 0.15)
    assert blocks[0].text.startswith(f"trades predicts {int(y[0])}")
    assert "keep their prediction" in blocks[4].text
    assert len(blocks[5].frame) == len(view.labels)
