"""The threat model: which perturbed inputs count as adversarial examples."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from torch import Generator, Tensor

Start = Literal["uniform", "gaussian", "zero"]


def _fraction(value: Any) -> Any:
    """8/255 for "8/255"; anything else as it is."""
    if isinstance(value, str) and (len(value) > 40 or "e" in value.lower()):
        raise ValueError('a radius is a number, or a fraction such as "8/255"')  # 1e999999999 would take all memory
    try:
        return float(Fraction(value)) if isinstance(value, str) else value
    except (ZeroDivisionError, OverflowError):
        raise ValueError("a fraction with denominator 0, or too large a number") from None


Radius = Annotated[float, BeforeValidator(_fraction)]  # in the units of the input; files may write "8/255"


class Threat(BaseModel):
    """A norm ball of radius `eps` around every input, intersected with the bounds of valid inputs.

    Tensors are batches `(B, ...)` with entries inside `bounds`. Radii are in the units of the input.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    norm: Literal["Linf", "L2"]
    eps: Radius = Field(ge=0, allow_inf_nan=False)
    bounds: tuple[float, float] = (0.0, 1.0)

    @model_validator(mode="after")
    def _radius_fits_the_bounds(self) -> Threat:
        low, high = self.bounds
        if low >= high:
            raise ValueError(f"bounds must be (low, high) with low < high, got {self.bounds}")
        if self.norm == "Linf" and self.eps >= high - low:
            raise ValueError(
                f"eps = {self.eps} covers the whole input range {self.bounds}; "
                "radii are in the units of the input, so 8/255 is 0.03137, not 8"
            )
        return self

    def with_eps(self, eps: float | None) -> Threat:
        """This threat model with another radius (itself for `None`)."""
        return self if eps is None else Threat(norm=self.norm, eps=eps, bounds=self.bounds)

    def project(self, x: Tensor, x_adv: Tensor) -> Tensor:
        """Project `x_adv` onto the ball around `x`, inside the bounds."""
        delta = x_adv - x
        if self.norm == "Linf":
            delta = delta.clamp(-self.eps, self.eps)
        else:
            delta = delta * (self.eps / _norms(delta).clamp_min(1e-12)).clamp_max(1.0)
        return (x + delta).clamp(*self.bounds)

    def step(self, x_adv: Tensor, gradient: Tensor, size: float) -> Tensor:
        """One step of steepest ascent: along the sign (Linf) or the normalised gradient (L2)."""
        if self.norm == "Linf":
            return x_adv + size * gradient.sign()
        return x_adv + (size * gradient / _norms(gradient).clamp_min(1e-12)).nan_to_num(0.0)

    def start(self, x: Tensor, kind: Start, generator: Generator | None = None) -> Tensor:
        """The start of an inner maximisation: `uniform` in the ball, `gaussian` = x + 0.001 N(0, 1), `zero` = x."""
        if kind not in get_args(Start):
            raise ValueError(f"unknown start {kind!r}; use {', '.join(get_args(Start))}")
        if kind == "zero":
            return x.clone()
        noise = x.new_empty(x.shape)
        if kind == "gaussian":
            noise.normal_(generator=generator).mul_(0.001)
        elif self.norm == "Linf":
            noise.uniform_(-self.eps, self.eps, generator=generator)
        else:  # uniform in the L2 ball: a uniform direction, and a radius whose d-th power is uniform
            noise.normal_(generator=generator)
            radius = x.new_empty((len(x),) + (1,) * (x.ndim - 1)).uniform_(generator=generator)
            noise = noise / _norms(noise).clamp_min(1e-12) * radius ** (1 / x[0].numel()) * self.eps
        return self.project(x, x + noise)

    def distance(self, x: Tensor, x_adv: Tensor) -> Tensor:
        """Size of each perturbation in this norm, shape (B,)."""
        delta = (x_adv - x).flatten(1)
        return delta.abs().amax(1) if self.norm == "Linf" else delta.norm(dim=1)

    def contains(self, x: Tensor, x_adv: Tensor, tolerance: float = 1e-5) -> Tensor:
        """Which examples lie in the ball and inside the bounds (up to rounding), bool (B,). NaN never does."""
        low, high = self.bounds
        inside = ((x_adv >= low) & (x_adv <= high)).flatten(1).all(1)
        return inside & (self.distance(x, x_adv) <= self.eps + tolerance)


def _norms(delta: Tensor) -> Tensor:
    """L2 norm of each example, shape (B, 1, ...)."""
    return delta.flatten(1).norm(dim=1).view(-1, *(1,) * (delta.ndim - 1))


def Linf(eps: float) -> Threat:  # noqa: N802
    """Linf ball of radius `eps` in [0, 1].

    >>> import torch, bench
    >>> threat = bench.Linf(0.1)
    >>> x = torch.tensor([[0.05, 0.5]])
    >>> threat.project(x, torch.tensor([[-0.3, 0.9]]))
    tensor([[0.0000, 0.6000]])
    >>> threat.contains(x, torch.tensor([[0.0, 0.61]]))
    tensor([False])
    """
    return Threat(norm="Linf", eps=eps)


def L2(eps: float) -> Threat:  # noqa: N802
    """L2 ball of radius `eps` in [0, 1]."""
    return Threat(norm="L2", eps=eps)
