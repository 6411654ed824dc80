"""Ways around the rules of the source, a line each: every one is refused. What honest files write is not."""

from __future__ import annotations

import pytest

from bench.submission.source import read_submission
from tests.submission.files import PLAIN

EVASIONS = [
    # modules behind names that may be imported
    ("import torch\ntorch.os.getpid()", "uses torch.os"),
    ("import torch\ntorch.builtins.exec('1')", "uses torch.builtins"),
    ("import torch\ntorch.sys.modules", "uses torch.sys"),
    ("import torch\ntorch.functional.torch.os", "uses torch.functional"),
    ("import torch as t\nt.nn.functional.importlib", "uses torch.nn.functional.importlib"),
    ("import torch\ntorch.utils.data.DataLoader", "uses torch.utils"),
    ("import torch\ntorch.backends.cudnn.os", "uses torch.backends"),
    ("import numpy as np\nnp.lib.npyio", "uses numpy.lib"),
    ("import numpy\nnumpy.ctypeslib", "uses numpy.ctypeslib"),
    ("import bench\nbench.losses.torch.os", "uses bench.losses.torch.os"),
    ("from dataclasses import sys", "imports dataclasses.sys"),
    ("from enum import bltns", "imports enum.bltns"),
    ("from functools import GenericAlias", "imports functools.GenericAlias"),
    ("import typing as t\nt.sys", "uses typing.sys"),
    ("from torch import os", "imports torch.os"),
    ("from torch import *", "imports torch.*"),
    ("import torch.os", "imports torch.os"),
    ("from methods import import_module", "imports methods.import_module"),
    ("from bench.networks import load_weights", "imports bench.networks.load_weights"),
    ("from bench.method import METHODS", "imports bench.method.METHODS"),
    ("from pydantic import ImportString", "imports pydantic.ImportString"),
    ("from typing import get_type_hints", "imports typing.get_type_hints"),
    ("from functools import wraps", "imports functools.wraps"),
    ("import torch\ntorch.PyTorchFileReader('x')", "uses torch.PyTorchFileReader"),
    ("import torch\ntorch.UntypedStorage.from_file('x')", "uses torch.UntypedStorage"),
    ("import torch\ntorch.get_device_module()", "uses torch.get_device_module"),
    # modules under other names
    ("import torch\nt = torch\nt.os", "uses the module torch as a value"),
    ("import torch\nprint((t := torch).os)", "uses the module torch as a value"),
    ("import torch\nfor each in [torch.nn]:\n    each.os", "uses the module torch.nn as a value"),
    ("import torch\nf = lambda t=torch: t.os", "uses the module torch as a value"),
    ("import math as m\nimport torch as m", "gives m another meaning"),
    ("class A:\n    import torch", "imports belong at the top"),
    # attributes by other means
    ("import torch\ngetattr(torch, 'os')", "uses torch.os"),
    ("import torch\nhasattr(torch, 'os')", "uses torch.os"),
    ("import torch\ngetattr(torch, 'o' + 's')", "uses getattr"),
    ("from functools import reduce\nreduce(getattr, ['a'], 1)", "uses getattr"),
    ("from operator import attrgetter", "imports operator.attrgetter"),
    ("import operator\noperator.methodcaller('x')", "uses operator.methodcaller"),
    ("'{0.__class__}'.format(1)", "reaches for format"),
    ("match Plain:\n    case object(__class__=x):\n        pass", "matches by class"),
    ("(x for x in ()).gi_frame.f_globals", "reaches for gi_frame"),
    ("vars(Plain)", "uses vars"),
    ("type('X', (), {})", "uses type"),
    ("__builtins__['exec']('1')", "uses __builtins__"),
    ("@exec\n@input\nclass A:\n    pass", "uses exec"),
    ("e = exec", "uses exec"),
    ("class A:\n    x: \"torch.os.system('true')\" = 1", "computes the type of a field"),
    ("class A:\n    x: list['f(1)'] = 1", "computes the type of a field"),
    ("A = 'op' + 'en(1)'\nclass B:\n    x: A = 1", "computes the type of a field"),
    ("def f(self):\n    self.parse_raw(b'', allow_pickle=True)", "reaches for parse_raw"),
    # what is not the method's own
    ("def f(nets):\n    for layer in nets.student.module:\n        layer(1)", "uses nets.student.module"),
    ("def f(nets):\n    m = nets.student.module", "uses nets.student.module"),
    ("def f(nets):\n    return nets.student.module", "uses nets.student.module"),
    ("def f(nets):\n    list(nets.teacher.module.children())", "uses nets.teacher.module"),
    ("def f(nets):\n    getattr(nets.student, 'module')[0]", "uses nets.student.module"),
    ("def f(nets):\n    nets.student.module.state_dict()['x'].copy_(1)", "uses nets.student.module"),
    ("def f(nets):\n    Attack(nets.student.module)", "uses nets.student.module"),
    ("def f(self, nets):\n    self.deliver(nets)[0]", "uses self.deliver"),
    ("def f(nets):\n    nets.add('student', 1)\n    nets.student.module[0]", "uses nets.student.module"),
    ("def f(nets):\n    nets.student.module._forward_hooks.clear()", "reaches for _forward_hooks"),
    ("def f(layer):\n    layer._forward_hooks.clear()", "reaches for _forward_hooks"),
    ("def f(nets):\n    nets.harness.on_double('student', -10)", "reaches for on_double"),
    ("def f(loss):\n    loss.grad_fn.next_functions", "reaches for grad_fn"),
    ("import torch\nbatch = torch.optim.SGD\nbatch.step = None", "gives batch another meaning"),
    ("from bench.method import register as r\ndef r(*texts):\n    pass", "gives r another meaning"),
    ("def f(self):\n    self.info.deviations", "reaches for info"),
]
HONEST = [
    "import torch\nx = torch.special.entr(torch.zeros(2)).sum()",
    "import torch.nn.functional as F\nx = F.pad",
    "from collections.abc import Mapping, Sequence",
    "from functools import partial\nfrom itertools import pairwise",
    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from torch import nn",
    "import numpy as np\nx = np.linalg.norm(np.arange(4.0)) + np.pi",
    "from pydantic import Field\nfrom typing import Annotated, Literal\nclass A:\n"
    "    x: Annotated[float, Field(ge=0, title='A b')] = 1\n    y: Literal['a-b', 'sum'] | None = 'sum'\n"
    "    z: tuple[int, ...] = (1,)",
    "def f(self, batch):\n    batch._kept = self._x = getattr(batch, 'kept', None)",
    "import torch\nwith torch.no_grad(), torch.enable_grad():\n    pass",
    "def f(nets):\n    nets.add('critic', 1)\n    for each in nets.critic.module.parameters():\n"
    "        each.clamp_(-1, 1)",
    "from bench.networks import copied\ndef f(nets):\n    nets.add('tutor', copied(nets.teacher.module))",
    "class A(Plain):\n    def deliver(self, nets):\n        if nets:\n            return super().deliver(nets)\n"
    "        return nets.average.module if nets else nets.student.module",
    "from torch import nn\nclass D(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    "        self.layer = nn.Linear(2, 2)\n\n    def forward(self, x):\n        return self.layer(x)",
    "import torch\nclass Sign(torch.autograd.Function):\n    @staticmethod\n"
    "    def forward(ctx, x):\n        return x.sign()",
    "raise ValueError(f'{1:.2f}')",
]


