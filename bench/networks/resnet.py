"""Residual networks for small images: the stem is a 3x3 convolution of stride 1, without pooling."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, conv1x1, conv3x3


def resnet18(shape: tuple[int, ...], classes: int, width: int = 64) -> nn.Sequential:
    """ResNet-18 (He et al. 2016, arXiv:1512.03385) on images (B, C, H, W) to logits (B, classes).

    `width` is that of the first stage; each of the other three doubles it and halves the image. The blocks
    are torchvision's; the initialisation is PyTorch's, as is customary for small images.
    """
    stem = nn.Sequential(conv3x3(shape[0], width), nn.BatchNorm2d(width), nn.ReLU())
    widths = [width * 2**stage for stage in range(4)]
    stages = _stages(_block, width, widths, depth=2)
    return nn.Sequential(OrderedDict(stem=stem, stages=stages, head=_head(widths[-1], classes)))


class PreActBlock(nn.Module):
    """Batch norm and ReLU before each of two 3x3 convolutions (He et al. 2016, arXiv:1603.05027).

    Where the shape changes, the shortcut is a 1x1 convolution of the activated input; of the input as it comes,
    if not `activated`.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, activated: bool = True) -> None:
        super().__init__()
        self.activated = activated
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), conv3x3(inputs, outputs, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), conv3x3(outputs, outputs)
        self.shortcut = conv1x1(inputs, outputs, stride) if stride != 1 or inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        activated = self.bn1(x).relu()
        residual = self.conv2(self.bn2(self.conv1(activated)).relu())
        return residual + (x if self.shortcut is None else self.shortcut(activated if self.activated else x))


def preactresnet18(
    shape: tuple[int, ...], classes: int, width: int = 64, norm: bool = True, activated: bool = True
) -> nn.Sequential:
    """PreActResNet-18 (He et al. 2016, arXiv:1603.05027) on images (B, C, H, W) to logits (B, classes).

    `width` is that of the first stage. Batch norm and ReLU follow the last block, as in the paper and in Rice
    et al. 2020; `norm=False` leaves them out, as pytorch-cifar does. `activated=False` takes the shortcuts from before
    batch norm and ReLU, as Wong et al. 2020 do. PyTorch's initialisation, as is customary.
    """
    widths = [width * 2**stage for stage in range(4)]
    block = partial(PreActBlock, activated=activated)
    return _preact(shape, classes, stem=width, widths=widths, depth=2, norm=norm, block=block)


def wideresnet(shape: tuple[int, ...], classes: int, depth: int = 28, width: int = 10) -> nn.Sequential:
    """WideResNet-`depth`-`width` (Zagoruyko and Komodakis 2016, arXiv:1605.07146), without dropout, on images
    (B, C, H, W) to logits (B, classes).

    `depth` is 6 n + 4. Initialisation as is customary: He's normal by fan-out for convolutions, no bias at
    first in the head.
    """
    if depth < 10 or depth % 6 != 4:
        raise ValueError(f"depth is 6 n + 4, so 10, 16, 22, 28, 34, ..., got {depth}")
    widths = [16 * width, 32 * width, 64 * width]
    network = _preact(shape, classes, stem=16, widths=widths, depth=(depth - 4) // 6)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
    return network


def wrn_28_10(shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """WideResNet-28-10."""
    return wideresnet(shape, classes, depth=28, width=10)


def wrn_34_10(shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """WideResNet-34-10, the usual teacher of robust distillation."""
    return wideresnet(shape, classes, depth=34, width=10)


def _head(width: int, classes: int) -> nn.Sequential:
    """The mean over the image, then one linear layer."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def _stages(block: Callable[[int, int, int], nn.Module], inputs: int, widths: list[int], depth: int) -> nn.Sequential:
    """Stages of `depth` blocks each; all stages but the first start with stride 2."""
    stages = []
    for stage, outputs in enumerate(widths):
        blocks = [block(inputs, outputs, 1 if stage == 0 else 2)]
        blocks += [block(outputs, outputs, 1) for _ in range(depth - 1)]
        stages.append(nn.Sequential(*blocks))
        inputs = outputs
    return nn.Sequential(*stages)


def _block(inputs: int, outputs: int, stride: int) -> nn.Module:
    """torchvision's block, whose shortcut is a 1x1 convolution with batch norm where the shape changes."""
    if stride == 1 and inputs == outputs:
        return BasicBlock(inputs, outputs)
    shortcut = nn.Sequential(conv1x1(inputs, outputs, stride), nn.BatchNorm2d(outputs))
    return BasicBlock(inputs, outputs, stride, shortcut)


def _preact(
    shape: tuple[int, ...],
    classes: int,
    stem: int,
    widths: list[int],
    depth: int,
    norm: bool = True,
    block: Callable[[int, int, int], nn.Module] = PreActBlock,
) -> nn.Sequential:
    """A stem, stages of pre-activation blocks, and (with `norm`) the last batch norm and ReLU."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["stem"] = conv3x3(shape[0], stem)
    layers["stages"] = _stages(block, stem, widths, depth)
    if norm:
        layers["norm"] = nn.Sequential(nn.BatchNorm2d(widths[-1]), nn.ReLU())
    layers["head"] = _head(widths[-1], classes)
    return nn.Sequential(layers)
