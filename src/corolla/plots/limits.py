"""Where the axis of a loss ends, so that one wild epoch does not flatten all the rest."""

import math
from collections.abc import Iterable, Sequence

QUANTILE = 0.75
ROOM = 3.0
"""The axis may go beyond the upper quartile by so many times the distance from the lowest value up to there."""
ABOVE_TRAIN = 1.3
"""It goes at least to this many times the largest training loss, so that the start of a long run is seen."""
ORDINARY = 10.0
"""A training loss (nats) that is never wild: guessing among 20,000 classes has it."""


def axis_end(train: Iterable[float], val: Iterable[float]) -> tuple[float, int]:
    """Return where the axis from 0 of losses on train and val ends, and how many of them lie beyond it.

    Before batch norm's averages have settled, the loss on val may be in the millions, while the one on train says how
    far an axis has to go. Values that are not finite lie beyond it.
    """
    learned, everything = _finite(train := list(train)), _finite([*train, *(val := list(val))])
    number = len(train) + len(val)
    if not everything:
        return 1.0, number
    tame = [value for value in learned if value <= max(ORDINARY, ROOM * _quartile(learned))]
    room = _quartile(everything) + ROOM * (_quartile(everything) - everything[0])
    farthest = max(room, ABOVE_TRAIN * max(tame, default=0.0))
    shown = [value for value in everything if value <= farthest]
    return 1.05 * shown[-1] or 1.0, number - len(shown)


def _finite(values: Iterable[float]) -> list[float]:
    return sorted(value for value in values if math.isfinite(value))


def _quartile(values: Sequence[float]) -> float:
    """Return the upper quartile of sorted values: one that is there, so that of few no wild one is mixed into it."""
    return values[round(QUANTILE * (len(values) - 1))]


def beyond(num_points: int) -> str:
    """Return what a figure says of points beyond its axis; nothing where there are none."""
    return "" if not num_points else f"{num_points} point{'s' * (num_points != 1)} beyond the axis"
