"""What is read of a method file without running it."""

from __future__ import annotations

from pathlib import Path

import pytest

import methods
from bench.submission.source import _needless, read_source, read_submission
from tests.submission.files import PLAIN

SHIPPED = sorted(path for path in Path(methods.__path__[0]).glob("*.py") if path.stem != "__init__")


def problems(text: str) -> str:
    return "\n".join(read_submission(text.encode()).problems)


def test_an_honest_file_is_read_with_its_credits() -> None:
    source = read_submission(PLAIN.encode())
    assert source.problems == []
    assert source.info is not None
    said = source.info.name, source.info.version, source.info.authors, source.info.licence, source.info.track
    assert said == ("plain", "1", "A. Author", "MIT", "main")


def test_the_hash_is_of_the_bytes() -> None:
    assert read_source(PLAIN.encode()).sha256 != read_source(f"{PLAIN}\n".encode()).sha256


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_no_method_that_ships_is_accused(path: Path) -> None:
    assert list(_needless(path.read_bytes())) == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("import os", "imports os"),
        ("import os.path as p", "imports os.path"),
        ("from sklearn.datasets import load_digits", "imports sklearn.datasets.load_digits"),
        ("from bench.budget import Meter", "imports bench.budget.Meter"),
        ("from bench import evaluate", "imports bench.evaluate"),
        ("import bench\nx = bench.data.load", "uses bench.data"),
        ("from torch import hub", "imports torch.hub"),
        ("import torch as T\nx = T.load('weights')", "uses torch.load"),
        ("import numpy as np\nx = np.load('test.npy')", "uses numpy.load"),
        ("from . import neighbour", "imports ..neighbour"),
        ("x = open('file')", "uses open"),
        ("x = __import__('os')", "uses __import__"),
        ("x = ().__class__", "reaches for __class__"),
        ("import torch\ntorch.optim.SGD.step = None", "sets torch.optim.SGD.step"),
        ("Batch.x = 1", "sets Batch.x"),
        ("setattr(Batch, 'x', 1)", "uses setattr"),
        ("#" * 70_000, "a method has at most 32,000"),
    ],
)
def test_what_no_method_needs_is_named(line: str, words: str) -> None:
    assert words in problems(f"{PLAIN}\n\n{line}\n")


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (', authors="A. Author"', "", "@register needs authors="),
        (', licence="MIT"', ', licence=""', "@register needs licence="),
        ('"A. Author"', "{[]: 1}", "@register needs authors="),
        ('"plain"', '"rslad"', "there is a method 'rslad' already"),
        ("class Plain(Method)", "class Plain", "must derive from bench.Method"),
    ],
)
def test_metadata_are_asked_for(before: str, after: str, words: str) -> None:
    assert before in PLAIN
    assert words in problems(PLAIN.replace(before, after))


def test_one_file_is_one_method() -> None:
    second = PLAIN[PLAIN.index("@register") :].replace('"plain"', '"other"').replace("Plain", "Other")
    assert "registers 2 methods" in problems(f"{PLAIN}\n\n{second}")


def test_a_method_that_ships_may_be_submitted_by_its_own_file() -> None:
    assert "already" not in problems((Path(methods.__path__[0]) / "rslad.py").read_text())
