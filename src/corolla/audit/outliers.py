"""Outliers: photos unlike a photo of a flower; and class imbalance: classes with few photos or many."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corolla.data.survey import Survey

TINY = 32  # pixels: the networks' strides leave one number of it
GREY = 0.02  # mean of max - min over the channels, of 1
FLAT = 0.03  # standard deviation of the grey level, of 1
DARK, BRIGHT = 0.06, 0.94  # mean grey level, of 1
FEW = 10  # training photos below which a class can hardly be learned

CHECKS: dict[str, Callable[[Survey], NDArray[np.bool_]]] = {
    "not square": lambda photos: photos.width != photos.height,
    "tiny": lambda photos: np.minimum(photos.width, photos.height) < TINY,
    "nearly constant": lambda photos: photos.contrast < FLAT,
    "grey": lambda photos: (photos.colour < GREY) & (photos.contrast >= FLAT),
    "very dark": lambda photos: photos.brightness < DARK,
    "very bright": lambda photos: photos.brightness > BRIGHT,
}


@dataclass(frozen=True)
class Outlier:
    """A photo of a survey, by its number in it, and every check that it stands out by."""

    photo: int
    reasons: tuple[str, ...]


def find_outliers(photos: Survey) -> list[Outlier]:
    """Return the photos that one of CHECKS applies to, in the survey's order."""
    marks = {reason: check(photos) for reason, check in CHECKS.items()}
    numbers = np.flatnonzero(np.any(list(marks.values()), axis=0))
    return [Outlier(int(i), tuple(reason for reason, mark in marks.items() if mark[i])) for i in numbers]


@dataclass(frozen=True, eq=False)
class ClassBalance:
    """The number of photos of each class in each split, and how unequal the numbers are."""

    counts: dict[str, NDArray[np.int64]]
    """Split → photos of each class (C); labelled splits alone."""
    class_names: tuple[str, ...]

    @property
    def ratio(self) -> float:
        """Largest to smallest class of train that has photos; 1 where there is no train."""
        there = self.counts.get("train", np.ones(1, np.int64))
        there = there[there > 0]
        return float(there.max() / there.min()) if len(there) else 1.0

    @property
    def few(self) -> list[int]:
        """Classes with fewer than FEW photos in train."""
        return np.flatnonzero(self.counts.get("train", np.full(len(self.class_names), FEW)) < FEW).tolist()

    @property
    def val_shares(self) -> NDArray[np.float64]:
        """Val's part of the photos of train and val for each class (C); NaN where a class has neither."""
        train, val = (self.counts.get(name, np.zeros(len(self.class_names), np.int64)) for name in ("train", "val"))
        return np.divide(val, train + val, out=np.full(len(train), np.nan), where=train + val > 0)

    @property
    def divergence(self) -> float:
        """Kullback-Leibler divergence of val's classes from train's in nats, one photo added to each class of both.

        NaN where one of the splits is missing.
        """
        if not {"train", "val"} <= self.counts.keys():
            return float("nan")
        train, val = ((self.counts[name] + 1) / (self.counts[name] + 1).sum() for name in ("train", "val"))
        return float((val * np.log(val / train)).sum())


def class_balance(photos: Survey) -> ClassBalance:
    """Count the labelled photos of each split."""
    names = photos.index.class_names
    counts = {}
    for split in dict.fromkeys(photos.split.tolist()):
        labels = photos.label[(photos.split == split) & (photos.label >= 0)]
        if len(labels):
            counts[split] = np.bincount(labels, minlength=len(names))
    return ClassBalance(counts, names)
