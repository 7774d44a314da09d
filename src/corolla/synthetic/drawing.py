"""Draw flowers with code: a photo is a function of its class and a random generator."""

import colorsys
import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from corolla.synthetic.species import Centre, Points, Species, rotation, species

SHIFT = 4  # OpenCV takes points in fixed point: in sixteenths of a pixel
GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
DISC = np.stack([np.cos(np.arange(14) * math.pi / 7), np.sin(np.arange(14) * math.pi / 7)], 1)
Colour = np.ndarray  # float64 RGB in 0..255, may lie outside until it is drawn

cv2.setNumThreads(0)  # photos are spread over processes, and OpenCV's threads would compete with them


class Foliage(NamedTuple):
    """The leaves of a plant, which say nothing about its class; length in photo sides, width relative to length."""

    most: int
    length: float
    width: float
    pairs: int = 0  # of leaflets
    upright: bool = False


FOLIAGE = (
    Foliage(3, 0.4, 0.22),
    Foliage(6, 0.7, 0.03, upright=True),  # grass
    Foliage(3, 0.7, 0.1, upright=True),  # swords
    Foliage(3, 0.5, 0.3, pairs=5),  # fronds
    Foliage(3, 0.25, 0.7, pairs=1),  # clover
)


def draw_photo(label: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a photo of a class: uint8 (size, size, 3) RGB. One generator state gives one scene at every size."""
    side = size * 2 if size <= 128 else size  # small photos are drawn at twice their size and averaged
    kind = species(label)
    canvas = _background(side, rng)
    middle, zoom, turn = rng.uniform(0.33, 0.67, 2), rng.uniform(1.2, 1.6), rotation(rng.normal(0, 0.35))
    places = [middle + turn @ (x, y) * zoom for x, y, _ in kind.habit]
    radii = [radius * zoom * rng.uniform(0.9, 1.1) for _, _, radius in kind.habit]
    _greenery(canvas, places, rng)
    bloom = _bloom(kind, round(2 * side * max(radii)), rng)
    for place, radius in zip(places, radii, strict=True):
        _paste(canvas, bloom, place * side, radius * side, rng)
    if rng.random() < 0.1:  # partly hidden
        _leaf(canvas, FOLIAGE[0], _green(rng), rng)
    return _light(cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA), rng)


def _rgb(hue: float, saturation: float, value: float) -> Colour:
    return 255 * np.array(colorsys.hsv_to_rgb(hue % 1, min(max(saturation, 0), 1), min(max(value, 0), 1)))


def _green(rng: np.random.Generator) -> Colour:
    return _rgb(rng.uniform(0.2, 0.42), rng.uniform(0.45, 0.85), rng.uniform(0.25, 0.65))


def _fill(image: np.ndarray, polygons: Sequence[Points], colour: Colour) -> None:
    """Fill polygons, given in pixels, that don't overlap each other."""
    fixed = [(polygon * (1 << SHIFT)).astype(np.int32) for polygon in polygons]
    red, green, blue = (min(max(value, 0), 255) for value in colour.tolist())
    cv2.fillPoly(image, fixed, (red, green, blue, 255), cv2.LINE_AA, SHIFT)


def _background(side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a ground out of focus: patches of two or three colours, at times discs of light; uint8 (side, side, 3)."""
    hues = rng.choice([0.3, 0.33, 0.36, 0.08, 0.58, rng.random()], 3)
    colours = [_rgb(hue + rng.normal(0, 0.03), rng.uniform(0.1, 0.6), rng.uniform(0.05, 0.45)) for hue in hues]
    cells = int(rng.integers(2, 5))
    patches = rng.dirichlet((0.6, 0.6, 0.6), (cells, cells)) @ colours
    canvas = cv2.resize(patches.astype(np.uint8), (side, side), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.3:
        for x, y, radius, gain in rng.uniform((0, 0, 0.02, 1.1), (1, 1, 0.09, 1.7), (8, 4)):
            _fill(canvas, [((x, y) + radius * DISC) * side], canvas[int(y * side), int(x * side)] * gain + 10)
    return canvas


def _greenery(canvas: np.ndarray, places: list[np.ndarray], rng: np.random.Generator) -> None:
    """Draw leaves, and stems from the foot of the photo to the blooms."""
    side = len(canvas)
    green, foliage = _green(rng), FOLIAGE[rng.integers(len(FOLIAGE))]
    for _ in range(rng.integers(foliage.most + 1)):
        _leaf(canvas, foliage, green * rng.uniform(0.7, 1.3), rng)
    foot = np.array([rng.uniform(0.3, 0.7), 1.1])
    for place in places:
        bow = (place + foot) / 2 + rng.normal(0, 0.05, 2)
        stem = np.rint(np.stack([place, (place + bow) / 2, bow, foot]) * side).astype(np.int32)
        cv2.polylines(canvas, [stem], False, np.clip(green, 0, 255).tolist(), max(1, side // 48), cv2.LINE_AA)


def _leaf(canvas: np.ndarray, foliage: Foliage, green: Colour, rng: np.random.Generator) -> None:
    if foliage.upright:
        base, angle = rng.uniform((0, 0.8), (1, 1.2)), rng.normal(-math.pi / 2, 0.25)
    else:
        base, angle = rng.uniform((0, 0), (1, 1.1)), rng.uniform(0, 2 * math.pi)
    turn = rotation(angle).T * (foliage.length * rng.uniform(0.8, 1.1) * len(canvas))
    for parts, shade in zip(_leaf_parts(foliage), (1.15, 0.8), strict=True):
        for part in parts:
            _fill(canvas, [base * len(canvas) + part @ turn], green * shade)


@functools.cache
def _leaf_parts(foliage: Foliage) -> tuple[list[Points], list[Points]]:
    """Return a leaf of length 1 along x: its sunlit parts, its shaded parts."""
    t = np.linspace(0, 1, 9)
    side = np.stack([t, foliage.width * np.sin(math.pi * t**0.8)], 1)
    spine = np.stack([t[::-1], 0 * t], 1)
    halves = np.concatenate([side, spine]), np.concatenate([side * (1, -1), spine])
    if not foliage.pairs:
        return [halves[0]], [halves[1]]
    stalk = np.array([(0, 0), (1, 0), (1, 0.012), (0, 0.012)])
    parts = [stalk], [stalk * (1, -1)]
    for pair, at in enumerate(np.linspace(0.2, 0.8, foliage.pairs + 1)):
        length = 1.3 / (foliage.pairs + 1.5) * (1.2 - 0.5 * pair / foliage.pairs)
        for angle in (0.0,) if pair == foliage.pairs else (-1.0, 1.0):
            for half, part in zip(halves, parts, strict=True):
                part.append(half @ rotation(angle).T * length + (at, 0))
    return parts


def _bloom(kind: Species, side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw one bloom seen from above: uint8 (side, side, 4), RGB with premultiplied alpha."""
    sprite = np.zeros((side, side, 4), np.uint8)
    hue, saturation, value = kind.colours[int(rng.random() < 0.5)]
    hue, saturation, value = hue + rng.normal(0, 0.025), saturation * rng.uniform(0.7, 1.1), value * rng.uniform(0.7, 1)
    shift, depth, level = kind.tone
    mark = _rgb(hue + shift + rng.normal(0, 0.02), depth, level * rng.uniform(0.8, 1))
    whorls, shrink = kind.whorls
    sun, bend = rng.uniform(0, 2 * math.pi), kind.bend * rng.choice([-1, 1])
    for whorl in range(whorls):
        angles = (np.arange(kind.petals) + whorl / 2) * 2 * math.pi / kind.petals
        angles += rng.normal(0, 0.25 / kind.petals, kind.petals)
        lengths = shrink**whorl * rng.uniform(0.9, 1, kind.petals)
        petal = _rgb(hue, saturation, value) * (1 + 0.12 * whorl)
        lights = 0.92 + 0.13 * np.cos(angles - sun)
        for parts, light in zip(_whorl(kind.petal, angles, lengths, bend, side), lights, strict=True):
            _fill(sprite, parts[:1], petal * light * 0.62)
            _fill(sprite, parts[1:2], petal * light)
            _fill(sprite, parts[2:], mark * light)
    _centre(sprite, kind.centre, rng)
    return sprite


def _whorl(petal: list[Points], angles: np.ndarray, lengths: np.ndarray, bend: float, side: int) -> list[list[Points]]:
    """Return the parts of every petal of a whorl, in pixels of the sprite."""
    x, y = np.concatenate(petal).T
    radius = np.hypot(x, y) * lengths[:, None] * (side / 2 * 0.98)
    angle = np.arctan2(y, x) + bend * x**2 + angles[:, None]
    points = side / 2 + np.stack([radius * np.cos(angle), radius * np.sin(angle)], 2)
    cuts = np.cumsum([len(part) for part in petal])[:-1]
    return [np.split(placed, cuts) for placed in points]


def _centre(sprite: np.ndarray, centre: Centre, rng: np.random.Generator) -> None:
    half = len(sprite) / 2
    warm = _rgb(centre.hue + rng.normal(0, 0.02), 0.8, rng.uniform(0.8, 1))
    dark = _rgb(rng.choice([0.07, 0.95, 0.75, 0.3]), 0.6, rng.uniform(0.12, 0.3))
    for angle in np.arange(centre.rays) * (2 * math.pi / max(centre.rays, 1)):
        taper = np.array([(0, 1), (centre.reach, 0.33), (centre.reach, -0.33), (0, -1)]) * (1, centre.width)
        _fill(sprite, [half + half * taper @ rotation(angle).T], warm)
    for radius, colour in ((centre.disc, warm * 0.88), (centre.core, dark)):
        if radius:
            _fill(sprite, [half + half * radius * DISC], colour)
    seeds = np.arange(centre.dots)
    if centre.reach:
        angles, radii, colour = seeds * (2 * math.pi / max(centre.dots, 1)), np.full(centre.dots, centre.reach), warm
    else:  # the spiral of a sunflower
        angles, radii, colour = seeds * GOLDEN_ANGLE, centre.disc * np.sqrt((seeds + 0.5) / max(centre.dots, 1)), dark
    for angle, radius in zip(angles, radii, strict=True):
        dot = radius * np.array([math.cos(angle), math.sin(angle)]) + centre.dot * DISC
        _fill(sprite, [half + half * dot], colour)


def _paste(canvas: np.ndarray, sprite: np.ndarray, place: np.ndarray, radius: float, rng: np.random.Generator) -> None:
    """Lay a bloom on the canvas, turned and tilted, over its own soft shadow. `place` and `radius` are in pixels."""
    turn, lean = rotation(rng.uniform(0, 2 * math.pi)), rotation(rng.uniform(0, math.pi))
    tilt, gain = rng.uniform(0.86, 1), rng.uniform(0.9, 1.1)
    left, top = np.maximum(np.floor(place - 1.15 * radius), 0).astype(int)
    right, bottom = np.minimum(np.ceil(place + 1.15 * radius), len(canvas)).astype(int)
    if left >= right or top >= bottom:
        return  # out of sight
    linear = lean @ np.diag([1, tilt]) @ turn * (2 * radius / len(sprite))
    shift = place - (left, top) - linear @ np.full(2, len(sprite) / 2)
    matrix = np.concatenate([linear, shift[:, None]], 1)
    bloom = cv2.warpAffine(sprite, matrix, (int(right - left), int(bottom - top)), flags=cv2.INTER_LINEAR)
    alpha = bloom[..., 3].astype(np.float32) / 255
    width = max(3, int(radius / 4) | 1)
    # The anchor at a corner moves the blurred shadow down and to the right.
    shadow = cv2.blur(alpha, (width, width), anchor=(width - 1, width - 1), borderType=cv2.BORDER_CONSTANT)
    under = canvas[top:bottom, left:right] * ((1 - 0.5 * shadow) * (1 - alpha))[..., None]
    canvas[top:bottom, left:right] = np.minimum(under + bloom[..., :3] * np.float32(gain), 255)


def _light(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Apply exposure, white balance, a gradient of light over the photo, gamma and the sensor's noise."""
    gains, vivid = rng.uniform(0.75, 1.1) * np.exp(rng.uniform(-0.22, 0.22, 3)), np.float32(rng.uniform(0.65, 1.1))
    slope, gamma, sigma = rng.normal(0, 0.3, 2), rng.uniform(0.85, 1.2), rng.uniform(0, 3)
    ramp = np.linspace(-0.5, 0.5, len(photo), dtype=np.float32)
    light = 1 + slope[0].astype(np.float32) * ramp[:, None] + slope[1].astype(np.float32) * ramp
    curves = (255 * (np.arange(256)[:, None] / 255) ** gamma * gains).astype(np.float32)
    lit = cv2.LUT(photo, curves[None]) * light[..., None]
    lit = cv2.transform(lit, vivid * np.eye(3, dtype=np.float32) + (1 - vivid) / 3)
    # Last, as a larger photo takes more draws.
    lit += rng.standard_normal(photo.shape, np.float32) * np.float32(sigma)
    return np.clip(lit, 0, 255).astype(np.uint8)
