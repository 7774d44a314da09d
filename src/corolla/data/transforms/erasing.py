"""Random erasing and cutout: parts of a uint8 image painted over, in place, after all other augmentation."""

import numpy as np

from corolla.config import AugmentConfig
from corolla.data.decode import Image
from corolla.data.transforms.crops import Box, fitting_box

ERASE_ASPECT = (0.3, 1 / 0.3)  # Zhong et al. 2020, section 4.2


def erase(image: Image, config: AugmentConfig, mean: Image, rng: np.random.Generator) -> None:
    """Apply random erasing (Zhong et al. 2020, algorithm 1), then cutout, as far as they are switched on.

    Zhong et al. draw until a rectangle fits; here an image for which ten did not fit stays as it is.

    Args:
        mean: the colour that "mean" and cutout paint (3, uint8).
    """
    height, width = image.shape[:2]
    if config.erase and rng.random() < config.erase:
        box = fitting_box(width, height, area=config.erase_area, aspect=ERASE_ASPECT, rng=rng)
        if box is not None:
            left, top, w, h = box
            noise = config.erase_fill == "noise"
            image[top : top + h, left : left + w] = rng.integers(0, 256, (h, w, 3), np.uint8) if noise else mean
    if config.cutout:
        left, top, w, h = cutout_box(width, height, config.cutout, rng)
        image[top : top + h, left : left + w] = mean


def cutout_box(width: int, height: int, share: float, rng: np.random.Generator) -> Box:
    """Draw a square of `share` of the shorter side, as far as it is inside; any pixel may be its centre.

    It follows DeVries and Taylor 2017, section 3.2.
    """
    side = round(share * min(width, height))
    x, y = int(rng.integers(width)), int(rng.integers(height))
    left, top = max(0, x - side // 2), max(0, y - side // 2)
    return left, top, min(width, x - side // 2 + side) - left, min(height, y - side // 2 + side) - top
