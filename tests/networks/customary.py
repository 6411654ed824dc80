"""Networks with the parameter names of customary codes, in our own wording: small, with all batch norms in use."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)


class Basic(nn.Module):
    """conv1, bn1, conv2, bn2, and `shortcut` or `downsample`."""

    def __init__(self, inputs: int, outputs: int, stride: int, side: str) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv(outputs, outputs, 3), nn.BatchNorm2d(outputs)
        changes = stride != 1 or inputs != outputs
        layers = [conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)] if changes else []
        self.side = side
        setattr(self, side, nn.Sequential(*layers))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (out + getattr(self, self.side)(x)).relu()


class ResNet(nn.Module):
    """pytorch-cifar's, RSLAD's, AdaAD's (`shortcut`, head `linear`); torchvision's, timm's (`downsample`, `fc`)."""

    def __init__(self, width: int = 4, side: str = "shortcut", head: str = "linear", classes: int = 10) -> None:
        super().__init__()
        self.conv1, self.bn1, self.head = conv(3, width, 3), nn.BatchNorm2d(width), head
        inputs = width
        for stage in range(4):
            outputs, stride = width * 2**stage, 1 if stage == 0 else 2
            blocks = [Basic(inputs, outputs, stride, side), Basic(outputs, outputs, 1, side)]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
            inputs = outputs
        setattr(self, head, nn.Linear(inputs, classes))

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return getattr(self, self.head)(x.mean((2, 3)))


class PreActivation(nn.Module):
    """bn1, conv1, bn2, conv2, and `shortcut.0` (pytorch-cifar) or `convShortcut` (TRADES)."""

    def __init__(self, inputs: int, outputs: int, stride: int, side: str, activated: bool = True) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), conv(inputs, outputs, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), conv(outputs, outputs, 3)
        self.side, self.activated = side, activated
        if stride != 1 or inputs != outputs:
            one = conv(inputs, outputs, 1, stride)
            setattr(self, side, nn.Sequential(one) if side == "shortcut" else one)

    def forward(self, x: Tensor) -> Tensor:
        first = self.bn1(x).relu()
        side = getattr(self, self.side)(first if self.activated else x) if hasattr(self, self.side) else x
        return self.conv2(self.bn2(self.conv1(first)).relu()) + side


