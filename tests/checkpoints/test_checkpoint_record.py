"""Names and sources that a row may have, and where it lies."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from bench.checkpoints import check_new_row, checkpoint_folders, read_checkpoint, slug
from bench.errors import TemperError
from tests.checkpoints.made import put, record
from tests.ranking.made import outcomes, scenario

BAD_NAMES = ["", "x" * 61, "a\nb", "a\tb", "\u202ea", " a", "a ", "=1+1", "+a", "-a", "@a"]
BAD_SOURCES = ["ftp://a.org/x", "javascript:alert(1)", "a.org", "https://", "https://a.org/x y", "https://a.org/\x00"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_a_table_cannot_show_is_refused(name, tmp_path):
    with pytest.raises(ValidationError):
        record(scenario(), name, outcomes(0.5, 0))
    with pytest.raises(TemperError) as refused:
        check_new_row(tmp_path, "digits-linf", name, "", "a" * 64)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("source", BAD_SOURCES)
def test_a_source_that_is_no_address_of_the_web_is_refused(source):
    with pytest.raises(ValidationError):
        record(scenario(), "mine", outcomes(0.5, 0), source=source)


def test_names_that_lose_letters_in_a_folder_are_told_apart():
    assert slug("RSLAD (mine), v2") == "rslad-mine-v2"
    assert slug("模型") != slug("数据")
    assert slug("???") != slug("!!!") and slug("???")


def test_the_same_weights_again_take_the_place_of_the_old_ones_and_others_do_not(tmp_path):
    on = scenario()
    folder = put(tmp_path, on, "mine", outcomes(0.5, 0))
    assert put(tmp_path, on, "mine", outcomes(0.4, 1)) == folder
    assert read_checkpoint(folder).evaluation.robust == 0.4
    assert list(checkpoint_folders(tmp_path, on.name)) == [folder] and len(list(folder.iterdir())) == 2
    with pytest.raises(TemperError, match=r"other weights .* take another name, or remove"):
        put(tmp_path, on, "mine", outcomes(0.6, 0), weights="b")
    with pytest.raises(TemperError, match="too much like 'Mine': take another name"):
        put(tmp_path, on, "Mine", outcomes(0.6, 0))
    assert read_checkpoint(folder).evaluation.robust == 0.4
