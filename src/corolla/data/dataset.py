"""One split of a data folder as a map-style dataset of pixels; data/loader.py makes batches of tensors of it."""

import logging
import math
import mmap
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from corolla.data.decode import Image, decode_photo
from corolla.data.foreign_records import image_remedy
from corolla.data.index import Index, split_of
from corolla.data.jpeg_header import Header, read_header
from corolla.errors import UserError
from corolla.random import SampleGenerators

log = logging.getLogger(__name__)
sample_generators = SampleGenerators()

SampleKey = tuple[int, int]
"""(epoch, index); index + r * the number of photos is the r-th repeat in that epoch, with draws of its own."""


class Samples(NamedTuple):
    """Samples of one epoch: their indices (int64), as in a `SampleKey`."""

    epoch: int
    indices: NDArray[np.int64]


Box = tuple[int, int, int, int]
"""left, top, width, height in pixels."""


class Transform(Protocol):
    """Turns uint8 pixels into uint8 pixels; everything random is drawn from the generator that is passed."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output, the same for every photo; no epoch has a larger one."""
        ...

    def at(self, epoch: int) -> "Transform":
        """Return the transform of an epoch; its `shape` may be smaller."""
        ...

    def draw(self, height: int, width: int, rng: np.random.Generator) -> Box:
        """Draw the part of a photo of `height` x `width` that `apply` will use."""
        ...

    def apply(self, image: Image, box: Box, rng: np.random.Generator, out: Image) -> None:
        """Fill `out` (of `shape`, C-contiguous) from that part of `image`, which may lack the rows below it."""
        ...


class DecodedPhotos(Protocol):
    """Photos whose pixels are ready (data/cache.py)."""

    def __getitem__(self, i: int) -> Image | None:
        """Return the pixels of sample i, not to be changed; None where it did not decode."""
        ...


class Sample(NamedTuple):
    """A photo: `image` H x W x 3 uint8 (after an evaluation transform views x H x W x 3), `label` -1 if unknown."""

    image: NDArray[np.uint8]
    label: int
    id: str


