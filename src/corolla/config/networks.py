"""Facts that a network's name tells before the network is built."""

import re
from pathlib import Path

TIMM_PREFIX = "timm:"
PACKAGE_MODEL = TIMM_PREFIX + "tf_efficientnet_lite0"
"""The network whose ImageNet weights a pip package brings."""


def is_own(name: str) -> bool:
    """Return whether the network is one of corolla's own (He et al. 2015), not one of timm's."""
    return not name.startswith(TIMM_PREFIX)


def is_plain(name: str) -> bool:
    """Return whether the network is an own one without shortcuts."""
    return name.startswith("plain")


def has_bottlenecks(name: str) -> bool:
    """Return whether the network is an own one of bottleneck blocks: 50 layers and more (He et al. 2015, Table 1)."""
    depth = re.search(r"\d+$", name)
    return is_own(name) and depth is not None and int(depth[0]) >= 50


def weights_file(weights: str) -> Path | None:
    """Return the file that --model.weights names, of a run's folder its best.pt; None where it names no file."""
    if weights in ("none", "pretrained", "package"):
        return None
    path = Path(weights).expanduser()
    return path / "best.pt" if path.is_dir() else path
