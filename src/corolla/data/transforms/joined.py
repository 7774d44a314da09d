"""Several transforms of one photo, so that it is decoded once for several networks."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from corolla.data.dataset import Box
from corolla.data.decode import Image
from corolla.data.transforms.views import ViewsTransform


class JoinedTransform:
    """Makes of a photo what each of several transforms makes of it, one after the other in a row of bytes.

    Equal ones are done once.
    """

    def __init__(self, transforms: Sequence[ViewsTransform]) -> None:
        self._different = list[ViewsTransform]()
        self._places = list[int]()
        for transform in transforms:
            if transform.recipe not in (known := [each.recipe for each in self._different]):
                known.append(transform.recipe)
                self._different.append(transform)
            self._places.append(known.index(transform.recipe))
        self._sizes = [math.prod(transform.shape) for transform in self._different]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output, a row of bytes."""
        return (sum(self._sizes),)

    def at(self, epoch: int) -> "JoinedTransform":
        """Return itself: prediction has no epochs."""
        return self

    def draw(self, height: int, width: int, rng: np.random.Generator | None) -> Box:
        """Return the whole photo."""
        return 0, 0, width, height

    def apply(self, image: Image, box: Box, rng: np.random.Generator, out: Image) -> None:
        """Fill `out` with what each transform makes of `image`, all with the same random numbers."""
        start = rng.bit_generator.state
        for transform, place in zip(self._different, np.split(out, np.cumsum(self._sizes)[:-1]), strict=True):
            rng.bit_generator.state = start
            transform.apply(image, box, rng, place.reshape(transform.shape))

    def split(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return what each of the transforms has made, N x its `shape`, of a batch."""
        rows = images.split(self._sizes, dim=1)
        made = [row.unflatten(1, each.shape) for row, each in zip(rows, self._different, strict=True)]
        return [made[place] for place in self._places]
