"""Plain and residual networks of "Deep Residual Learning for Image Recognition" (He et al. 2015), one definition.

A plain network is the residual one without its shortcuts. Modules are named and ordered as in torchvision and timm, so
their ResNet state dicts load (shortcut B).
"""

from dataclasses import dataclass
from typing import Literal

from timm.layers.drop import DropPath
from torch import Tensor, nn

from corolla.config.networks import BOTTLENECK_DEPTHS, CIFAR_DEPTHS
from corolla.models.layers import Activation, Shortcut, Stem, activate, conv, make_shortcut, make_stem

Init = Literal["he", "he-fan-in", "xavier"]

# Blocks in each of the four stages (Table 1; 26 layers are timm's); BOTTLENECK_DEPTHS have bottlenecks.
STAGES: dict[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    26: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
CIFAR_STAGES: dict[int, tuple[int, ...]] = {depth: 3 * ((depth - 2) // 6,) for depth in CIFAR_DEPTHS}
"""Blocks in each of the three stages of the networks for small images (section 4.2): 6n + 2 layers have n."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """The settings that all blocks of a network share; `ResNet` explains them."""

    shortcut: Shortcut | None = "B"
    stride_in_1x1: bool = False
    avg_shortcut: bool = False
    activation: Activation = "relu"


class BasicBlock(nn.Module):
    """Two 3×3 convolutions (Figure 5, left); without a shortcut, the plain network's pair of layers."""

    def __init__(self, in_channels: int, channels: int, stride: int, design: Design, drop_path: float = 0.0) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, channels, 3, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv(channels, channels, 3)
        self.bn2 = nn.BatchNorm2d(channels)
        self.act = activate(design.activation)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.downsample = (
            make_shortcut(design.shortcut, in_channels, channels, stride, average=design.avg_shortcut)
            if design.shortcut
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        out = self.act(self.bn1(self.conv1(x)))
        out = self.drop_path(self.bn2(self.conv2(out)))
        return self.act(out if self.downsample is None else out + self.downsample(x))

    def zero_gamma(self) -> None:
        """Have the block start as its shortcut alone."""
        nn.init.zeros_(self.bn2.weight)


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions (Figure 5, right), the first two a quarter as wide as the block's output."""

    def __init__(self, in_channels: int, channels: int, stride: int, design: Design, drop_path: float = 0.0) -> None:
        super().__init__()
        assert design.shortcut
        width = channels // 4
        self.conv1 = conv(in_channels, width, 1, stride if design.stride_in_1x1 else 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, 1 if design.stride_in_1x1 else stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv(width, channels, 1)
        self.bn3 = nn.BatchNorm2d(channels)
        self.act = activate(design.activation)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.downsample = make_shortcut(design.shortcut, in_channels, channels, stride, average=design.avg_shortcut)

    def forward(self, x: Tensor) -> Tensor:
        out = self.act(self.bn1(self.conv1(x)))
        out = self.act(self.bn2(self.conv2(out)))
        return self.act(self.drop_path(self.bn3(self.conv3(out))) + self.downsample(x))

    def zero_gamma(self) -> None:
        """Have the block start as its shortcut alone."""
        nn.init.zeros_(self.bn3.weight)


class ResNet(nn.Module):
    """A residual network, or with `shortcut=None` the plain one of the same depth.

    `stride_in_1x1` puts a bottleneck's stride into its first 1×1 convolution, as the paper does (3.86 G multiply-adds
    for 50 layers at 224 px); by default it is in the 3×3, as in torchvision (4.09 G; ResNet-B in He et al. 2018,
    §4.2), so that no activation is thrown away unseen.

    `stem` and `avg_shortcut` are explained at `make_stem` and `make_shortcut` ("3x3" and True make ResNet-D); `width`
    multiplies all channels, which are rounded to 8; `zero_gamma` has each block start as its shortcut alone (Goyal et
    al. 2017, §5.1); `drop_path` is the rate of the last block, falling linearly to 0 at the first (Huang et al. 2016).

    The depths of `CIFAR_STAGES` have three stages of 16, 32 and 64 channels behind one 3×3 convolution without pooling,
    whatever `stem` says (§4.2; there with shortcut A).
    """

    def __init__(
        self,
        depth: int,
        num_classes: int,
        *,
        shortcut: Shortcut | None = "B",
        init: Init = "he",
        stride_in_1x1: bool = False,
        stem: Stem = "7x7",
        avg_shortcut: bool = False,
        activation: Activation = "relu",
        width: float = 1.0,
        zero_gamma: bool = False,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        if shortcut is None and depth in BOTTLENECK_DEPTHS:
            raise ValueError(f"the paper has no plain network of {depth} layers: choose one of basic blocks")
        design = Design(
            shortcut=shortcut, stride_in_1x1=stride_in_1x1, avg_shortcut=avg_shortcut, activation=activation
        )
        bottleneck = depth in BOTTLENECK_DEPTHS
        is_cifar = depth in CIFAR_STAGES
        stages: tuple[int, ...] = CIFAR_STAGES[depth] if is_cifar else STAGES[depth]
        narrowest = 16 if is_cifar else 64
        first = _scaled(narrowest, width)
        rates = [drop_path * n / (sum(stages) - 1) for n in range(sum(stages))]
        widths = [_scaled(narrowest * 2**n, width) * (4 if bottleneck else 1) for n in range(len(stages))]

        def stage(number: int, stride: int) -> nn.Sequential:
            before = widths[number - 1] if number else first
            begin = sum(stages[:number])
            block = Bottleneck if bottleneck else BasicBlock
            return nn.Sequential(
                block(before, widths[number], stride, design, rates[begin]),
                *(block(widths[number], widths[number], 1, design, rates[begin + n]) for n in range(1, stages[number])),
            )

        self.conv1, self.maxpool = make_stem("small" if is_cifar else stem, first, activation)
        self.bn1 = nn.BatchNorm2d(first)
        self.act = activate(activation)
        self.stage_names = [f"layer{number + 1}" for number in range(len(stages))]
        for number, name in enumerate(self.stage_names):
            self.add_module(name, stage(number, stride=2 if number else 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.fc = nn.Linear(widths[-1], num_classes)
        initialise(self, init)
        if zero_gamma:
            for module in self.modules():
                if isinstance(module, BasicBlock | Bottleneck):
                    module.zero_gamma()

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, num_classes) of normalised images (N, 3, H, W)."""
        return self.fc(self.dropout(self.avgpool(self.forward_features(images)).flatten(1)))

    def forward_features(self, images: Tensor) -> Tensor:
        """Return the last feature maps of normalised images (N, C, ⌈H / 32⌉, ⌈W / 32⌉; small stems: / 8, / 16; with
        three stages: / 4).

        The name is timm's, as are those of the next two.
        """
        x = self.maxpool(self.act(self.bn1(self.conv1(images))))
        for name in self.stage_names:
            x = self.get_submodule(name)(x)
        return x

    def get_classifier(self) -> nn.Linear:
        """Return the layer that makes the logits."""
        return self.fc

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Return patterns of the parameters' names, layer by layer: stem, stages; the rest is the classifier."""
        return {"stem": r"^conv1|bn1", "blocks": r"^layer(\d+)"}


def _scaled(channels: int, width: float) -> int:
    return max(8, round(channels * width / 8) * 8)


def initialise(model: nn.Module, init: Init) -> None:
    """Draw the weights afresh, in place; batch norms start as the identity already.

    "he": normal with variance 2 / fan-out (He et al. 2015, "Delving Deep into Rectifiers", §2.2; the backward case, as
    torchvision has it); "he-fan-in": with variance 2 / fan-in (the forward case there). In both the classifier keeps
    torch's own, and the 2 is ReLU's with every activation. "xavier": uniform in ±√(6 / (fan-in + fan-out)), classifier
    included, its bias zero (Glorot and Bengio 2010; He et al. 2018, "Bag of Tricks", §2.1).
    """
    for module in model.modules():
        if init == "xavier" and isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif init != "xavier" and isinstance(module, nn.Conv2d):
            mode = "fan_in" if init == "he-fan-in" else "fan_out"
            nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu")
