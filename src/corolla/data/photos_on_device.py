"""Decoded photos in the memory of a device, where whole batches are cropped and resized (transforms/batched.py)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from corolla.data.dataset import TFRecordDataset
from corolla.data.decode import Image
from corolla.parallel import map_in_threads

AT_ONCE = 64
"""Photos that are decoded and copied at once."""


@dataclass(frozen=True)
class PhotosOnDevice:
    """Photos of any sizes, their pixels in a row."""

    pixels: torch.Tensor
    """P x 3, uint8."""
    start: torch.Tensor
    """Place of each photo's first pixel (N, int64)."""
    height: torch.Tensor
    """N, int64."""
    width: torch.Tensor
    """N, int64."""
    shapes: NDArray[np.int64]
    """Height and width, N x 2, where the main process and its workers have them."""

    def windows(
        self, numbers: torch.Tensor, top: torch.Tensor, left: torch.Tensor, height: int, width: int
    ) -> torch.Tensor:
        """Return parts of photos, B x `height` x `width` x 3 uint8; beyond an edge its own pixels are repeated.

        Args:
            numbers: of the photos (B); `top` and `left` are where each part begins.
        """
        last = (self.height[numbers] - 1).view(-1, 1), (self.width[numbers] - 1).view(-1, 1)
        rows = torch.minimum(top.view(-1, 1) + torch.arange(height, device=top.device), last[0])
        columns = torch.minimum(left.view(-1, 1) + torch.arange(width, device=left.device), last[1])
        first = self.start[numbers].view(-1, 1) + rows * self.width[numbers].view(-1, 1)
        return self.pixels[first.unsqueeze(2) + columns.unsqueeze(1)]


def decoded_bytes(photos: TFRecordDataset) -> int:
    """Return the bytes of all photos, decoded, by their headers; one that can't be read may need a grey stand-in."""
    return 3 * sum(_num_pixels(photos))


def _num_pixels(photos: TFRecordDataset) -> Sequence[int]:
    grey = photos.size**2 if photos.bad_images == "grey" else 0
    return [max(height * width, grey) for height, width in map(photos.header_shape, range(len(photos)))]


def put_on_device(photos: TFRecordDataset, device: torch.device) -> PhotosOnDevice:
    """Decode all photos into the memory of a device.

    Raises:
        UserError: one does not decode (unless the data set puts grey ones in their place).
    """
    pixels = torch.empty((sum(_num_pixels(photos)), 3), dtype=torch.uint8, device=device)
    shapes, filled = np.zeros((len(photos), 2), np.int64), 0
    waiting: list[Image] = []

    def copy() -> int:
        rows = torch.from_numpy(np.concatenate([each.reshape(-1, 3) for each in waiting]))
        pixels[filled : filled + len(rows)] = rows.to(device)
        waiting.clear()
        return filled + len(rows)

    decoded = map_in_threads(photos.image, range(len(photos)), title=f"decode {photos.split.name}", batch=AT_ONCE)
    for number, image in enumerate(decoded):
        shapes[number] = image.shape[:2]
        waiting.append(image)
        if len(waiting) == AT_ONCE:
            filled = copy()
    if waiting:
        filled = copy()
    starts = np.concatenate([[0], np.cumsum(shapes.prod(1))[:-1]])
    start, height, width = (torch.from_numpy(each.copy()).to(device) for each in (starts, *shapes.T))
    return PhotosOnDevice(pixels, start, height, width, shapes)
