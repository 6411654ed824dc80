from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from bench.dashboard import data
from bench.dashboard.text import listed

APP = Path(__file__).parents[2] / "app.py"
Fill = Callable[..., list[Path]]


def opened(**address: str) -> AppTest:
    app = AppTest.from_file(str(APP), default_timeout=60)
    for key, value in address.items():
        app.query_params[key] = value
    return app.run()


def words(app: AppTest) -> str:
    """All text of the page that is no widget."""
    return "\n".join(
        str(element.value) for kind in ("warning", "info", "error", "caption") for element in app.get(kind)
    )


def findings(app: AppTest) -> str:
    return "".join(element.proto.body for element in app.get("html"))


def test_app_is_navigation_only() -> None:
    assert len(APP.read_text().splitlines()) < 40


def test_no_records_says_which_command_makes_some(leaderboards: Path) -> None:
    app = opened()
    assert not app.exception and not app.error
    assert "No records yet for digits-linf" in words(app)
    assert app.code[0].value == "temper run digits-linf --ruleset compute --budget s"
    assert not app.dataframe


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
    table = app.dataframe[0].value
    order = list(table["Method"][:6])
    assert [order[0], set(order[1:4]), *order[4:]] == ["trades", {"pgd-at", "ard", "rslad"}, "gkd-logit", "kd"]
    assert list(table["Rank"][:6]) == [1, 2, 3, 4, 5, 6]
    assert f"trades is first; {listed(order[1:4])} are tied behind it; 2 more follow." in findings(app)
    assert "minimum detectable difference" in words(app)
    assert len(app.get("plotly_chart")) == 1
    assert [button.label for button in app.get("download_button")] == ["CSV", "Markdown"]


def test_one_row(fill: Fill) -> None:
    fill({"pgd-at": 0.75})
    app = opened()
    assert not app.exception and not app.error
    assert "pgd-at is the only ranked method." in findings(app)


def test_one_seed_is_provisional(fill: Fill) -> None:
    fill({"pgd-at": 0.75}, seeds=1)
    app = opened()
    assert not app.exception and not app.error
    assert "No method is ranked yet" in findings(app)
    assert app.dataframe[0].value["Notes"][0].startswith("provisional")


@pytest.mark.parametrize("name", ["record.json", "outcomes.parquet"])
def test_a_damaged_file_is_named_and_the_rest_is_shown(fill: Fill, name: str) -> None:
    folders = fill({"pgd-at": 0.75, "trades": 0.8})
    (folders[-1] / name).write_text("{")
    app = opened()
    assert not app.exception and not app.error
    assert str(folders[-1] / name) in app.warning[0].value
    assert {"pgd-at", "trades"} <= set(app.dataframe[0].value["Method"])


def test_outcomes_of_another_length_are_named_and_the_rest_is_shown(fill: Fill) -> None:
    folders = fill({"pgd-at": 0.75})
    import pandas as pd

    outcomes = folders[0] / "outcomes.parquet"
    pd.read_parquet(outcomes).iloc[:7].to_parquet(outcomes)
    app = opened()
    assert not app.exception and not app.error
    assert "outcomes.parquet" in app.warning[0].value


def test_text_of_a_record_is_no_html(fill: Fill) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    (folder,) = fill({"pgd-at": 0.75}, seeds=1, family=hostile)
    text = (folder / "record.json").read_text().replace('"pgd-at"', f'"{hostile}"')
    (folder / "record.json").write_text(text)
    app = opened()
    assert not app.exception and not app.error
    assert "<img" not in findings(app) and "&lt;img" in findings(app)
    assert "<img" not in app.get("plotly_chart")[0].proto.spec


def test_the_address_restores_the_choice(leaderboards: Path) -> None:
    app = opened(scenario="digits-linf", ruleset="epochs", budget="m")
    assert app.code[0].value == "temper run digits-linf --ruleset epochs --budget m"


def test_a_choice_goes_into_the_address(leaderboards: Path) -> None:
    app = opened()
    app.get("button_group")[1].set_value("m").run()
    assert app.query_params["budget"] == "m"
    assert app.code[0].value == "temper run digits-linf --ruleset compute --budget m"


def test_an_unknown_name_in_the_address_is_said(leaderboards: Path) -> None:
    app = opened(scenario="<b>digits", budget="xl")
    assert not app.exception
    assert "There is no scenario ` <b>digits `" in app.warning[0].value
    assert "There is no budget ` xl `" in app.warning[1].value


def test_a_new_record_makes_a_new_fingerprint(fill: Fill) -> None:
    before = data.fingerprint("digits-linf")
    assert data.fingerprint("digits-linf") == before
    (folder,) = fill({"pgd-at": 0.75}, seeds=1)
    after = data.fingerprint("digits-linf")
    (folder / "outcomes.parquet").unlink()
    assert len({before, after, data.fingerprint("digits-linf")}) == 3


def test_a_record_that_arrives_is_shown_at_the_next_run(fill: Fill) -> None:
    fill({"pgd-at": 0.75}, seeds=1)
    app = opened()
    fill({"trades": 0.8}, seeds=1)
    assert "trades" in set(app.run().dataframe[0].value["Method"])


def test_scenarios_with_records_come_first(leaderboards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "shipped_scenarios", lambda: ["a", "b", "c"])
    record = leaderboards / "records" / "b" / "kd" / "0" / "record.json"
    record.parent.mkdir(parents=True)
    record.touch()
    assert data.scenarios() == ["b", "a", "c"]
