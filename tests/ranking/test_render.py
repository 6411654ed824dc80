"""One frame in every format: what is read in percent, what is data in fractions, and nothing that breaks its format."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from io import BytesIO, StringIO

import numpy as np
import pandas as pd
import pytest

from bench.ranking.board import ranking
from bench.ranking.latex import escaped, to_latex
from bench.ranking.render import FORMATS, render, to_markdown
from bench.ranking.rows import read_board
from bench.ranking.tables import build_all
from bench.ranking.words import Column, described, in_words, points, share
from bench.scenario import load_scenario
from tests.ranking import made

PRINTABLE = "".join(map(chr, range(32, 127)))
HOSTILE = (
    PRINTABLE + " \N{GREEK SMALL LETTER EPSILON}\N{LATIN SMALL LETTER U WITH DIAERESIS}\N{EN DASH}\x07\t--- ''' ``"
)
DOCUMENT = r"""\documentclass{article}
\usepackage{booktabs}%s
\begin{document}
%s
\end{document}
"""


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return build_all(read_board(load_scenario("digits-linf")))


def invented(**columns: list[object]) -> pd.DataFrame:
    """Three ranked rows and the teacher, of which `b` is tied with the best and `c` is not."""
    frame = pd.DataFrame(
        {
            "rank": pd.array([1, 2, 3, None], dtype="Int64"),
            "method": ["a", "b", "c", "teacher: t"],
            "version": "1",
            "hyperparameters": [{}, {}, {}, {}],
            "tuned": False,
            "tie_group": ["a", "ab", "b", None],
            "status": ["ranked", "ranked", "ranked", "unranked"],
            "robust": [0.5, 0.45, 0.4, 0.9],
            "gain": [-0.0004, 0.02, None, None],
            **columns,
        }
    )
    shown = [Column("rank", "rank", ".0f"), Column("method", "label"), share("robust", "robust", best=True)]
    shown += [points("gain", "gain", best=True)]
    return described(frame, "A title", ["a caption"], shown)


def test_readers_see_percent_and_points_without_a_negative_zero():
    words = in_words(invented())
    assert list(words["robust %"]) == ["50.0", "45.0", "40.0", "90.0"]
    assert list(words["gain"]) == ["+0.0", "+2.0", "", ""]
    assert list(words["rank"]) == ["1", "2", "3", ""]


@pytest.mark.parametrize("name", ["ranking", "attacks", "classes", "checkpoints", "cost", "published", "sources"])
def test_data_formats_agree_with_the_frame(name, tables):
    frame = tables[name]
    rows = json.loads(render(frame, "json"))
    csv = pd.read_csv(BytesIO(render(frame, "csv")))
    parquet = pd.read_parquet(BytesIO(render(frame, "parquet")))
    assert list(csv) == list(parquet) == list(frame) and rows[0].keys() == set(frame)
    for column in frame.select_dtypes("number"):
        expected = frame[column].astype(float).to_numpy()
        got = [[row[column] if row[column] is not None else np.nan for row in rows], csv[column], parquet[column]]
        for values in got:
            np.testing.assert_allclose(np.array(values, float), expected, rtol=1e-5)
    assert [json.loads(text) for text in parquet["hyperparameters"]] == list(frame["hyperparameters"])
    assert parquet.attrs == {"title": frame.attrs["title"], "caption": frame.attrs["caption"]}


def test_all_formats_give_the_same_bytes_twice(tables):
    frame = tables["ranking"]
    assert all(render(frame, form) == render(frame.copy(), form) for form in FORMATS)


def test_data_do_not_depend_on_the_last_bits(tables):
    nudged = tables["ranking"].copy()
    nudged["robust"] = np.nextafter(nudged["robust"].to_numpy(), 1)
    assert all(render(nudged, form) == render(tables["ranking"], form) for form in ("csv", "json", "parquet"))


def test_a_column_without_values_is_numbers_in_parquet():
    frame = invented(nothing=[None, None, None, None])
    assert pd.read_parquet(BytesIO(render(frame, "parquet")))["nothing"].dtype == np.float64


def test_text_stays_text_in_markdown_and_on_the_terminal():
    frame = invented(method=["a|b", "[bold]c[/]", "<b>", "d\ne"])
    lines = to_markdown(frame).splitlines()
    assert len(lines) == 8 and all(len(re.findall(r"(?<!\\)\|", line)) == 5 for line in lines[:6])
    assert r"\<b>" in lines[4] and "d e" in lines[5]
    assert "[bold]c[/]" in render(frame, "table").decode()


def test_the_best_is_bold_and_what_shares_its_letter_is_marked():
    best, tied, worse, teacher = to_latex(invented()).splitlines()[4:8]
    assert r"\textbf{50.0}" in best
    assert r"45.0\rlap" in tied and r"\textbf{+2.0}" in tied
    assert " 40.0 &" in worse
    assert " 90.0 &" in teacher, "it does not compete"


def test_no_method_is_best_on_a_board_where_none_is_ranked():
    latex = to_latex(invented(status=["provisional"] * 4))
    assert r"\textbf" not in latex and r"45.0\rlap" not in latex


def test_two_rows_of_one_name_show_their_versions():
    assert list(in_words(invented(method=["a", "a", "c", "t"]))["method"])[:2] == ["a", "a (2)"], "no two alike"
    assert list(in_words(invented(method=["a", "a", "c", "t"], version=list("1211")))["method"])[:2] == [
        "a · 1",
        "a · 2",
    ]


def test_settings_and_tuning_are_in_the_name(tmp_path):
    on = made.scenario()
    trial = made.entry(tmp_path, on, "kd", 0, made.outcomes(0.3, 0), hyperparameters={"temperature": 2.0}, tuned=True)
    assert list(in_words(ranking(made.board(on, [trial])))["method"]) == ["kd (temperature=2.0, tuned)"]


def test_escaped_text_has_no_character_that_latex_reads_otherwise():
    assert escaped("a_b & 50% {x} \\y ~ ^") == (
        r"a\_b \& 50\% \{x\} \textbackslash{}y \textasciitilde{} \textasciicircum{}"
    )
    assert escaped("\N{GREEK SMALL LETTER EPSILON}\N{LATIN SMALL LETTER U WITH DIAERESIS}") == "(U+03B5)u"
    assert escaped("--") == "-{}-" and escaped("\N{EN DASH}") == "--"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed (texlive-latex-recommended)")
@pytest.mark.parametrize("fonts", ["", r"\usepackage[T1]{fontenc}"])
def test_latex_compiles_whatever_its_text_is(fonts, tables, tmp_path):
    hostile = invented(method=[HOSTILE, "[x", "* y", "-z"], rank=pd.array([None] * 4, dtype="Int64"))
    body = "\n\n".join(to_latex(frame) for frame in [*tables.values(), hostile])
    (tmp_path / "t.tex").write_text(DOCUMENT % (fonts, body))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Missing character" not in (tmp_path / "t.log").read_text(errors="replace")


def test_a_table_for_a_file_is_160_wide(tables):
    for frame in tables.values():
        assert max(map(len, StringIO(render(frame, "table").decode()))) <= 161
