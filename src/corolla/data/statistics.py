"""`corolla stats`: exact colour statistics of the pixels, images per class, image sizes."""

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from corolla.data.dataset import TFRecordDataset
from corolla.data.decode import Image
from corolla.data.index import Index, load_index
from corolla.data.index_cache import resolve_cache_dir
from corolla.errors import UserError
from corolla.files import write_atomically
from corolla.parallel import map_in_threads
from corolla.paths import AnyPath, as_path
from corolla.results import Result
from corolla.text_files import read_json

if TYPE_CHECKING:
    import pandas as pd

Triple = tuple[float, float, float]
CACHED = {
    "color": {"mean": [float], "std": [float], "eigenvalues": [float], "eigenvectors": [[float]]},
    "image_sizes": {str: int},
    "sha256": str,
}
"""The shape of the file that keeps them."""


@dataclass(frozen=True)
class ColorStatistics:
    """Statistics over all pixels of a set of photos, RGB in [0, 1]; each photo counts by its number of pixels."""

    mean: Triple
    std: Triple
    eigenvalues: Triple
    """Eigenvalues of the RGB covariance, largest first."""
    eigenvectors: tuple[Triple, Triple, Triple]
    """Eigenvectors, 3 x 3, a column per eigenvalue; the sign is such that each column's sum is not negative."""

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "ColorStatistics":
        a, b, c = (tuple(row) for row in values["eigenvectors"])
        return ColorStatistics(tuple(values["mean"]), tuple(values["std"]), tuple(values["eigenvalues"]), (a, b, c))


@dataclass(frozen=True, repr=False)
class DataStatistics(Result):
    """The statistics that `corolla stats` prints."""

    size: int
    splits: tuple[str, ...]
    """The splits whose pixels were counted."""
    color: ColorStatistics
    image_sizes: dict[str, int]
    """Number of images of each size, `WIDTHxHEIGHT`."""
    class_names: tuple[str, ...]
    class_counts: dict[str, list[int]]
    """Images per class of every labelled split."""

    @property
    def summary(self) -> str:
        """The photos of each labelled split, and the colour statistics."""
        counts = ", ".join(f"{name} {sum(count)}" for name, count in self.class_counts.items())
        mean, std = (" ".join(f"{value:.4f}" for value in values) for values in (self.color.mean, self.color.std))
        return f"{counts} photos of {len(self.class_names)} classes at {self.size} px; RGB mean {mean}, std {std}"

    def to_pandas(self) -> "pd.DataFrame":
        """Return a row per class: its number, its name and its photos in every labelled split."""
        import pandas as pd

        return pd.DataFrame({"label": range(len(self.class_names)), "name": self.class_names, **self.class_counts})


def stats(
    data: AnyPath,
    *,
    size: int | None = None,
    splits: str | Sequence[str] = ("train",),
    cache_dir: AnyPath | None = None,
) -> DataStatistics:
    """Decode every image of `splits` once and sum exactly (integers), so the result depends on no order.

    The result is cached by the data's fingerprint.

    Raises:
        UserError: no such data or split, or an image that does not decode.
    """
    names = (splits,) if isinstance(splits, str) else tuple(splits)
    return data_statistics(load_index(as_path(data), size, as_path(cache_dir)), names, cache_dir=as_path(cache_dir))


def data_statistics(
    index: Index,
    splits: tuple[str, ...],
    *,
    cache_dir: Path | None = None,
    bad_images: Literal["stop", "grey"] = "stop",
) -> DataStatistics:
    """Return `stats` of an index that is loaded already; images that do not decode may count as grey."""
    photos = [TFRecordDataset(index, name, bad_images=bad_images) for name in splits]
    if not photos:
        raise UserError("name at least one split whose pixels are to be counted")
    fingerprint = "-".join(index.splits[name].fingerprint[:16] for name in splits)
    grey = "-grey" if bad_images == "grey" else ""
    cached = resolve_cache_dir(cache_dir) / f"statistics-{index.size}-{fingerprint}{grey}.json"
    try:
        values = read_json(cached, CACHED)
        if values["sha256"] != _digest(values):
            raise ValueError("a bit has flipped")
        color, sizes = ColorStatistics.from_dict(values["color"]), dict(values["image_sizes"])
    except (OSError, UserError, ValueError):  # missing, or damaged: ValueError is also of rows of another length
        color, sizes = _pixel_statistics(photos)
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
            values = {"color": asdict(color), "image_sizes": sizes}
            write_atomically(cached, json.dumps(values | {"sha256": _digest(values)}).encode())
    num_classes = len(index.class_names)
    counts = {
        name: np.bincount(split.label, minlength=num_classes).tolist()
        for name, split in index.splits.items()
        if (split.label >= 0).all()
    }
    return DataStatistics(index.size, splits, color, sizes, index.class_names, counts)


def _digest(values: dict[str, Any]) -> str:
    """Return the SHA-256 (hex) of the statistics that are kept."""
    kept = {name: values[name] for name in ("color", "image_sizes")}
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()


def _pixel_statistics(sets: list[TFRecordDataset]) -> tuple[ColorStatistics, dict[str, int]]:
    total, products, num_pixels, sizes = np.zeros(3, np.int64), np.zeros((3, 3), np.int64), 0, Counter[str]()
    for photos in sets:
        title = f"statistics of {photos.split.name}"
        moments = map_in_threads(lambda i, photos=photos: _moments(photos.image(i)), range(len(photos)), title=title)
        for first, second, (height, width) in moments:
            total += first
            products += second
            num_pixels += height * width
            sizes[f"{width}x{height}"] += 1
    mean = total / num_pixels
    covariance = products / num_pixels - np.outer(mean, mean)
    values, vectors = np.linalg.eigh(covariance / 255**2)
    vectors = vectors[:, ::-1] * np.where(vectors[:, ::-1].sum(0) < 0, -1.0, 1.0)
    return ColorStatistics(
        mean=_triple(mean / 255),
        std=_triple(np.sqrt(np.diag(covariance)) / 255),
        eigenvalues=_triple(np.maximum(values[::-1], 0.0)),
        eigenvectors=(_triple(vectors[0]), _triple(vectors[1]), _triple(vectors[2])),
    ), dict(sizes.most_common())


def _moments(image: Image) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Return the sum of the pixels, of their outer products, and the shape; float64 holds integers up to 2^53."""
    pixels = image.reshape(-1, 3).astype(np.float64)
    return pixels.sum(0).astype(np.int64), (pixels.T @ pixels).astype(np.int64), (image.shape[0], image.shape[1])


def _triple(values: np.ndarray) -> Triple:
    a, b, c = (float(v) for v in values)
    return a, b, c
