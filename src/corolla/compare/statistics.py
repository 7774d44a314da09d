"""The statistics of a comparison: intervals over images, paired tests, a correction for many of them, confidence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Labels = NDArray[np.int64]
NUM_RESAMPLES = 2000
CHUNK = 250  # resamples at a time, which bounds the memory


def resample_weights(num_images: int, num_resamples: int, seed: int) -> NDArray[np.float32]:
    """Draw bootstrap samples, as the number of times that each holds each image.

    Returns resamples x images; rows sum to the number of images.
    """
    rng = np.random.default_rng(seed)
    even = np.full(num_images, 1 / num_images)
    return rng.multinomial(num_images, even, size=num_resamples).astype(np.float32)


def weighted_macro_f1(labels: Labels, predicted: Labels, weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the macro F1 of every row of `weights` (resamples x images), over the classes that it has an image of."""
    num_classes = int(max(labels.max(), predicted.max())) + 1
    one_hot = np.eye(num_classes, dtype=np.float32)
    true, said = one_hot[labels], one_hot[predicted]
    hit = true * said
    scores = []
    for first in range(0, len(weights), CHUNK):
        part = weights[first : first + CHUNK]
        # Whole numbers, which are exact; from here on in float64, which no version rounds otherwise where it is shown.
        support, claimed, correct = ((part @ each).astype(np.float64) for each in (true, said, hit))
        f1 = 2 * correct / np.maximum(support + claimed, 1)
        present = support > 0
        scores.append((f1 * present).sum(1) / present.sum(1))
    return np.concatenate(scores)


def interval(observed: float, values: NDArray[np.float64], *, lowest: float = 0.0) -> tuple[float, float]:
    """Return the 95 % percentile interval of bootstrap values, moved by their bias.

    In a resample a class has fewer different images than in truth, which lowers its macro F1 by a point or so
    (Efron and Tibshirani 1993, ch. 10 and 13). Moved back by that, an interval from few images could end beyond what a
    score can be; it ends there, at 1 or `lowest`, since no true value lies in the rest: its coverage stays the same.

    Args:
        lowest: that the score can be; -1 for a difference of two.
    """
    low, high = np.quantile(values, [0.025, 0.975]) - values.mean() + observed
    return max(lowest, float(low)), min(1.0, float(high))


def mcnemar(correct_a: NDArray[np.bool_], correct_b: NDArray[np.bool_]) -> float:
    """Return p of equal accuracy of two classifiers on the same images, exact (McNemar 1947; the binomial form)."""
    only_a, only_b = int((correct_a & ~correct_b).sum()), int((correct_b & ~correct_a).sum())
    return float(stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def bootstrap_p(differences: NDArray[np.float64]) -> float:
    """Return two-sided p of no difference: twice the fraction of resampled differences beyond 0.

    Args:
        differences: one a resample, with their bias taken off. One more is counted, so that p is never 0.
    """
    below, above = int((differences <= 0).sum()), int((differences >= 0).sum())
    return min(1.0, 2 * (min(below, above) + 1) / (len(differences) + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for their number (Holm 1979): 0.05 then bounds the chance of even one false alarm."""
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    highest = 0.0
    for rank, which in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[which]))
        adjusted[which] = highest
    return adjusted.tolist()


@dataclass(frozen=True)
class Effect:
    """A difference of two means with its uncertainty."""

    value: float
    low: float
    high: float
    """95 % interval."""
    p: float
    """Two-sided p of no difference."""


def two_level(
    a: Sequence[float], b: Sequence[float], image_values: NDArray[np.float64], *, is_paired: bool = False
) -> Effect:
    """Return the difference of two recipes, from several seeds of each and a bootstrap over the images.

    Two independent sources of chance are added: between seeds (the pooled variance of `a` and `b`, with Student's t for
    their small number) and between images (the variance of `image_values`, the bootstrapped differences of the means).
    The degrees of freedom are Satterthwaite's. One seed on a side borrows the other's spread; with one on both sides
    only the images count, and the result is about these two networks, not about their recipes. The interval ends
    at -1 and 1, as in `interval`: three runs in all would give one far beyond.

    Args:
        is_paired: `a` and `b` are of the same seeds, one by one, and have networks in common: what counts between seeds
            is the variance of their differences.
    """
    value = float(np.mean(a) - np.mean(b))
    image_variance = float(np.var(image_values, ddof=1)) if len(image_values) > 1 else 0.0
    pairs = zip(a, b, strict=is_paired)
    sides = [np.array([one - other for one, other in pairs])] if is_paired else [np.asarray(a), np.asarray(b)]
    freedom = sum(len(side) - 1 for side in sides)
    seed_variance = 0.0
    if freedom > 0:
        spread = sum(float(np.sum((side - np.mean(side)) ** 2)) for side in sides) / freedom
        seed_variance = spread * sum(1 / len(side) for side in sides)
    variance = image_variance + seed_variance
    if variance == 0:
        return Effect(value, value, value, 1.0 if value == 0 else 0.0)
    effective = freedom * variance**2 / seed_variance**2 if seed_variance > 0 else np.inf
    half = float(stats.t.ppf(0.975, effective)) * variance**0.5
    p = 2 * float(stats.t.sf(abs(value) / variance**0.5, effective))
    return Effect(value, max(-1.0, value - half), min(1.0, value + half), p)


@dataclass(frozen=True)
class Calibration:
    """The distance of confidence from accuracy, bin by bin; bins without images are left out."""

    confidence: list[float]
    """Mean of each bin, rising."""
    accuracy: list[float]
    count: list[int]
    """Number of images in each bin."""
    ece: float
    """Expected calibration error: the mean |accuracy - confidence|, weighted by count."""


def calibration(probabilities: NDArray[np.float32], labels: Labels, num_bins: int = 15) -> Calibration:
    """Return the reliability over `num_bins` equal bins of the highest probability (Guo et al. 2017, section 2).

    Args:
        probabilities: N x classes.
    """
    confidence = probabilities.max(1).astype(np.float64)
    correct = probabilities.argmax(1) == labels
    bins = np.minimum((confidence * num_bins).astype(int), num_bins - 1)
    rows = [(confidence[bins == b].mean(), correct[bins == b].mean(), int((bins == b).sum())) for b in np.unique(bins)]
    means, accuracies, counts = (list(column) for column in zip(*rows, strict=True))
    error = sum(n * abs(hit - sure) for sure, hit, n in rows) / len(labels)
    return Calibration([float(m) for m in means], [float(a) for a in accuracies], counts, float(error))


def most_confident(probabilities: NDArray[np.float32], rows: NDArray[np.intp]) -> list[int]:
    """Return `rows` of `probabilities` (N x classes), sorted by falling confidence."""
    return rows[np.argsort(-probabilities[rows].max(1), kind="stable")].tolist()


def confident_mistakes(probabilities: NDArray[np.float32], labels: Labels) -> list[int]:
    """Return the rows of `probabilities` (N x classes) that are wrong, the most confident first."""
    return most_confident(probabilities, np.flatnonzero(probabilities.argmax(1) != labels))
