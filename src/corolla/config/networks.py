"""Facts that a network's name tells before the network is built."""

import re

TIMM_PREFIX = "timm:"
PACKAGE_MODEL = TIMM_PREFIX + "tf_efficientnet_lite0"
"""The network whose ImageNet weights a pip package brings."""
BOTTLENECK_DEPTHS = (26, 50, 101, 152)
"""Layers of the own networks that are made of bottleneck blocks (He et al. 2015, Table 1; 26 is timm's)."""
CIFAR_DEPTHS = (20, 32, 44, 56, 110)
"""Layers of the own networks for small images, 6n + 2 of them (He et al. 2015, section 4.2)."""


def is_own(name: str) -> bool:
    """Return whether the network is one of corolla's own (He et al. 2015), not one of timm's."""
    return not name.startswith(TIMM_PREFIX)


def is_plain(name: str) -> bool:
    """Return whether the network is an own one without shortcuts."""
    return name.startswith("plain")


def has_bottlenecks(name: str) -> bool:
    """Return whether the network is an own one of bottleneck blocks: resnet26, resnet50, resnet101, resnet152."""
    return _own_depth(name) in BOTTLENECK_DEPTHS


def is_cifar(name: str) -> bool:
    """Return whether the network is an own one of 6n + 2 layers for small images: resnet20, plain20, ..."""
    return _own_depth(name) in CIFAR_DEPTHS


def _own_depth(name: str) -> int | None:
    """Return the layers that an own network's name tells; None for other names."""
    depth = re.search(r"\d+$", name)
    return int(depth[0]) if is_own(name) and depth else None
