"""Plain and residual networks of "Deep Residual Learning for Image Recognition" (He et al. 2015), one definition.

A plain network is the residual one without its shortcuts. Modules are named and ordered as in torchvision and timm, so
their ResNet state dicts load (shortcut B).
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

Shortcut = Literal["A", "B", "C"]
Init = Literal["he", "xavier"]

# Blocks in each of the four stages (Table 1); from 50 layers on the blocks are bottlenecks.
STAGES: dict[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
BOTTLENECK_DEPTHS = (50, 101, 152)


class ZeroPaddedShortcut(nn.Module):
    """Shortcut A (§3.3): every stride-th pixel, the channels that are new filled with zeros; no parameters."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels = out_channels - in_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, ⌈H / stride⌉, ⌈W / stride⌉)."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))


def make_shortcut(kind: Shortcut, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The path around a block (§3.3): identity wherever `kind` and the shapes allow it."""
    grows = stride != 1 or in_channels != out_channels
    if kind == "C" or (kind == "B" and grows):
        return nn.Sequential(conv(in_channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels))
    return ZeroPaddedShortcut(in_channels, out_channels, stride) if grows else nn.Identity()


def conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    """A padded convolution without bias: batch norm follows, whose shift takes the bias's place."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions (Figure 5, left); without a shortcut, the plain network's pair of layers."""

    def __init__(self, in_channels: int, channels: int, stride: int, shortcut: Shortcut | None) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, channels, 3, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv(channels, channels, 3)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = make_shortcut(shortcut, in_channels, channels, stride) if shortcut else None

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out if self.downsample is None else out + self.downsample(x))


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions (Figure 5, right), the first two a quarter as wide as the block's output."""

    def __init__(self, in_channels: int, channels: int, stride: int, shortcut: Shortcut, stride_in_1x1: bool) -> None:
        super().__init__()
        width = channels // 4
        self.conv1 = conv(in_channels, width, 1, stride if stride_in_1x1 else 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, 1 if stride_in_1x1 else stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv(width, channels, 1)
        self.bn3 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = make_shortcut(shortcut, in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        return self.relu(self.bn3(self.conv3(out)) + self.downsample(x))


class ResNet(nn.Module):
    """A residual network, or with `shortcut=None` the plain one of the same depth.

    `stride_in_1x1` puts a bottleneck's stride into its first 1×1 convolution, as the paper does (3.8 G multiply-adds
    for 50 layers at 224 px); by default it stands in the 3×3, as in torchvision (4.1 G; ResNet-B in He et al. 2018,
    §4.1), so that no activation is thrown away unseen.
    """

    def __init__(
        self,
        depth: int,
        num_classes: int,
        *,
        shortcut: Shortcut | None = "B",
        init: Init = "he",
        stride_in_1x1: bool = False,
    ) -> None:
        super().__init__()
        if shortcut is None and depth in BOTTLENECK_DEPTHS:
            raise ValueError(f"the paper has no plain network of {depth} layers: choose 18 or 34")
        expansion = 4 if depth in BOTTLENECK_DEPTHS else 1

        def block(in_channels: int, channels: int, stride: int) -> nn.Module:
            if shortcut is None or depth not in BOTTLENECK_DEPTHS:
                return BasicBlock(in_channels, channels, stride, shortcut)
            return Bottleneck(in_channels, channels, stride, shortcut, stride_in_1x1)

        def stage(in_channels: int, channels: int, num_blocks: int, stride: int) -> nn.Sequential:
            first = block(in_channels, channels, stride)
            return nn.Sequential(first, *(block(channels, channels, 1) for _ in range(num_blocks - 1)))

        blocks = STAGES[depth]
        self.conv1 = conv(3, 64, 7, stride=2)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = stage(64, 64 * expansion, blocks[0], stride=1)
        self.layer2 = stage(64 * expansion, 128 * expansion, blocks[1], stride=2)
        self.layer3 = stage(128 * expansion, 256 * expansion, blocks[2], stride=2)
        self.layer4 = stage(256 * expansion, 512 * expansion, blocks[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512 * expansion, num_classes)
        initialise(self, init)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) to logits (N, num_classes)."""
        return self.fc(self.avgpool(self.forward_features(images)).flatten(1))

    def forward_features(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) to the last feature maps (N, C, ⌈H / 32⌉, ⌈W / 32⌉); timm's name for it."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def get_classifier(self) -> nn.Linear:
        """The layer that makes the logits; timm's name for it."""
        return self.fc


def initialise(model: nn.Module, init: Init) -> None:
    """Draw the weights afresh, in place; batch norms start as the identity already.

    "he": normal with variance 2 / fan-out (He et al. 2015, "Delving Deep into Rectifiers", §2.2; the backward case, as
    torchvision has it); the classifier keeps torch's own. "xavier": uniform in ±√(6 / (fan-in + fan-out)), classifier
    included, its bias zero (Glorot and Bengio 2010; He et al. 2018, "Bag of Tricks", §2.1).
    """
    for module in model.modules():
        if init == "xavier" and isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif init == "he" and isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
