"""A robust classifier of 8x8 digits: a network of one hidden layer, and how it was trained."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

WEIGHTS = Path(__file__).with_name("classifier.safetensors")
EPS, EPOCHS, STEPS = 0.15, 60, 5


def network() -> nn.Module:
    """Images (B, 1, 8, 8) in [0, 1] to logits (B, 10)."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))


def trained() -> nn.Module:
    """The network with the weights that are committed."""
    module = network()
    module.load_state_dict(load_file(WEIGHTS))
    return module.eval()


def attacked(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Images within EPS of `x` that the network finds harder: projected gradient ascent from a random start."""
    x_adv = (x + EPS * (2 * torch.rand_like(x) - 1)).clamp(0, 1)
    for _ in range(STEPS):
        x_adv.requires_grad_()
        (gradient,) = torch.autograd.grad(cross_entropy(module(x_adv), y), x_adv)
        x_adv = x_adv.detach() + EPS / 2 * gradient.sign()
        x_adv = torch.min(torch.max(x_adv, x - EPS), x + EPS).clamp(0, 1)
    return x_adv


def train(x: Tensor, y: Tensor) -> nn.Module:
    """Adversarial training on images (N, 1, 8, 8) and labels (N,)."""
    torch.manual_seed(0)
    module = network()
    optimiser = torch.optim.Adam(module.parameters(), lr=3e-3)
    for _ in range(EPOCHS):
        for part in torch.randperm(len(x)).split(64):
            loss = cross_entropy(module(attacked(module, x[part], y[part])), y[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return module


if __name__ == "__main__":
    from bench import load_scenario
    from bench.data import load

    examples = load(load_scenario("digits-linf").data, ("train",))["train"]
    save_file(train(examples.inputs(), examples.y).state_dict(), WEIGHTS)
