"""Random crops for training, in a photo's own pixels."""

import math

import numpy as np

from corolla.data.dataset import Box


def resnet_crop(width: int, height: int, *, sides: tuple[int, int], size: int, rng: np.random.Generator) -> Box:
    """Draw the crop of the ResNet paper (He et al. 2015, section 3.4), in the photo's own pixels.

    The paper resizes the shorter side to a length drawn from [256, 480] and takes a 224 crop at a random place. Here
    the crop is cut out first and only it is resized, which costs a fraction; its side is rounded to whole pixels.
    """
    low, high = (round(side * size / 224) for side in sides)
    shorter = max(size, int(rng.integers(low, high, endpoint=True)))
    side = min(width, height, max(1, round(size * min(width, height) / shorter)))
    return (*(int(rng.integers(0, room, endpoint=True)) for room in (width - side, height - side)), side, side)  # pyright: ignore[reportReturnType]


def random_resized_crop(
    width: int, height: int, *, area: tuple[float, float], aspect: tuple[float, float], rng: np.random.Generator
) -> Box:
    """Draw a box of random area and aspect (Szegedy et al. 2015, section 6), as torchvision does.

    Ten tries; where none fits, the largest central box of an allowed aspect.
    """
    box = fitting_box(width, height, area=area, aspect=aspect, rng=rng)
    if box is not None:
        return box
    ratio = min(max(width / height, aspect[0]), aspect[1])
    w, h = min(width, round(height * ratio)), min(height, round(width / ratio))
    return (width - w) // 2, (height - h) // 2, w, h


def fitting_box(
    width: int, height: int, *, area: tuple[float, float], aspect: tuple[float, float], rng: np.random.Generator
) -> Box | None:
    """Draw a box of random area (uniform) and aspect (log-uniform) somewhere inside; None if none of ten fits."""
    low, high = math.log(aspect[0]), math.log(aspect[1])
    for _ in range(10):
        target = width * height * rng.uniform(*area)
        ratio = math.exp(rng.uniform(low, high))
        w, h = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = rng.integers(0, width - w, endpoint=True), rng.integers(0, height - h, endpoint=True)
            return int(left), int(top), w, h
    return None