class TFRecordDataset:
    """A split of an index as a map-style dataset: `len()`, `[i]`, or `[epoch, i]` for the sample of that epoch.

    The transform of sample i in epoch e is a function of (seed, e, i) alone. The mapped files are opened in each
    process on first use, so any number of workers and threads share one copy of the pages. `decoded`, where set, has
    the photos' pixels ready.
    """

    def __init__(
        self,
        index: Index,
        split: str,
        transform: Transform | None = None,
        *,
        seed: int = 0,
        bad_images: Literal["stop", "grey"] = "stop",
    ) -> None:
        """Take the records of `split`.

        Raises:
            UserError: the data has no such split.
        """
        self.split = split_of(index, split)
        self.folder, self.size = index.folder, index.size
        self.class_names = index.class_names
        self.transform = transform
        self.seed = seed
        self.bad_images: Literal["stop", "grey"] = bad_images
        self.decoded: DecodedPhotos | None = None
        self.maps = FileMaps(self.folder, self.split.files)
        self._headers: dict[int, Header] = {}

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, key: int | SampleKey) -> Sample:
        epoch, i = (0, int(key)) if not isinstance(key, tuple) else key
        is_repeat = isinstance(key, tuple) and i >= len(self) > 0
        if not -len(self) <= i < len(self) and not is_repeat:
            raise IndexError(f"sample {i} of {len(self)}")
        number = i % len(self)
        if self.transform is None:
            image = self.image(number)
        else:
            transform = self.transform.at(epoch)
            image = np.empty(transform.shape, np.uint8)
            self._transformed(epoch, i if is_repeat else number, transform, image)
        return Sample(image, int(self.split.label[number]), str(self.split.id[number]))

    @property
    def item_bytes(self) -> int:
        """Bytes of the largest transformed photo."""
        assert self.transform is not None, "photos alone may differ in size"
        return math.prod(self.transform.shape)

    def batch_shape(self, samples: Samples) -> tuple[int, ...]:
        """Return the shape of the images of a batch."""
        assert self.transform is not None, "photos alone may differ in size"
        return len(samples.indices), *self.transform.at(samples.epoch).shape

    def load_into(self, samples: Samples, images: NDArray[np.uint8]) -> None:
        """Write the transformed samples into the first rows of `images`."""
        assert self.transform is not None, "photos alone may differ in size"
        transform = self.transform.at(samples.epoch)
        for row, i in zip(images, samples.indices.tolist(), strict=False):
            self._transformed(samples.epoch, i, transform, row)

    def labels(self, samples: Samples) -> NDArray[np.int64]:
        """Return the labels of samples, -1 where there is none."""
        return self.split.label[samples.indices % len(self)].astype(np.int64, copy=False)

    def on_device(self, made: object, samples: Samples) -> None:
        """Return nothing, as nothing is left to be done: the batches are of images."""

    def all_square(self) -> bool:
        """Return whether every photo is square, by its header; one that can't be read has a square stand-in."""
        return all(height == width for height, width in map(self.header_shape, range(len(self))))

    def header_shape(self, i: int) -> tuple[int, int]:
        """Return height and width of a photo by its header, 0 and 0 where that can't be read."""
        try:
            header = self._header(i, self.jpeg(i))
        except ValueError:
            return 0, 0
        return header.height, header.width

    def jpeg(self, i: int) -> memoryview:
        """Return the bytes of the JPEG of sample i, without a copy.

        Raises:
            UserError: the record there is another one than was indexed: its file was replaced or written to since.
        """
        content, start = self.maps[int(self.split.file[i])], int(self.split.start[i])
        end = start + 12 + int.from_bytes(content[start : start + 8], "little")  # of the record's data
        if int.from_bytes(content[end : end + 4], "little") != self.split.crc[i]:
            path = self.folder / self.split.files[int(self.split.file[i])]
            raise UserError(f"{path}: has changed since its records were indexed; the same command again reads it anew")
        offset = int(self.split.offset[i])
        return content[offset : offset + int(self.split.length[i])]

    def image(self, i: int) -> Image:
        """Return the whole photo, H x W x 3 uint8.

        Raises:
            UserError: it does not decode, and `bad_images` is "stop".
        """
        ready = self.decoded[i] if self.decoded is not None else None
        if ready is not None:
            return ready.copy()
        jpeg = self.jpeg(i)
        try:
            return decode_photo(jpeg).copy()
        except ValueError as error:
            return self._stand_in(i, error)

    def _transformed(self, epoch: int, i: int, transform: Transform, out: Image) -> None:
        """Fill `out` with sample i of that epoch, decoding no more of the photo than is needed."""
        key, i = i, i % len(self)
        rng = sample_generators.at(self.seed, epoch, key)
        image = self.decoded[i] if self.decoded is not None else None
        if image is not None:
            transform.apply(image, transform.draw(image.shape[0], image.shape[1], rng), rng, out)
            return
        jpeg = self.jpeg(i)
        try:
            header = self._header(i, jpeg)
            box = transform.draw(header.height, header.width, rng)
            # A photo that a grey one may replace is decoded whole, so that its damage is found whatever the crop.
            rows = box[1] + box[3] if self.bad_images == "stop" else None
            image = decode_photo(jpeg, rows=rows, header=header)
        except ValueError as error:
            image, rng = self._stand_in(i, error), sample_generators.at(self.seed, epoch, key)
            box = transform.draw(image.shape[0], image.shape[1], rng)
        transform.apply(image, box, rng, out)

    def _header(self, i: int, jpeg: memoryview) -> Header:
        """Return the header of sample i, which is read once: `jpeg` has compared the record's checksum."""
        if (header := self._headers.get(i)) is None:
            header = self._headers[i] = read_header(jpeg)
        return header

    def _stand_in(self, i: int, error: ValueError) -> Image:
        """Return a grey photo in place of one that does not decode, or raise the fault, as `bad_images` says."""
        path = self.folder / self.split.files[int(self.split.file[i])]
        fault = f"{path}:{self.split.start[i]} record {self.split.record[i]}: JPEG does not decode: {error}"
        if self.bad_images == "stop":
            otherwise = "replace the file, or go on with --pipeline.bad-images grey (predict: --bad-images grey)"
            raise UserError(f"{fault}; {image_remedy(path, self.jpeg(i), self.size) or otherwise}") from None
        log.warning("%s; a grey image stands in for it", fault)
        return np.full((self.size, self.size, 3), 128, np.uint8)


@dataclass
class FileMaps:
    """The files of a split, mapped on first use; pickled without the maps, so that each process makes its own."""

    folder: Path
    files: tuple[str, ...]

    def __post_init__(self) -> None:
        self._open: dict[int, memoryview] = {}
        self._lock = threading.Lock()

    def __getitem__(self, number: int) -> memoryview:
        if number not in self._open:
            with self._lock:
                if number not in self._open:
                    self._open[number] = self._map(self.folder / self.files[number])
        return self._open[number]

    def read_into_memory(self) -> None:
        """Read every file once, in order, and keep its bytes: for a disk that is slow, or gone later."""
        for number, name in enumerate(self.files):
            path = self.folder / name
            try:
                self._open[number] = memoryview(path.read_bytes())
            except OSError as error:
                raise _gone(path, error) from None

    @staticmethod
    def _map(path: Path) -> memoryview:
        try:
            with path.open("rb") as file:
                return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except (OSError, ValueError) as error:
            raise _gone(path, error) from None

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "files": self.files}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)


def _gone(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: cannot be read any more: {error}")
