"""RandAugment and TrivialAugment: operations on a whole image, drawn for each photo.

Both have the same fourteen operations, one of which leaves the image as it is, and differ in how they draw the strength
and in how far it goes. Sets, ranges and signs are those of torchvision (transforms.RandAugment and TrivialAugmentWide),
the reference here: RandAugment's are the paper's table, TrivialAugment's the paper's wide space. Images are sheared,
moved and turned with bilinear interpolation; what comes in from outside has the data set's mean colour. Pillow carries
the operations out, without random numbers of its own.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageEnhance, ImageOps

from corolla.config import AugmentConfig
from corolla.data.decode import Image

NUM_LEVELS = 30
"""The full strength on the scale of the RandAugment paper; TrivialAugment draws one of 0, 1, ..., 30."""
TRANSLATION = 150 / 331
"""RandAugment's farthest translation, as a share of the side: AutoAugment's 150 pixels of its 331."""


class Range(NamedTuple):
    """How far an operation goes at full strength; 0: it has no strength."""

    rand: float
    """In RandAugment."""
    trivial: float
    """In TrivialAugment, wide."""
    is_signed: bool = True
    """The direction is drawn too."""


RANGES = {
    "identity": Range(0, 0, is_signed=False),
    "shear-x": Range(0.3, 0.99),  # pixels along the one axis per pixel of the other
    "shear-y": Range(0.3, 0.99),
    "translate-x": Range(TRANSLATION, 32),  # RandAugment a share of the side, TrivialAugment pixels
    "translate-y": Range(TRANSLATION, 32),
    "rotate": Range(30, 135),  # degrees, counterclockwise
    "brightness": Range(0.9, 0.99),  # added to a factor of 1, as the next three are
    "color": Range(0.9, 0.99),
    "contrast": Range(0.9, 0.99),
    "sharpness": Range(0.9, 0.99),
    "posterize": Range(4, 6, is_signed=False),  # bits that are left out
    "solarize": Range(255, 255, is_signed=False),  # grey levels below 255 from which on pixels are inverted
    "autocontrast": Range(0, 0, is_signed=False),
    "equalize": Range(0, 0, is_signed=False),
}
NAMES = tuple(RANGES)


class Operation(NamedTuple):
    """An operation as it was drawn."""

    name: str
    magnitude: float
    """In the unit of the operation (RANGES), translations in pixels."""


def draw_operations(config: AugmentConfig, size: int, rng: np.random.Generator) -> tuple[Operation, ...]:
    """Draw the operations on an image of `size` x `size`, in their order; none where they are switched off.

    RandAugment draws N of them, each with the same strength (Cubuk et al. 2020, section 3); TrivialAugment one, and
    its strength (Müller and Hutter 2021, algorithm 1).
    """
    if config.trivial_augment:
        name = NAMES[rng.integers(len(NAMES))]
        far = RANGES[name].trivial * int(rng.integers(NUM_LEVELS + 1)) / NUM_LEVELS
        return (_signed(name, far, rng),)
    drawn = []
    for _ in range(config.rand_augment):
        name = NAMES[rng.integers(len(NAMES))]
        far = RANGES[name].rand * config.rand_augment_magnitude / NUM_LEVELS
        drawn.append(_signed(name, far * size if name.startswith("translate") else far, rng))
    return tuple(drawn)


def _signed(name: str, magnitude: float, rng: np.random.Generator) -> Operation:
    is_turned = RANGES[name].is_signed and bool(rng.random() < 0.5)
    return Operation(name, -magnitude if is_turned else magnitude)


def apply_operations(image: Image, operations: Sequence[Operation], fill: Image) -> None:
    """Apply operations to an image (H x W x 3, uint8) in place.

    Args:
        fill: the colour (3, uint8) of what comes in from outside.
    """
    colour = (int(fill[0]), int(fill[1]), int(fill[2]))
    changed = PillowImage.fromarray(image)
    for name, magnitude in operations:
        changed = _APPLY[name](changed, magnitude, colour)
    image[...] = np.asarray(changed)


Colour = tuple[int, int, int]
Change = Callable[[PillowImage.Image, float, Colour], PillowImage.Image]
BILINEAR = PillowImage.Resampling.BILINEAR


def _move(image: PillowImage.Image, matrix: tuple[float, ...], fill: Colour) -> PillowImage.Image:
    """Return the image of which each pixel (x, y) was at (a x + b y + c, d x + e y + f) of the one before."""
    return image.transform(image.size, PillowImage.Transform.AFFINE, matrix, BILINEAR, fillcolor=fill)


_APPLY: dict[str, Change] = {
    "identity": lambda image, _, __: image,
    "shear-x": lambda image, slope, fill: _move(image, (1, slope, 0, 0, 1, 0), fill),
    "shear-y": lambda image, slope, fill: _move(image, (1, 0, 0, slope, 1, 0), fill),
    "translate-x": lambda image, far, fill: _move(image, (1, 0, -int(far), 0, 1, 0), fill),
    "translate-y": lambda image, far, fill: _move(image, (1, 0, 0, 0, 1, -int(far)), fill),
    "rotate": lambda image, angle, fill: image.rotate(angle, BILINEAR, fillcolor=fill),
    "brightness": lambda image, more, _: ImageEnhance.Brightness(image).enhance(1 + more),
    "color": lambda image, more, _: ImageEnhance.Color(image).enhance(1 + more),
    "contrast": lambda image, more, _: ImageEnhance.Contrast(image).enhance(1 + more),
    "sharpness": lambda image, more, _: ImageEnhance.Sharpness(image).enhance(1 + more),
    "posterize": lambda image, bits, _: ImageOps.posterize(image, 8 - round(bits)),
    "solarize": lambda image, levels, _: ImageOps.solarize(image, 255 - levels),  # pyright: ignore[reportArgumentType] - a float is compared
    "autocontrast": lambda image, _, __: ImageOps.autocontrast(image),
    "equalize": lambda image, _, __: ImageOps.equalize(image),
}
