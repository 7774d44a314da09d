"""Holds what was exported against the run's own network, on photos."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corolla.data.dataset import TFRecordDataset
from corolla.data.index import load_index
from corolla.errors import Failure, UserError
from corolla.export.source import Source
from corolla.runs.folder import data_of
from corolla.synthetic.drawing import draw_photo

NUM_PHOTOS = 20
TOLERANCE = 1e-3
"""Largest difference of a probability: two programs sum the same fp32 products in another order, which moves
probabilities by 1e-7 to 1e-5; another normalisation or resize moves them by a hundredth and more."""
PARTS = (1, 9, 17)
"""Photos 1, 2 to 9, 10 to 17 and the rest are batches of their own: a batch of any size has to do."""

Classify = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Pixels N x S x S x 3 to probabilities N x classes."""


@dataclass(frozen=True)
class Check:
    """The largest difference of a probability, and on which photos it was found."""

    difference: float
    photos: str


def check_export(classify: Classify, source: Source) -> Check:
    """Compare probabilities on twenty photos: of the run's val where its data are at hand, the rest drawn ones.

    Raises:
        Failure: they differ by more than TOLERANCE, or the run's own are not finite.
    """
    images, photos = _photos(source)
    parts = [part for part in np.split(images, PARTS) if len(part)]
    own = np.concatenate([source.probabilities(part) for part in parts])
    if not np.isfinite(own).all():
        raise Failure(f"{source.run.folder}: its network gives no finite probabilities; nothing was written")
    found = np.concatenate([classify(part) for part in parts])
    difference = float(np.abs(found - own).max()) if found.shape == own.shape else float("inf")
    if not difference <= TOLERANCE:
        raise Failure(
            f"{source.run.folder}: what was exported is not this network: probabilities differ by up to "
            f"{difference:.2g} on {photos}; nothing was written"
        )
    return Check(difference, photos)


def _photos(source: Source) -> tuple[NDArray[np.uint8], str]:
    """Return photos as the network sees them, and words for them."""
    of_val = _val_photos(source)
    if not of_val:
        return np.stack(
            _drawn_photos(source, NUM_PHOTOS)
        ), f"{NUM_PHOTOS} drawn photos (its val photos are not at hand)"
    few = NUM_PHOTOS - len(of_val)
    words = f"{len(of_val)} photos of val" + (f" and {few} drawn ones" if few else "")
    return np.stack([*of_val, *_drawn_photos(source, few)]), words


def _val_photos(source: Source) -> list[NDArray[np.uint8]]:
    """Return photos that are spread evenly over val; none where the run's data are not at hand."""
    run = source.run
    try:
        index = load_index(data_of(run), run.config.size, None)
        val = TFRecordDataset(index, "val", source.transform, bad_images="grey")
    except UserError:
        return []
    places = np.unique(np.linspace(0, len(val) - 1, NUM_PHOTOS).round().astype(int))
    return [val[int(place)].image[0] for place in places]


def _drawn_photos(source: Source, count: int) -> list[NDArray[np.uint8]]:
    """Return drawn flowers."""
    side = min(512, max(32, source.transform.resized))
    drawn = (draw_photo(number, side, np.random.default_rng(number)) for number in range(count))
    return [source.transform(photo)[0] for photo in drawn]
