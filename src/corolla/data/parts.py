"""The parts into which each batch is cut (--train.accumulate), and which of them a process computes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Parts:
    """Parts r, r + W, ... of the P of each batch: those of process r of W."""

    number: int = 1
    """P, which decides the result: batch norm sees a part at a time."""
    rank: int = 0
    num_ranks: int = 1
    """W, at most P, which decides nothing but the time."""

    def sizes(self, num_images: int) -> dict[int, int]:
        """Return the images in each of the own parts, by its number, of a batch of so many images.

        Parts are as equal as they can be, the first ones the larger; there are no more of them than images.
        """
        number = min(self.number, num_images)
        size, rest = divmod(num_images, number)
        return {part: size + (part < rest) for part in range(self.rank, number, self.num_ranks)}

    def take(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the samples of a batch that are in own parts, part after part."""
        if self.num_ranks == 1:
            return samples
        return np.concatenate(np.array_split(samples, min(self.number, len(samples)))[self.rank :: self.num_ranks])