def problems(text: str) -> str:
    return "\n".join(read_submission(f"{PLAIN}\n\n{text}\n".encode()).problems)


@pytest.mark.parametrize(("text", "words"), EVASIONS)
def test_an_evasion_is_refused(text: str, words: str) -> None:
    assert words in problems(text)


@pytest.mark.parametrize("text", HONEST)
def test_what_honest_files_write_is_not(text: str) -> None:
    assert problems(text) == ""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"# coding: raw_unicode_escape\n# \\u000aimport os\n", "line 1: declares an encoding"),
        (b"\n# -*- coding: utf-7 -*-\n", "line 2: declares an encoding"),
        (b"\xef\xbb\xbfx = 1\n", "line 1: contains the character U+FEFF"),
        (b"x = 1\n\ny = '\xe2\x80\xae'\n", "line 3: contains the character U+202E"),
        (b"x = 1\n# caf\xc3\xa9\n", "line 2: contains the character U+00E9"),
        (b"x = 1\n# \xff\n", "line 2: contains the character U+00FF"),
        (b"x = 1 # \rimport os\n", "line 1: contains the character U+000D"),
        (b"if 1:\n\tx = 1\n", "line 2: contains the character U+0009"),
        (b"x = 1\n\x0cy = 1\n", "line 2: contains the character U+000C"),
        (b"x = 1\x00\n", "line 1: contains the character U+0000"),
        (b"x = '\x1b[2J'\n", "line 1: contains the character U+001B"),
    ],
)
def test_characters_that_two_readers_take_differently_are_refused(content: bytes, words: str) -> None:
    assert any(words in each for each in read_submission(content).problems)
    assert "\x1b" not in "".join(read_submission(content).problems)


def test_both_ends_of_line_are_read() -> None:
    assert read_submission(PLAIN.replace("\n", "\r\n").encode()).problems == []


def test_what_nests_without_end_is_refused() -> None:
    for deep in ("x" + ".x" * 9_000, "+".join(["x"] * 9_000), "-" * 9_000 + "x"):
        assert problems(f"x = {deep}")
