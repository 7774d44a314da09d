"""One split of the photos as a map-style data set."""

import mmap
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from corolla.data.decode import Image, decode_jpeg
from corolla.data.index import Index
from corolla.errors import UserError

Transform = Callable[[Image, np.random.Generator], Image]
Key = tuple[int, int]
"""(epoch, index)."""


class Sample(NamedTuple):
    """One photo; `image` is H x W x 3 uint8 (after an evaluation transform: views x H x W x 3), label -1 if unknown."""

    image: NDArray[np.uint8]
    label: int
    id: str


class Batch(NamedTuple):
    """N photos: images N x H x W x 3 or N x views x H x W x 3 (uint8), labels N (int64), indices N (int64)."""

    images: torch.Tensor
    labels: torch.Tensor
    indices: torch.Tensor


class Flowers(Dataset[Sample]):
    """Random access to a split of an index: `len()`, `[i]`, or `[epoch, i]` for what training sees in that epoch.

    What happens to sample i in epoch e is a function of (seed, e, i) alone. The mapped files are opened in each process
    on first use, so any number of workers and threads share one copy of the pages.
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
        """
        Raises:
            UserError: the data has no such split.
        """
        if split not in index.splits:
            folder = index.folder / f"tfrecords-jpeg-{index.size}x{index.size}" / split
            raise UserError(f"{folder}: no .tfrec files, but the split {split} is needed")
        self.folder, self.size = index.folder, index.size
        self.split = index.splits[split]
        self.class_names = index.class_names
        self.transform = transform
        self.seed = seed
        self.bad_images: Literal["stop", "grey"] = bad_images
        self._maps = _Maps(self.folder, self.split.files)

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, key: int | Key) -> Sample:
        epoch, i = (0, int(key)) if not isinstance(key, tuple) else key
        if not -len(self) <= i < len(self):
            raise IndexError(f"sample {i} of {len(self)}")
        i %= len(self)
        image = self.image(i)
        if self.transform is not None:
            image = self.transform(image, sample_generator(self.seed, epoch, i))
        return Sample(image, int(self.split.label[i]), str(self.split.id[i]))

    def batch(self, keys: list[Key]) -> Batch:
        """Several samples at once, written straight into the batch's memory."""
        images: torch.Tensor | None = None
        for row, (epoch, i) in enumerate(keys):
            image = self[epoch, i].image
            if images is None:
                images = torch.empty((len(keys), *image.shape), dtype=torch.uint8)
            images.numpy()[row] = image
        assert images is not None, "an empty batch was asked for"
        indices = torch.tensor([i for _, i in keys])
        return Batch(images, torch.from_numpy(self.split.label[indices.numpy()].astype(np.int64)), indices)

    def jpeg(self, i: int) -> memoryview:
        """The JPEG of sample i, as it lies in the mapped file."""
        start = int(self.split.offset[i])
        return self._maps[int(self.split.file[i])][start : start + int(self.split.length[i])]

    def image(self, i: int) -> Image:
        """The photo as stored, H x W x 3 uint8.

        Raises:
            UserError: it does not decode, and `bad_images` is "stop".
        """
        try:
            return decode_jpeg(self.jpeg(i))
        except ValueError as error:
            path = self.folder / self.split.files[int(self.split.file[i])]
            fault = f"{path}:{self.split.start[i]} record {self.split.record[i]}: JPEG does not decode: {error}"
            if self.bad_images == "stop":
                raise UserError(
                    f"{fault}; replace the file, or go on with --pipeline.bad-images grey (predict: --bad-images grey)"
                ) from None
            print(f"warning: {fault}; a grey image stands in for it", file=sys.stderr)
            return np.full((self.size, self.size, 3), 128, np.uint8)


def sample_generator(seed: int, epoch: int, i: int) -> np.random.Generator:
    """The generator of sample i in epoch e: counter-based, so no state is shared or saved (Salmon et al. 2011)."""
    return np.random.Generator(np.random.Philox(key=np.array([seed << 32 | epoch, i], np.uint64)))


def epoch_order(num_samples: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of the samples in epoch e, a permutation; the same wherever the run was stopped and resumed."""
    return sample_generator(seed, epoch, 2**64 - 1).permutation(num_samples)


@dataclass
class _Maps:
    """The mapped files of a split, opened on first use and left behind when the data set travels to a worker."""

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

    @staticmethod
    def _map(path: Path) -> memoryview:
        try:
            with path.open("rb") as file:
                return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read any more: {error}") from None

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "files": self.files}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)
