"""A window of a confined training, run again from the state before it: one that says what it did comes to the same
bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench.errors import Refused
from bench.submission.desk import Desk, Offer, line_of, valid
from bench.submission.sandbox import Limits, Sandbox
from bench.submission.trail import Window


class Arrived(Exception):
    """The training has come to the end of the window."""


@dataclass
class Replay:
    """A desk that knows the answers: it runs a window of a training again, in a fresh sandbox, and compares the states
    and the weights that come out bit for bit."""

    desk: Desk
    window: Window
    arrived: bool = False
    offered: str = ""  # SHA-256 of the weights
    sandbox: Sandbox | None = None

    @property
    def limits(self) -> Limits:
        """As much as the whole training."""
        return self.desk.allowance()

    @property
    def checkpoint(self) -> Path:
        """The state from which it goes on."""
        return self.desk.trail.file(self.window.start)

    def most(self, kind: str) -> int:
        """As for the training."""
        return self.desk.most(kind)

    def take(self, kind: str, event: Mapping[str, Any], content: bytes) -> bytes | None:
        """The verdict of the training on a candidate. Raises Arrived at the end of the window."""
        if kind == "offer":
            self.offered = sha256(content).hexdigest()
            step = valid(Offer, event, "what it offers for validation is not a candidate").step
            known = next((each for each in self.desk.selection.curve if each.step == step), None)
            if known is None:
                raise Refused(f"it offers a candidate at step {step} that it did not offer before")
            return line_of(known)
        if kind == "point":
            state = sha256(content).hexdigest()
            self.arrived = (event["point"], state) == (self.window.end, self.window.state)
            self.arrived &= self.offered == self.window.weights
            raise Arrived
        return None

    def save(self) -> None:
        """Nothing of it stays."""
