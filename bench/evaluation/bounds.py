"""Examples proved robust, the lower end of a bracket: proved <= truth <= what an attack leaves.

CROWN (Zhang et al. 2018, "Efficient Neural Network Robustness Certification with General Activation Functions") goes
back from the output of a network of affine pieces and ReLUs to a linear function of the input that lies below it. Over
an interval with both signs, a ReLU lies under its chord and above every line through 0 with a slope in [0, 1]: CROWN
takes 0 or 1, alpha-CROWN (Xu et al. 2021, "Fast and Complete") the slopes that ascent on the bound finds.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import TemperError
from bench.evaluation import judging
from bench.networks.normalise import Normalise
from bench.task import lead
from bench.threat import Threat

AFFINE = (
    nn.AdaptiveAvgPool2d,
    nn.AvgPool2d,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.Conv1d,
    nn.Conv2d,
    nn.Dropout,
    nn.Flatten,
    nn.Identity,
    nn.Linear,
    Normalise,
)  # affine in eval mode; the classes themselves, no subclass
STEPS = 5  # of ascent on the slopes for the bound of a hidden unit
LAST_STEPS = 20  # and for that of a margin
STEP_SIZE = 0.3
DUAL_STEPS = 5
ENTRIES = 2**21  # of the largest tensor on the way back


def proved_robust(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: Threat,
    *,
    left: Tensor | None = None,
    batch_size: int = 64,
    seconds: float | None = None,
    progress: Callable[[float], None] | None = None,
) -> Tensor:
    """Which examples have no adversarial example: bool (N,), True where the model is proved to give every input of
    the threat model around `x` (N, ...) its label in `y` (N,). False says nothing.

    The proof is about exact arithmetic and computed in the model's: it holds up to rounding, float32's as a rule (TF32
    is off meanwhile). CROWN bounds every margin, alpha-CROWN those that this leaves open, the largest first, until it
    proves none of a batch. Only the examples that `left` (bool (N,)) names are tried: what an attack broke cannot be
    proved, and takes the longest. No batch starts after `seconds`; with them, the answer depends on the machine.
    `progress` is called with the fraction done. The model is left as found.

    Raises TemperError for a model that is no `nn.Sequential` of ReLUs and layers that are affine in eval mode, naming
    the layer; for inputs outside the bounds, and for labels without a logit.
    """
    like = next(model.parameters(), x)
    x, y = x.to(like), y.to(like.device)
    deadline = math.inf if seconds is None else time.monotonic() + seconds
    report = progress or (lambda done: None)
    pieces = _pieces(model)
    right = _right(model, x, y, threat, batch_size)
    if left is not None:
        right = right & left.to(right.device)
    lower = torch.full(y.shape, -math.inf, dtype=x.dtype, device=x.device)
    stages = ((0, batch_size), (STEPS, max(1, batch_size // 8)))
    for stage, (steps, size) in enumerate(stages):
        open_ = (right & ~(lower > 0)).nonzero().squeeze(1)
        open_ = open_[lower[open_].argsort(descending=True, stable=True)]
        for done in range(0, len(open_), size):
            if time.monotonic() > deadline:
                return lower > 0
            index = open_[done : done + size]
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                lower[index] = _Bounds(pieces, x[index], threat, steps).margins(y[index])
            report((stage + min(1.0, (done + size) / len(open_))) / len(stages))
            if steps and not bool((lower[index] > 0).any()):
                break
    report(1.0)
    return lower > 0


def hidden_units(model: nn.Module, x: Tensor) -> int:
    """How many ReLUs an input of x (B, ...) goes through: what a proof costs grows faster than their number."""
    counts: list[int] = []
    hooks = [
        module.register_forward_hook(lambda module, inputs, output: counts.append(output[0].numel()))
        for module in model.modules()
        if isinstance(module, nn.ReLU)
    ]
    with judging(model), torch.no_grad():
        model(x[:1].to(next(model.parameters(), x)))
    for hook in hooks:
        hook.remove()
    return sum(counts)


def _right(model: nn.Module, x: Tensor, y: Tensor, threat: Threat, batch_size: int) -> Tensor:
    """Which examples are classified right, without a tie, bool (N,); after checks of what was handed in."""
    low, high = threat.bounds
    if not len(x) or x.shape[:1] != y.shape or batch_size < 1:
        raise TemperError(
            f"need inputs x (N, ...), labels y (N,) and batch_size >= 1, got {tuple(x.shape)}, {tuple(y.shape)} "
            f"and {batch_size}"
        )
    if not bool(((x >= low) & (x <= high)).all()):
        raise TemperError(f"inputs must lie in [{low:g}, {high:g}], got {x.min():.3g} to {x.max():.3g}")
    with judging(model), torch.no_grad():
        logits = torch.cat([model(part) for part in x.split(batch_size)])
    if y.min() < 0 or y.max() >= logits.shape[1]:
        raise TemperError(f"labels run from {y.min()} to {y.max()}, the model has {logits.shape[1]} classes")
    return lead(logits, y) > 0


def _pieces(model: nn.Module) -> list[nn.Sequential]:
    """Copies of the affine pieces of `model` in eval mode; between each two is a ReLU."""
    pieces: list[list[nn.Module]] = [[]]
    for name, layer in _layers(copy.deepcopy(model).eval().requires_grad_(False)):
        if type(layer) is nn.ReLU:
            pieces.append([])
        elif type(layer) in AFFINE and getattr(layer, "running_mean", 0) is not None:
            pieces[-1].append(layer)
        else:
            raise TemperError(
                f"no bounds for {type(layer).__name__}{f' (layer {name})' if name else ''}: use a sequence of ReLU, "
                f"{', '.join(known.__name__ for known in AFFINE)}"
            )
    return [nn.Sequential(*piece) for piece in pieces]


def _layers(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    if type(module) is not nn.Sequential:
        yield name, module
        return
    for child, layer in enumerate(module):  # its `named_children` passes over a layer that comes twice
        yield from _layers(layer, f"{name}.{child}".removeprefix("."))


class _Bounds:
    """Bounds of what the pieces make of the ball around each input `x` (B, ...), cut with the valid inputs.

    `units` are the shapes of what goes into each piece, and of the logits. `relaxations` holds slope and intercept of
    the chord above each ReLU, (B, *units): the slope is 1 over inputs that are never negative, 0 over those that are
    never positive, and in between elsewhere; so a line below the ReLU has a slope from its floor to its ceiling.
    """

    def __init__(self, pieces: list[nn.Sequential], x: Tensor, threat: Threat, steps: int) -> None:
        self.pieces, self.x, self.threat, self.steps = pieces, x, threat, steps
        self.units = [x.shape[1:]]
        for piece in pieces:
            self.units.append(piece(x.new_zeros(1, *self.units[-1])).shape[1:])
        self.relaxations: list[tuple[Tensor, Tensor]] = []
        for _ in pieces[1:]:
            self.relaxations.append(_chord(*self._interval()))

    def margins(self, y: Tensor) -> Tensor:
        """Lower bounds of the smallest margin of label `y` (B,) over another class, (B,)."""
        classes = torch.eye(self.units[-1].numel(), dtype=self.x.dtype, device=self.x.device)
        lower = self._lower(classes[y][:, None] - classes, LAST_STEPS if self.steps else 0)
        return lower.scatter(1, y[:, None], math.inf).amin(1)

    def _interval(self) -> tuple[Tensor, Tensor]:
        """Bounds (B, *units) of the input of the next ReLU; those that leave the sign open are sharpened."""
        units = self.units[len(self.relaxations) + 1]
        low, high = self._ends(torch.arange(units.numel(), device=self.x.device)[None], 0)
        open_ = (low < 0) & (high > 0)
        if self.steps and self.relaxations and open_.any():
            index = open_.byte().topk(int(open_.sum(1).max())).indices
            sharper = self._ends(index, self.steps)
            low, high = low.scatter(1, index, sharper[0]), high.scatter(1, index, sharper[1])
        return low.view(-1, *units), high.view(-1, *units)

    def _ends(self, index: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Bounds (B, R) of the units at `index` (B or 1, R) that go into the next ReLU."""
        units = self.units[len(self.relaxations) + 1]
        rows = max(1, ENTRIES // (len(self.x) * max(shape.numel() for shape in self.units)))
        low, high = [], []
        for part in index.split(rows, 1):
            unit = F.one_hot(part, units.numel()).to(self.x).view(*part.shape, *units)
            low.append(self._lower(unit, steps))
            high.append(-self._lower(-unit, steps))
        return torch.cat(low, 1), torch.cat(high, 1)

    def _lower(self, weights: Tensor, steps: int) -> Tensor:
        """Lower bounds (B, R) of `weights` (B or 1, R, *units) times the output of the piece after the last
        relaxation, the best of those along `steps` of ascent on the slopes of the lines below the ReLUs."""
        slopes = [slope.round()[:, None] for slope, _ in self.relaxations]
        values = []
        if steps and slopes:
            slopes = [slope.repeat_interleave(weights.shape[1], 1).requires_grad_() for slope in slopes]
            optimiser = torch.optim.Adam(slopes, STEP_SIZE)
            for _ in range(steps):
                optimiser.zero_grad()
                with torch.enable_grad():
                    value = self._back(weights, slopes)
                    value.sum().neg().backward()
                values.append(value.detach())
                optimiser.step()
                self._clamp(slopes)
        with torch.no_grad():
            values.append(self._back(weights, slopes))
        return torch.stack(values).amax(0)

    @torch.no_grad()
    def _clamp(self, slopes: list[Tensor]) -> None:
        """Pull the slopes of lines below the ReLUs back to where the lines are below."""
        for slope, (chord, _) in zip(slopes, self.relaxations, strict=True):
            slope.clamp_(chord.floor()[:, None], chord.ceil()[:, None])

    def _back(self, weights: Tensor, slopes: list[Tensor]) -> Tensor:
        """The lower bound (B, R) for given slopes, (B, R or 1, *units) for each ReLU on the way back."""
        total: Tensor | float = 0.0
        for k in range(len(slopes), -1, -1):
            weights, constant = _transposed(self.pieces[k], self.units[k], weights)
            total = total + constant
            if k:
                chord, intercept = (part[:, None] for part in self.relaxations[k - 1])
                up, down = weights.clamp_min(0), weights.clamp_max(0)
                total = total + (down * intercept).flatten(2).sum(2)
                weights = up * slopes[k - 1] + down * chord
        return total + _least(weights.flatten(2), self.x.flatten(1), self.threat)


def _chord(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and intercept of the line above a ReLU whose input is in [low, high]."""
    low, high = low.clamp_max(0), high.clamp_min(0)
    slope = high / (high - low).clamp_min(torch.finfo(low.dtype).tiny)
    return slope, -slope * low


def _transposed(piece: nn.Module, units: torch.Size, weights: Tensor) -> tuple[Tensor, Tensor]:
    """A (B, R, *units) and b (B, R) with A z + b = `weights` times what the piece makes of z (*units)."""
    offset, pull = torch.func.vjp(piece, weights.new_zeros(1, *units))[:2]
    pulled = torch.vmap(pull)(weights.flatten(0, 1)[:, None])[0]
    return pulled.view(*weights.shape[:2], *units), (weights * offset).flatten(2).sum(2)


def _least(weights: Tensor, x: Tensor, threat: Threat) -> Tensor:
    """Least value (B, R) of `weights` (B or 1, R, D) times an input of the threat model around x (B, D).

    Exact for Linf. For L2 a lower bound close to it: the better of the box alone and of the dual function of the
    radius inside the box, whose multiplier comes from fixed-point steps.
    """
    eps = threat.eps
    low, high = ((x + end).clamp(*threat.bounds) - x for end in (-eps, eps))
    value = (weights @ x[..., None]).squeeze(2)
    box = (weights.clamp_min(0) @ low[..., None] + weights.clamp_max(0) @ high[..., None]).squeeze(2)
    if threat.norm == "Linf" or eps == 0:
        return value + box
    low, high = low[:, None], high[:, None]
    tiny = torch.finfo(x.dtype).tiny
    with torch.no_grad():
        multiplier = (weights.norm(dim=2, keepdim=True) / eps).clamp_min(tiny)
        for _ in range(DUAL_STEPS):
            delta = (-weights / multiplier).clamp(low, high)
            multiplier = (multiplier * delta.norm(dim=2, keepdim=True) / eps).clamp_min(tiny)
    delta = (-weights / multiplier).clamp(low, high)
    dual = (weights * delta + multiplier / 2 * delta**2).sum(2) - multiplier.squeeze(2) / 2 * eps**2
    return value + torch.maximum(box, dual)