class PreActResNet(nn.Module):
    """pytorch-cifar's (norm empty), Rice et al.'s and RobustBench's (norm `bn`)."""

    def __init__(self, width: int = 4, norm: str = "", activated: bool = True) -> None:
        super().__init__()
        self.conv1, self.norm, inputs = conv(3, width, 3), norm, width
        for stage in range(4):
            outputs, stride = width * 2**stage, 1 if stage == 0 else 2
            first = PreActivation(inputs, outputs, stride, "shortcut", activated)
            second = PreActivation(outputs, outputs, 1, "shortcut")
            setattr(self, f"layer{stage + 1}", nn.Sequential(first, second))
            inputs = outputs
        if norm:
            setattr(self, norm, nn.BatchNorm2d(inputs))
        self.linear = nn.Linear(inputs, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        x = getattr(self, self.norm)(x).relu() if self.norm else x
        return self.linear(x.mean((2, 3)))


class Stage(nn.Module):
    """Blocks under the name `layer`."""

    def __init__(self, inputs: int, outputs: int, stride: int, depth: int) -> None:
        super().__init__()
        blocks = [PreActivation(inputs, outputs, stride, "convShortcut")]
        blocks += [PreActivation(outputs, outputs, 1, "convShortcut") for _ in range(depth - 1)]
        self.layer = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class WideResNet(nn.Module):
    """TRADES', with its stage that no forward goes through; RobustBench's with or without, and without a last bias."""

    def __init__(self, depth: int = 10, width: int = 2, unused: bool = True, bias: bool = True) -> None:
        super().__init__()
        n, (a, b, c) = (depth - 4) // 6, (16 * width, 32 * width, 64 * width)
        self.conv1, self.block1 = conv(3, 16, 3), Stage(16, a, 1, n)
        if unused:
            self.sub_block1 = Stage(16, a, 1, n)
        self.block2, self.block3 = Stage(a, b, 2, n), Stage(b, c, 2, n)
        self.bn1, self.fc = nn.BatchNorm2d(c), nn.Linear(c, 10, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(self.bn1(x).relu().mean((2, 3)))


class Inverted(nn.Module):
    """conv1 to bn3, and a shortcut where the image keeps its size."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = expansion * inputs
        self.conv1, self.bn1 = conv(inputs, hidden, 1), nn.BatchNorm2d(hidden)
        self.conv2, self.bn2 = conv(hidden, hidden, 3, stride, hidden), nn.BatchNorm2d(hidden)
        self.conv3, self.bn3 = conv(hidden, outputs, 1), nn.BatchNorm2d(outputs)
        self.stride = stride
        layers = [conv(inputs, outputs, 1), nn.BatchNorm2d(outputs)] if stride == 1 and inputs != outputs else []
        self.shortcut = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        out = self.bn3(self.conv3(out))
        return out + self.shortcut(x) if self.stride == 1 else out


class MobileNetV2(nn.Module):
    """pytorch-cifar's, RSLAD's and AdaAD's, at a quarter of its width."""

    STAGES = ((1, 4, 1, 1), (6, 6, 2, 1), (6, 8, 3, 2), (6, 16, 4, 2), (6, 24, 3, 1), (6, 40, 3, 2), (6, 80, 1, 1))

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(3, 8, 3), nn.BatchNorm2d(8)
        blocks, inputs = [], 8
        for expansion, outputs, depth, first in self.STAGES:
            for stride in (first, *(1,) * (depth - 1)):
                blocks.append(Inverted(inputs, outputs, expansion, stride))
                inputs = outputs
        self.layers = nn.Sequential(*blocks)
        self.conv2, self.bn2 = conv(inputs, 1280, 1), nn.BatchNorm2d(1280)
        self.linear = nn.Linear(1280, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(self.bn1(self.conv1(x)).relu())
        return self.linear(self.bn2(self.conv2(x)).relu().mean((2, 3)))


class Unheard(nn.Module):
    """Our `cnn` of widths 8 and 8 under names that nobody uses."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.first_norm = nn.Conv2d(1, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.second, self.second_norm = nn.Conv2d(8, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.out = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first_norm(self.first(x)).relu()
        return self.out(self.second_norm(self.second(x)).relu().flatten(1))


class Normalisation(nn.Module):
    """(x - mean) / std, with both as buffers of these names and shape."""

    def __init__(self, names: tuple[str, str], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.names = names
        self.register_buffer(names[0], torch.tensor([0.4914, 0.4822, 0.4465]).view(shape))
        self.register_buffer(names[1], torch.tensor([0.2471, 0.2435, 0.2616]).view(shape))

    def forward(self, x: Tensor) -> Tensor:
        mean, std = (getattr(self, name).view(1, 3, 1, 1) for name in self.names)
        return (x - mean) / std


class Inside(ResNet):
    """A ResNet that keeps the normalisation among its own buffers, as RobustBench's do."""

    mu: Tensor
    sigma: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mu", torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1))
        self.register_buffer("sigma", torch.tensor([0.2, 0.3, 0.25]).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward((x - self.mu) / self.sigma)


def used(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """The network in eval mode, with batch norms that have seen something."""
    torch.manual_seed(seed)
    network = make()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, std=0.2)  # type: ignore[arg-type]
            nn.init.normal_(layer.bias, std=0.2)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)  # type: ignore[arg-type]
            nn.init.uniform_(layer.weight, 0.5, 1.5)
    return network.eval()


def shown(network: nn.Module, channels: int = 3, side: int = 16) -> tuple[Tensor, Tensor]:
    """Images, and what the network says to them."""
    x = torch.rand(3, channels, side, side, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return x, network(x)
