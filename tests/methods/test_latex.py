"""The formulas of the registrations: every renderer that shows them can, and they fit on a phone."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from latex2mathml.converter import convert

from bench.method import METHODS, MethodInfo

SHIPPED = [name for name in METHODS if METHODS[name].__module__.startswith("methods.")]
PLAIN = {  # what KaTeX, MathJax and latex2mathml all typeset
    *("begin", "end", "frac", "sum", "max", "min", "log", "cos", "nabla", "operatorname", "mathcal", "mathrm", "text"),
    *("alpha", "beta", "gamma", "delta", "Delta", "eta", "theta", "kappa", "lambda", "mu", "rho", "sigma", "tau"),
    *("phi", "psi", "varepsilon", "bar", "hat", "tilde", "quad", "Vert", "in", "sim", "ge", "le", "ne", "top"),
    "leftarrow",
}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_formula_is_plain_latex_of_few_short_lines(name: str) -> None:
    formula = METHODS[name].info.formula
    assert formula.count("{") == formula.count("}")
    assert set(re.findall(r"\\([A-Za-z]+)", formula)) <= PLAIN
    assert re.findall(r"\\[^A-Za-z]", formula.replace("\\\\\n", "")) == []  # Markdown would take the backslash
    assert re.findall(r"^[-+*#=>] |\n\n", formula, re.MULTILINE) == []  # nor may it see a list or a paragraph

    rendered = convert(formula, display="block")
    assert "\\" not in rendered  # latex2mathml copies what it does not know
    lines = ElementTree.fromstring(rendered).findall(".//{*}mtr") or [ElementTree.fromstring(rendered)]
    texts = ["".join(line.itertext()) for line in lines]
    assert texts[0].startswith("\u2112S")
    assert len(texts) == max(1, formula.count("&=") + formula.count("&\\")) <= 4
    assert max(map(len, texts)) <= 60


@pytest.mark.parametrize("name", SHIPPED)
def test_a_formula_has_the_teachers_and_the_attack_of_its_method(name: str) -> None:
    method = METHODS[name]
    formula = method.info.formula
    if "natural_teacher" in method.needs:
        assert re.search(r"_N|\(T, N\)", formula)
    if not method.needs:
        assert re.findall(r"[fp]_[TN]", formula) == []
    classes = [base for base in method.__mro__ if base.__module__.startswith("methods.")]
    attacks = any("attack" in base.__dict__ for base in classes)
    assert bool(re.search(r"^x'.* &=", formula, re.MULTILINE)) == attacks


def test_a_formula_may_be_indented_as_its_place_asks() -> None:
    indented = "\n        a &= b \\\\\n        c &= d\n    "
    assert MethodInfo("mine", "1", "test", "none", formula=indented).formula == "a &= b \\\\\nc &= d"
    assert MethodInfo("mine", "1", "test", "none").formula == ""
