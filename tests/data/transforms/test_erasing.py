"""Random erasing and cutout: what they paint, and that nothing else is drawn otherwise because of them."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from corolla.config import AugmentConfig
from corolla.data.statistics import ColorStatistics
from corolla.data.transforms.train import TrainTransform

STATISTICS = ColorStatistics(
    mean=(0.45, 0.41, 0.31),
    std=(0.28, 0.24, 0.27),
    eigenvalues=(0.16, 0.04, 0.01),
    eigenvectors=((0.6, -0.8, 0.0), (0.8, 0.6, 0.0), (0.0, 0.0, 1.0)),
)
MEAN = (115, 105, 79)
PHOTO = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
AUGMENT = AugmentConfig(crop="random-resized", area=(0.3, 1.0), color=True)


def seen(seed: int, **settings: Any) -> np.ndarray:
    config = dataclasses.replace(AUGMENT, **settings)
    return TrainTransform(config, 32, statistics=STATISTICS)(PHOTO, np.random.default_rng(seed))


def painted(seed: int, **settings: Any) -> np.ndarray:
    """Which pixels differ from those without."""
    return (seen(seed, **settings) != seen(seed)).any(-1)


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    """top, bottom, left, right of what is set, which is a rectangle but for pixels that happen to be alike."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    assert mask[box[0] : box[1], box[2] : box[3]].mean() > 0.98
    return box


def test_off_changes_nothing() -> None:
    assert not any(painted(seed, erase=0.0, cutout=0.0, erase_area=(0.5, 0.9)).any() for seed in range(5))


def test_erasing_paints_a_rectangle_of_its_area_in_its_share_of_images() -> None:
    """Everything outside of it, crop, mirror and colour, is as it was."""
    masks = [painted(seed, erase=0.5, erase_area=(0.1, 0.3)) for seed in range(200)]
    erased = [mask for mask in masks if mask.any()]
    assert 75 < len(erased) < 125
    for mask in erased:
        top, bottom, left, right = box_of(mask)
        assert 0.07 < (bottom - top) * (right - left) / 32**2 < 0.34  # sides are whole pixels
        assert 0.25 < (right - left) / (bottom - top) < 4
    assert len({box_of(mask) for mask in erased}) > 0.9 * len(erased)


def test_what_fits_nowhere_is_left_out() -> None:
    """Few rectangles of a random aspect and 90 % of a square's area fit into it."""
    shares = [painted(seed, erase=1.0, erase_area=(0.9, 0.9)).mean() for seed in range(100)]
    assert min(shares) == 0
    assert max(shares) < 0.97


@pytest.mark.parametrize("fill", ["noise", "mean"])
def test_what_is_painted(fill: str) -> None:
    image, mask = (
        seen(3, erase=1.0, erase_area=(0.2, 0.3), erase_fill=fill),
        painted(3, erase=1.0, erase_area=(0.2, 0.3)),
    )
    top, bottom, left, right = box_of(mask)
    inside = image[top:bottom, left:right].reshape(-1, 3)
    assert len(np.unique(inside, axis=0)) == (1 if fill == "mean" else len(inside))
    if fill == "mean":
        assert tuple(inside[0]) == MEAN


def test_cutout_is_a_square_whose_centre_is_anywhere() -> None:
    corners = 0
    centres = []
    for seed in range(300):
        image = seen(seed, cutout=0.5)
        mask = (image == MEAN).all(-1)
        top, bottom, left, right = box_of(mask & (image != seen(seed)).any(-1))
        assert max(bottom - top, right - left) <= 16
        corners += bottom - top < 16 and right - left < 16
        if bottom - top == right - left == 16:
            centres.append((top, left))
    assert 0 < corners < 150
    assert {top for top, _ in centres} == set(range(17))  # all places inside


def test_both_at_once_leave_each_other_alone() -> None:
    both, erased = seen(5, erase=1.0, cutout=0.3), seen(5, erase=1.0)
    changed = (both != erased).any(-1)
    assert (both[changed] == MEAN).all()
    assert 0 < changed.sum() <= 100
