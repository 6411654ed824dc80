"""The pages as Streamlit runs them: every page in every state, without a traceback."""

import json
import re
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from bench.dashboard import data
from bench.dashboard.navigation import PLACES
from bench.method import METHODS
from bench.scenario import Scenario
from tests.dashboard.conftest import fail, write_records

APP = Path(__file__).parents[2] / "app.py"
Fill = Callable[..., list[Path]]
ALONE = [name for name in PLACES if name != "leaderboard"]  # pages that can be drawn without the others


def opened(page: str = "leaderboard", **address: str | Sequence[str]) -> AppTest:
    """A page by its address; the leaderboard as the whole app, which its links need."""
    if page == "leaderboard":
        app = AppTest.from_file(str(APP), default_timeout=60)
    else:
        app = AppTest.from_string(f"from bench.dashboard.pages.{page} import page\npage()", default_timeout=60)
    for key, value in address.items():
        app.query_params[key] = list(value) if not isinstance(value, str) else value
    return app.run()


def words(app: AppTest) -> str:
    """All text of the page that is no widget."""
    kinds = ("warning", "info", "error", "caption", "markdown", "subheader", "success")
    shown = [str(element.value) for kind in kinds for element in app.get(kind)]
    return "\n".join([*shown, *(element.proto.body for element in app.get("html"))])


def board(app: AppTest) -> str:
    """The markup of the leaderboard's table."""
    (element,) = app.get("bidi_component")
    return json.loads(element.proto.json)["markup"]


def test_app_is_navigation_only() -> None:
    assert len(APP.read_text().splitlines()) < 40


# --- states -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PLACES)
def test_without_records_every_page_stands(leaderboards: Path, page: str) -> None:
    app = opened(page)
    assert not app.exception and not app.error
    assert words(app)


@pytest.mark.parametrize("page", PLACES)
def test_with_one_row_every_page_stands(fill: Fill, page: str) -> None:
    fill({"pgd-at": 0.75})
    app = opened(page)
    assert not app.exception and not app.error


@pytest.mark.parametrize("page", PLACES)
def test_with_one_seed_every_page_stands(fill: Fill, page: str) -> None:
    fill({"pgd-at": 0.75, "trades": 0.8}, seeds=1)
    app = opened(page)
    assert not app.exception and not app.error
    assert not re.search(r"\bnan\b", words(app), re.IGNORECASE)


@pytest.mark.parametrize("page", ["leaderboard", "fronts", "compare", "method", "history", "try_it"])
@pytest.mark.parametrize("name", ["record.json", "outcomes.parquet"])
def test_a_damaged_file_is_named_and_the_rest_is_shown(fill: Fill, page: str, name: str) -> None:
    folders = fill({"pgd-at": 0.75, "trades": 0.8}, seeds=2)
    (folders[-1] / name).write_text("{")
    app = opened(page)
    assert not app.exception and not app.error
    assert str(folders[-1] / name) in app.warning[0].value


@pytest.mark.parametrize("page", PLACES)
@pytest.mark.parametrize("failed", [1, 5])
def test_with_failed_trials_every_page_stands(fill: Fill, page: str, failed: int) -> None:
    fill({"trades": 0.8})
    for folder in fill({"pgd-at": 0.75})[:failed]:
        fail(folder)
    app = opened(page)
    assert not app.exception and not app.error


@pytest.mark.parametrize("page", PLACES)
def test_where_all_is_withdrawn_every_page_stands(fill: Fill, page: str) -> None:
    fill({"pgd-at": 0.75}, retracted="Trained on a damaged copy.")
    app = opened(page)
    assert not app.exception and not app.error
    assert page != "history" or "Trained on a damaged copy." in words(app)


