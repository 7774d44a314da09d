"""Random erasing and cutout: parts of a uint8 image that are painted over after all other augmentation."""

import numpy as np

from corolla.config import AugmentConfig
from corolla.data.decode import Image
from corolla.data.transforms.crops import Box, fitting_box

ERASE_ASPECT = (0.3, 1 / 0.3)  # Zhong et al. 2020, section 4.2

Painted = tuple[Box, Image]
"""A box, and the pixels or the colour (3, uint8) that are painted there."""


def draw_erasing(
    config: AugmentConfig, height: int, width: int, mean: Image, rng: np.random.Generator
) -> tuple[Painted | None, Painted | None]:
    """Draw what random erasing (Zhong et al. 2020, algorithm 1), then cutout paint, as far as they are switched on.

    Zhong et al. draw until a rectangle fits; here an image for which ten did not fit stays as it is.

    Args:
        mean: the colour that "mean" and cutout paint (3, uint8).
    """
    erased = cut = None
    if config.erase and rng.random() < config.erase:
        box = fitting_box(width, height, area=config.erase_area, aspect=ERASE_ASPECT, rng=rng)
        if box is not None:
            is_noise = config.erase_fill == "noise"
            erased = box, rng.integers(0, 256, (box[3], box[2], 3), np.uint8) if is_noise else mean
    if config.cutout:
        cut = cutout_box(width, height, config.cutout, rng), mean
    return erased, cut


def paint(image: Image, painted: Painted) -> None:
    """Paint over a box of an image, in place."""
    (left, top, width, height), content = painted
    image[top : top + height, left : left + width] = content


def cutout_box(width: int, height: int, share: float, rng: np.random.Generator) -> Box:
    """Draw a square of `share` of the shorter side, as far as it is inside; any pixel may be its centre.

    It follows DeVries and Taylor 2017, section 3.2.
    """
    side = round(share * min(width, height))
    x, y = int(rng.integers(width)), int(rng.integers(height))
    left, top = max(0, x - side // 2), max(0, y - side // 2)
    return left, top, min(width, x - side // 2 + side) - left, min(height, y - side // 2 + side) - top
