"""Where the axis of a loss ends, so that one wild epoch does not flatten all the rest."""

import math
from collections.abc import Iterable

QUANTILE = 0.75
ROOM = 6.0
"""Three quarters of the points may not be pressed into less than the lowest sixth of the axis."""


def axis_end(values: Iterable[float]) -> tuple[float, int]:
    """Return where an axis from 0 ends, and how many of the `values` lie beyond it.

    Before batch norm's averages have settled, the loss on val may be in the millions. The axis ends above the largest
    value that is no more than ROOM times the upper quartile; values that are not finite lie beyond it.
    """
    everything = list(values)
    finite = sorted(value for value in everything if math.isfinite(value))
    if not finite:
        return 1.0, len(everything)
    quartile = finite[int(QUANTILE * (len(finite) - 1))]  # a value that is there: of few, none wild is mixed into it
    shown = [value for value in finite if value <= ROOM * quartile] or finite[:1]
    return 1.05 * shown[-1] or 1.0, len(everything) - len(shown)


def beyond(num_points: int) -> str:
    """Return what a figure says of points beyond its axis; nothing where there are none."""
    return "" if not num_points else f"{num_points} point{'s' * (num_points != 1)} beyond the axis"
