"""The parts of the own networks: convolution, activation, shortcut, stem."""

from typing import Literal

import torch.nn.functional as F
from timm.models.resnet import ResNet as TimmResNet
from torch import Tensor, nn

Shortcut = Literal["A", "B", "C"]
Stem = Literal["7x7", "3x3", "small", "small-pool"]
Activation = Literal["relu", "silu", "gelu"]


def conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    """Make a padded convolution without bias: batch norm follows, whose shift takes the bias's place."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)


def activate(kind: Activation) -> nn.Module:
    """Make the nonlinearity, which works in place (gelu alone cannot)."""
    if kind == "gelu":
        return nn.GELU()
    return nn.SiLU(inplace=True) if kind == "silu" else nn.ReLU(inplace=True)


class ZeroPaddedShortcut(nn.Module):
    """Shortcut A (§3.3): every stride-th pixel, with zeros in the channels that are new; it has no parameters."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels = out_channels - in_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Turn (N, in_channels, H, W) into (N, out_channels, ⌈H / stride⌉, ⌈W / stride⌉)."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))


def make_shortcut(
    kind: Shortcut, in_channels: int, out_channels: int, stride: int, *, average: bool = False
) -> nn.Module:
    """Make the path around a block (§3.3): the identity wherever `kind` and the shapes allow it.

    `average`: a projection's stride is in a 2×2 average pool before it (ResNet-D; He et al. 2018, §4.2), with
    timm's names.
    """
    grows = stride != 1 or in_channels != out_channels
    if kind == "A" or not (kind == "C" or grows):
        return ZeroPaddedShortcut(in_channels, out_channels, stride) if grows else nn.Identity()
    if not average:
        return nn.Sequential(conv(in_channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels))
    pool = nn.Identity() if stride == 1 else nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False)
    return nn.Sequential(pool, conv(in_channels, out_channels, 1), nn.BatchNorm2d(out_channels))


def make_stem(kind: Stem, channels: int, activation: Activation) -> tuple[nn.Module, nn.Module]:
    """Make the convolution (before its batch norm) and the pooling of the first layers.

    "7x7" is the paper's, "3x3" ResNet-C's (He et al. 2018, §4.2; timm's names); both take a quarter of height and
    width. "small" keeps them (He et al. 2015, §4.2), "small-pool" takes half.
    """
    pool = nn.Identity() if kind == "small" else nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
    if kind == "7x7":
        return conv(3, channels, 7, stride=2), pool
    if kind in ("small", "small-pool"):
        return conv(3, channels, 3), pool
    half = channels // 2
    layers = [conv(3, half, 3, stride=2), nn.BatchNorm2d(half), activate(activation)]
    layers += [conv(half, half, 3), nn.BatchNorm2d(half), activate(activation), conv(half, channels, 3)]
    return nn.Sequential(*layers), pool


def shrink_stem(model: TimmResNet, *, pool: bool) -> None:
    """Give one of timm's ResNets the stem "small" (with `pool`: "small-pool") of `make_stem`, in place."""
    model.conv1 = conv(model.in_chans, model.get_parameter("bn1.weight").numel(), 3)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1) if pool else nn.Identity()
