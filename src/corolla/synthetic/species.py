"""The traits that tell the drawn flowers apart, eight for each class, and the shapes that follow from them.

The 104 classes are words of a Reed-Solomon code modulo 11: each trait has eleven values, and two classes agree in at
most one of the eight. So no trait alone tells a class, and rare classes lie as far apart as common ones. The names of
the classes are labels only: nothing here knows what a sunflower looks like.
"""

import functools
import itertools
import math
from typing import NamedTuple

import numpy as np

PRIME = 11
TRAITS = 8
Points = np.ndarray  # float64 (n, 2)


class Centre(NamedTuple):
    """The middle of a bloom; lengths are fractions of its radius, zero for parts it lacks."""

    disc: float = 0.0
    core: float = 0.0
    rays: int = 0
    reach: float = 0.0  # of the rays, or of the ring of dots
    width: float = 0.0
    dots: int = 0
    dot: float = 0.0
    hue: float = 0.13


PETALS = (5, 8, 3, 12, 6, 20, 4, 10, 7, 16, 5)
# Half of a petal's outline from base to tip: (distance along it, half its width), both in 0..1.
OUTLINES = (
    ((0, 0.2), (0.3, 0.8), (0.6, 1), (0.85, 0.85), (0.97, 0.4), (1, 0)),  # round
    ((0, 0.2), (0.3, 0.65), (0.5, 0.75), (0.8, 0.35), (1, 0)),  # pointed
    ((0, 0.15), (0.35, 0.55), (0.7, 1), (0.93, 0.85), (1, 0.5), (0.72, 0)),  # heart
    ((0, 0.45), (0.3, 0.5), (0.7, 0.5), (0.97, 0.45), (1, 0)),  # strap
    ((0, 0.1), (0.4, 0.1), (0.6, 0.35), (0.75, 0.8), (0.9, 0.75), (1, 0.3), (1, 0)),  # spoon
    ((0, 0.9), (0.3, 0.6), (0.6, 0.35), (1, 0)),  # spike
    ((0, 0.2), (0.6, 0.9), (0.95, 0.95), (0.78, 0.6), (1, 0.45), (0.8, 0.2), (1, 0)),  # toothed
    ((0, 0.2), (0.2, 0.8), (0.35, 0.4), (0.5, 1), (0.65, 0.5), (0.8, 0.9), (0.95, 0.3), (1, 0)),  # wavy
    ((0, 0.2), (0.25, 0.5), (0.6, 0.75), (0.85, 0.6), (1, 0)),  # pinwheel
    ((0, 0.3), (0.45, 0.25), (0.5, 0.5), (0.55, 1), (0.75, 0.7), (1, 0)),  # arrow
    ((0, 0.12), (0.45, 0.3), (0.93, 1), (1, 0.9), (1, 0)),  # fan
)
BENDS = (*(0.0,) * 8, 1.1, 0.0, 0.0)  # radians at the tip, for the pinwheel
# How many whorls of petals, and the size of each against the one outside it.
WHORLS = ((1, 1), (2, 0.6), (1, 1), (3, 0.7), (2, 0.78), (1, 1), (2, 0.5), (1, 1), (3, 0.62), (2, 0.7), (1, 1))
# Bands on a petal: (from, to) along it in 0..1, (left, right) across it in -1..1.
MARKS = (
    (),
    ((0.1, 0.85, -0.65, -0.4), (0.05, 0.95, -0.12, 0.12), (0.1, 0.85, 0.4, 0.65)),  # stripes
    ((0.28, 0.4, -1, 1), (0.53, 0.65, -1, 1), (0.78, 0.88, -1, 1)),  # bars
    ((0.35, 0.47, -0.5, -0.1), (0.5, 0.62, 0.1, 0.5), (0.65, 0.77, -0.5, -0.1), (0.8, 0.9, 0, 0.4)),  # freckles
    ((0.1, 0.82, -0.62, 0.62),),  # field within a rim
    ((0, 0.48, -1, 1),),  # blotch
    ((0.7, 1, -1, 1),),  # tip
    ((0, 0.97, -0.24, 0.24),),  # midrib
    ((0, 0.95, 0, 1),),  # one half
    ((0.5, 0.75, -0.5, 0.5),),  # eye
    ((0.2, 0.9, -1, -0.62), (0.2, 0.9, 0.62, 1)),  # margins
)
# A mark's colour: hue against the petal's, saturation, value.
TONES = ((0, 1, 0.35), (0, 0.1, 1), (0.5, 0.8, 0.4), (0.3, 0.8, 1), (-0.2, 0.9, 0.5), (0, 0, 0.1), (0.15, 0.9, 0.9))
TONES = (*TONES, (0.5, 0.6, 1), (-0.3, 0.8, 0.9), (0.2, 0.9, 0.35), (0, 0.1, 1))
CENTRES = (
    Centre(disc=0.2, hue=0.2),
    Centre(disc=0.38, dots=30, dot=0.03),  # seeds
    Centre(disc=0.34, core=0.2, hue=0.1),
    Centre(rays=5, reach=0.46, width=0.13, disc=0.1, hue=0.3),  # star
    Centre(rays=9, reach=0.5, width=0.018, dots=9, dot=0.06, hue=0.05),  # stamens
    Centre(core=0.3),  # dark eye
    Centre(rays=14, reach=0.42, width=0.1, disc=0.36, core=0.24, hue=0.09),  # trumpet
    Centre(rays=4, reach=0.4, width=0.09, hue=0.35),  # cross
    Centre(rays=24, reach=0.3, width=0.03, disc=0.08),  # tuft
    Centre(dots=3, dot=0.15, reach=0.15, hue=0.98),
    Centre(dots=8, dot=0.07, reach=0.32, disc=0.1, hue=0.6),  # beads
)
SOLO = ((0.0, 0.0, 0.42),)
PAIR = ((-0.2, -0.13, 0.3), (0.2, 0.15, 0.3))
TRIO = ((-0.22, 0.14, 0.26), (0.22, 0.16, 0.26), (0.0, -0.2, 0.26))
SPIKE = tuple((0.07 * (-1) ** i, 0.34 - 0.22 * i, 0.22 - 0.02 * i) for i in range(4))
UMBEL = (
    *((0.25 * math.cos(i * math.pi / 3), 0.25 * math.sin(i * math.pi / 3), 0.19) for i in range(6)),
    (0.0, 0.0, 0.19),
)
# The blooms of a plant: (x, y, radius) about its middle, in fractions of the photo's side.
HABITS = (SOLO, TRIO, SOLO, SPIKE, PAIR, SOLO, UMBEL, SOLO, PAIR, TRIO, SOLO)
# Hue, saturation, value of the petals: one of two, nearly opposite, so that a class has no mean colour to know it by.
COLOURS = tuple(
    ((hue, saturation, 0.97), (hue + 0.55, saturation, 0.97))
    for hue, saturation in itertools.islice(itertools.product((0.98, 0.05, 0.1, 0.16), (0.85, 0.5, 0.15)), PRIME)
)