@pytest.mark.parametrize("page", ALONE)
def test_what_cannot_be_computed_is_said(fill: Fill, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill({"pgd-at": 0.75})

    def fails(board: object) -> None:
        raise ValueError("no such luck")

    monkeypatch.setattr("bench.dashboard.view.ranking", fails)
    app = opened(page)
    assert not app.exception
    if page not in ("scenario", "submit", "about"):
        assert "no such luck" in app.error[0].value


@pytest.mark.slow
def test_two_thousand_records_are_filtered_in_half_a_second(leaderboards: Path, digits: Scenario) -> None:
    """Ten boards of 40 methods and 5 seeds. Measured where the page is made, without the browser."""
    names = [name for name in METHODS if METHODS[name].info.track == "main"][:40]
    chances = {name: 0.3 + 0.01 * k for k, name in enumerate(names)}
    settings = list(product(("compute", "epochs"), ("s", "m", "l"), ("plain", "strong")))[:10]
    for ruleset, budget, recipe in settings:
        write_records(leaderboards, digits, chances, setting={"ruleset": ruleset, "budget": budget, "recipe": recipe})
    assert len(list(leaderboards.glob("records/*/*/*/record.json"))) == 2000
    app = opened()
    assert not app.exception and board(app).count("data-row") == 41
    seconds = []
    for choice in ("teacher-free", "gan-kd", "adversarial-kd"):
        started = time.perf_counter()
        app.multiselect(key="family").set_value([choice]).run()
        seconds.append(time.perf_counter() - started)
    assert not app.exception and 1 < board(app).count("data-row") < 41
    assert min(seconds) < 0.5, seconds


# --- the leaderboard --------------------------------------------------------------------------------


def test_no_records_says_which_command_makes_some(leaderboards: Path) -> None:
    app = opened()
    assert "No records yet for digits-linf" in words(app)
    assert app.code[0].value == "temper run digits-linf --ruleset compute --budget s"


def test_a_scenario_without_records_is_not_asked_for_its_data(
    leaderboards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.data.split_hashes", lambda spec: pytest.fail("would download"))
    app = opened(scenario="cifar10-linf")
    assert not app.exception and not app.error
    assert app.code[0].value.startswith("temper run cifar10-linf")


def test_a_full_board(fill: Fill) -> None:
    fill()
    app = opened()
    assert not app.exception and not app.error and not app.warning
    assert "trades is first; " in words(app)
    assert all(f'data-row="{name}"' in board(app) for name in ("trades", "pgd-at", "ard", "kd"))
    assert [button.label for button in app.get("download_button")] == ["CSV", "LaTeX", "Markdown"]


def test_one_seed_is_provisional(fill: Fill) -> None:
    fill({"pgd-at": 0.75}, seeds=1)
    app = opened()
    assert "No method is ranked yet" in words(app) and "provisional" in board(app)


def test_the_address_filters_sorts_and_picks(fill: Fill) -> None:
    fill()
    app = opened(family=["teacher-free"], sort="clean", pick=["trades", "pgd-at"])
    assert app.multiselect(key="family").value == ["teacher-free"]
    assert 'data-row="kd"' not in board(app) and 'data-row="trades"' in board(app)
    assert app.selectbox(key="sort").value == "clean"
    assert "Compare these 2" in [link.proto.label for link in app.get("page_link")]


def test_a_choice_goes_into_the_address(fill: Fill) -> None:
    fill()
    app = opened()
    app.multiselect(key="family").select("teacher-free").run()
    assert app.query_params["family"] in ("teacher-free", ["teacher-free"])


def test_an_unknown_name_in_the_address_is_said(leaderboards: Path) -> None:
    app = opened(scenario="<b>digits", budget="xl")
    assert not app.exception
    shown = "\n".join(warning.value for warning in app.warning)
    assert "names ` <b>digits ` as scenario" in shown and "names ` xl ` as budget" in shown


@pytest.mark.parametrize(
    ("page", "address"),
    [
        ("compare", {"pick": ["nobody", "trades"], "seed": "77"}),
        ("method", {"name": "<script>"}),
        ("try_it", {"number": "-5", "times": "99", "ink": "zz"}),
        ("try_it", {"number": "x", "image": "a test image"}),
        ("fronts", {"pick": ["<b>"], "everything": "maybe"}),
    ],
)
def test_any_address_is_answered(fill: Fill, page: str, address: dict[str, str]) -> None:
    fill()
    app = opened(page, **address)
    assert not app.exception


# --- data -------------------------------------------------------------------------------------------


def test_a_new_record_makes_a_new_fingerprint(fill: Fill) -> None:
    before = data.fingerprint("digits-linf")
    assert data.fingerprint("digits-linf") == before
    (folder,) = fill({"pgd-at": 0.75}, seeds=1)
    after = data.fingerprint("digits-linf")
    (folder / "outcomes.parquet").unlink()
    assert len({before, after, data.fingerprint("digits-linf")}) == 3


def test_a_record_that_arrives_is_shown_a_second_later(fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    fill({"pgd-at": 0.75}, seeds=1)
    app = opened()
    fill({"trades": 0.8}, seeds=1)
    data._state_now.clear()  # a second passes
    assert 'data-row="trades"' in board(app.run())


def test_scenarios_with_records_come_first(leaderboards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "shipped_scenarios", lambda: ["a", "b", "c"])
    record = leaderboards / "records" / "b" / "kd" / "0" / "record.json"
    record.parent.mkdir(parents=True)
    record.touch()
    assert data.scenarios() == ["b", "a", "c"]
