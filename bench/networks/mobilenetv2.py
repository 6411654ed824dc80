"""MobileNetV2 for small images, as the papers on robust distillation train it."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

STAGES = (  # expansion, width, how many blocks, stride of the first
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
STEM, LAST = 32, 1280


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 convolution per channel, 1x1 projection; a shortcut where the image keeps its size.

    Unlike torchvision's, it has ReLU for ReLU6, an expansion even by 1, and a 1x1 convolution as shortcut
    where the width changes: the variant for CIFAR that ARD, RSLAD and their successors use.
    """

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.residual = nn.Sequential(
            Conv2dNormActivation(inputs, hidden, 1),
            Conv2dNormActivation(hidden, hidden, 3, stride, groups=hidden),
            Conv2dNormActivation(hidden, outputs, 1, activation_layer=None),
        )
        self.shortcut: nn.Module | None = None
        if stride == 1:
            same = inputs == outputs
            self.shortcut = nn.Identity() if same else Conv2dNormActivation(inputs, outputs, 1, activation_layer=None)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.residual(x)
        return residual if self.shortcut is None else residual + self.shortcut(x)


def mobilenetv2(shape: tuple[int, ...], classes: int, width: float = 1.0) -> nn.Sequential:
    """MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) on images (B, C, H, W) to logits (B, classes).

    Stem and second stage have stride 1, so that images are halved three times. `width` multiplies every width
    (the last one only upwards). PyTorch's initialisation, as is customary for this variant.
    """
    channels, last = round(STEM * width), round(LAST * max(1.0, width))
    blocks: list[nn.Module] = [Conv2dNormActivation(shape[0], channels, 3)]
    for expansion, outputs, depth, first in STAGES:
        for stride in (first, *(1,) * (depth - 1)):
            blocks.append(InvertedResidual(channels, round(outputs * width), expansion, stride))
            channels = round(outputs * width)
    blocks.append(Conv2dNormActivation(channels, last, 1))
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, classes))
    return nn.Sequential(OrderedDict(features=nn.Sequential(*blocks), head=head))
