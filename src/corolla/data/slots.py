"""Memory for batches, which workers fill and the main process hands on as it is."""

import math
import mmap
import sys
import weakref
from collections import deque

import numpy as np
import torch
from numpy.typing import NDArray

FORKS = sys.platform == "linux"  # elsewhere processes are started afresh, and do not share what this one has mapped


class Slots:
    """Memory for a few batches, shared with the workers that are forked later.

    A slot is free again when nothing refers to the batch in it any more; a caller that keeps all batches gets further
    ones in memory of their own. So the kernel touches each page once, not once a batch, which costs as much as filling
    it, and a GPU that copies from it can have it page-locked once. It is no file in /dev/shm, which containers keep
    small.
    """

    def __init__(self, number: int, num_images: int, image_bytes: int) -> None:
        """Map memory for `number` batches of at most `num_images`, each with its label."""
        self._labels_at = -(-num_images * image_bytes // 64) * 64
        size = self._labels_at + -(-num_images * 8 // 64) * 64
        self.memory = np.frombuffer(mmap.mmap(-1, number * size), np.uint8) if FORKS else None
        self._slots = self.memory.reshape(number, size) if self.memory is not None else None
        self._free = deque(range(number if FORKS else 0))

    def take(self) -> int | None:
        """Return a free slot; None where there is none."""
        return self._free.pop() if self._free else None  # the one used last: it may still be in the processor's cache

    def arrays(self, slot: int, shape: tuple[int, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return the images, of that shape, and labels of the batch in a slot, to be written."""
        assert self._slots is not None
        own = self._slots[slot]
        return own[: math.prod(shape)].reshape(shape), own[self._labels_at :][: 8 * shape[0]].view(np.int64)

    def lend(self, slot: int, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the images and labels in a slot, which is taken until the last tensor of its memory is gone."""
        assert self._slots is not None
        # The tensor's storage, which all its views share, keeps this object alive.
        lent = self._slots[slot].view(_Lent)
        weakref.finalize(lent, self._free.append, slot)
        whole = torch.from_numpy(lent)
        labels = whole[self._labels_at : self._labels_at + 8 * shape[0]].view(torch.int64)
        return whole[: math.prod(shape)].view(shape), labels


class _Lent(np.ndarray):
    """An array that a finalizer can watch, which plain arrays do not allow."""