class Species(NamedTuple):
    """A class's traits as the drawing needs them."""

    petals: int
    petal: list[Points]  # of length 1 along x: edge, blade, then the marks
    bend: float
    whorls: tuple[int, float]
    tone: tuple[float, float, float]
    centre: Centre
    habit: tuple[tuple[float, float, float], ...]
    colours: tuple[tuple[float, float, float], ...]


def traits(label: int) -> tuple[int, ...]:
    """Return a class's code word: the values, 0..10, of its eight traits."""
    constant, slope = divmod(label, PRIME)
    return tuple((constant + slope + slope * place) % PRIME for place in range(TRAITS))


@functools.cache
def species(label: int) -> Species:
    """Return the traits of a class as the drawing needs them."""
    petals, outline, whorls, mark, centre, habit, colours, tone = traits(label)
    return Species(
        petals=PETALS[petals],
        petal=_petal(OUTLINES[outline], MARKS[mark], PETALS[petals]),
        bend=BENDS[outline],
        whorls=WHORLS[whorls],
        tone=TONES[tone],
        centre=CENTRES[centre],
        habit=HABITS[habit],
        colours=COLOURS[colours],
    )


def rotation(angle: float) -> np.ndarray:
    """Return the matrix that turns column vectors by an angle in radians."""
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def _petal(
    outline: tuple[tuple[float, float], ...], marks: tuple[tuple[float, float, float, float], ...], petals: int
) -> list[Points]:
    along, width = np.array(outline, float).T
    width = width * min(0.5, 1.15 * math.tan(math.pi / petals))  # neighbours overlap a little
    side = np.stack([along, width], 1)
    near, far = 0.75 * side[:-1] + 0.25 * side[1:], 0.25 * side[:-1] + 0.75 * side[1:]
    side = np.concatenate([side[:1], np.stack([near, far], 1).reshape(-1, 2), side[-1:]])  # Chaikin's corner cutting
    edge = np.concatenate([side, side[::-1] * (1, -1)])
    blade = (edge - (0.5, 0)) * (0.93, 0.84) + (0.5, 0)
    bands = []
    for start, stop, left, right in marks:
        t = np.linspace(start, stop, 7)
        w = np.interp(t, np.maximum.accumulate(along), width) * 0.84
        bands.append(np.concatenate([np.stack([t, w * left], 1), np.stack([t, w * right], 1)[::-1]]))
    return [edge, blade, *bands]
