"""Recipes of a split's photos, of which batches are made on a device (transforms/recipes.py).

Workers draw them and decode nothing; what they make is small, and the device does the rest.
"""

import mmap
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from corolla.data.dataset import Samples, TFRecordDataset, sample_generators
from corolla.data.photos_on_device import PhotosOnDevice
from corolla.data.slots import FORKS
from corolla.data.transforms.batched import transform_batch
from corolla.data.transforms.recipes import BYTES, LENGTH, extent_of, write_recipe
from corolla.data.transforms.train import TrainTransform


class RecipePhotos:
    """Takes the place of a data set in the loader; the bytes of a recipe take that of an image.

    Workers may be started before the photos are decoded: their shapes are in memory that is shared.
    """

    def __init__(self, photos: TFRecordDataset) -> None:
        """Draw for the photos of a data set."""
        self.photos = photos
        self._shapes = _shared_pairs(len(photos))
        self._there: PhotosOnDevice | None = None

    @property
    def shapes(self) -> NDArray[np.int64]:
        """Height and width of each photo, N x 2; zeros until they are placed."""
        return self._shapes.numpy()

    def place(self, there: PhotosOnDevice) -> None:
        """Take what the photos are on the device, before the first batch."""
        self.shapes[:] = there.shapes
        self._there = there

    def __len__(self) -> int:
        return len(self.photos)

    @property
    def item_bytes(self) -> int:
        """Bytes of a recipe."""
        return BYTES

    def batch_shape(self, samples: Samples) -> tuple[int, ...]:
        """Return the shape of a batch, N x bytes."""
        return len(samples.indices), BYTES

    def load_into(self, samples: Samples, images: NDArray[np.uint8]) -> None:
        """Write the recipes of samples into the first rows of `images`."""
        transform, shapes = self._transform_at(samples.epoch), self.shapes
        for row, key in zip(images.view(np.float32).reshape(-1, LENGTH), samples.indices.tolist(), strict=False):
            rng, number = sample_generators.at(self.photos.seed, samples.epoch, key), key % len(self)
            box = transform.draw(int(shapes[number, 0]), int(shapes[number, 1]), rng)
            write_recipe(row, number, box, transform.decide(rng), transform)

    def labels(self, samples: Samples) -> NDArray[np.int64]:
        """Return the labels of samples."""
        return self.photos.labels(samples)

    def on_device(self, made: torch.Tensor, samples: Samples) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return what makes images (N x S x S x 3 uint8) of the recipes `made`, once these are on the device."""
        there, transform = self._there, self._transform_at(samples.epoch)
        assert there is not None, "they are placed before the first batch"
        extent = extent_of(made.numpy().view(np.float32), transform.size)
        return lambda recipes: transform_batch(there, recipes.view(torch.float32), transform, extent)

    def _transform_at(self, epoch: int) -> TrainTransform:
        assert isinstance(self.photos.transform, TrainTransform)
        return self.photos.transform.at(epoch)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_there": None}


def _shared_pairs(number: int) -> torch.Tensor:
    """Return zeros, N x 2, in memory that workers share: by inheriting it or by its name."""
    if not FORKS:  # what is mapped without a name would reach them as a copy
        return torch.zeros((number, 2), dtype=torch.int64).share_memory_()
    mapped = np.frombuffer(mmap.mmap(-1, max(1, 16 * number)), np.int64)
    return torch.from_numpy(mapped[: 2 * number].reshape(-1, 2))
