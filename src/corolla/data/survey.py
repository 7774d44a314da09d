"""One pass over every photo of some splits, for what the audit needs of each; the pixels are not kept."""

import hashlib
from dataclasses import dataclass
from typing import Literal, NamedTuple

import cv2
import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from corolla.data.dataset import TFRecordDataset
from corolla.data.index import Index
from corolla.parallel import map_in_threads

THUMBNAIL = 48  # pixels a side: enough to verify a crop of a few percent, 55 MB for the competition's 24k photos


class _Measured(NamedTuple):
    jpeg: bytes
    pixels: bytes
    hashes: tuple[int, int]
    thumbnail: NDArray[np.uint8]
    facts: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Survey:
    """Measurements of N photos, split after split in the order of the index; all arrays have N entries."""

    index: Index
    split: NDArray[np.str_]
    row: NDArray[np.int64]  # in the split
    label: NDArray[np.int64]  # -1 where there is none
    jpeg: NDArray[np.bytes_]  # digest of the stored bytes, hex
    pixels: NDArray[np.bytes_]  # digest of the decoded pixels and their shape, hex
    hash: NDArray[np.uint64]  # pHash, 64 bits
    mirrored_hash: NDArray[np.uint64]  # of the mirrored photo
    thumbnail: NDArray[np.uint8]  # N x THUMBNAIL x THUMBNAIL, grey
    width: NDArray[np.float64]  # pixels
    height: NDArray[np.float64]  # pixels
    brightness: NDArray[np.float64]  # mean grey level, 0..1
    contrast: NDArray[np.float64]  # standard deviation of the grey level, 0..1
    colour: NDArray[np.float64]  # mean of max - min over the channels, 0..1

    def __len__(self) -> int:
        return len(self.row)

    def id(self, i: int) -> str:
        return str(self.index.splits[str(self.split[i])].id[self.row[i]])

    def place(self, i: int) -> tuple[str, int]:
        """Return the file of a photo (relative to the data folder) and the record in it."""
        split = self.index.splits[str(self.split[i])]
        row = int(self.row[i])
        return split.files[int(split.file[row])], int(split.record[row])

    def image(self, i: int) -> NDArray[np.uint8]:
        """Decode a photo again and return it, H x W x 3."""
        return TFRecordDataset(self.index, str(self.split[i])).image(int(self.row[i]))


def survey(
    index: Index,
    splits: tuple[str, ...],
    *,
    progress: bool = False,
    bad_images: Literal["stop", "grey"] = "stop",
) -> Survey:
    """Decode each photo of the `splits` that are there once, on all cores, and return the measurements.

    Args:
        bad_images: a photo that does not decode stops it, or counts as a grey one.

    Raises:
        UserError: a photo does not decode; the message names its file and record.
    """
    names = [name for name in splits if name in index.splits]
    places = [
        (photos, row)
        for name in names
        for photos in [TFRecordDataset(index, name, bad_images=bad_images)]
        for row in range(len(photos))
    ]
    measured = list(map_in_threads(lambda place: _measure(*place), places, title="photos", progress=progress))
    facts = np.array([one.facts for one in measured], np.float64).reshape(len(measured), 5).T
    hashes = np.array([one.hashes for one in measured], np.uint64).reshape(len(measured), 2).T
    return Survey(
        index,
        np.concatenate([np.full(len(index.splits[name]), name, "U5") for name in names] or [np.empty(0, "U5")]),
        np.concatenate([np.arange(len(index.splits[name])) for name in names] or [np.empty(0, np.int64)]),
        np.concatenate([index.splits[name].label for name in names] or [np.empty(0, np.int64)]),
        np.array([one.jpeg for one in measured], "S32"),
        np.array([one.pixels for one in measured], "S32"),
        hashes[0],
        hashes[1],
        np.stack([one.thumbnail for one in measured]) if measured else np.empty((0, THUMBNAIL, THUMBNAIL), np.uint8),
        *facts,
    )


def _measure(photos: TFRecordDataset, row: int) -> _Measured:
    image = photos.image(row)
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    height, width = grey.shape
    colour = float((image.max(2).astype(np.int16) - image.min(2)).mean() / 255)
    picture = PillowImage.fromarray(grey)
    mirrored = picture.transpose(PillowImage.Transpose.FLIP_LEFT_RIGHT)
    return _Measured(
        _digest(photos.jpeg(row)),
        _digest(str(image.shape).encode() + image.tobytes()),
        (_phash(picture), _phash(mirrored)),
        np.asarray(cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA), np.uint8),
        (width, height, float(grey.mean() / 255), float(grey.std() / 255), colour),
    )


def _digest(data: bytes | memoryview) -> bytes:
    return hashlib.blake2b(data, digest_size=16).hexdigest().encode()


def _phash(picture: PillowImage.Image) -> int:
    """Return imagehash's DCT hash: signs of the 8 x 8 lowest frequencies of a 32 x 32 picture about their median."""
    return int.from_bytes(np.packbits(imagehash.phash(picture).hash).tobytes(), "big")
