"""The transform of evaluation: from a decoded photo to fixed crops.

uint8 RGB in and out; normalising is done on the device.
"""

import numpy as np

from corolla.data.dataset import Box
from corolla.data.decode import Image, Interpolation, resize_antialiased
from corolla.data.transforms.tta import CropViews


class EvalTransform:
    """Resizes the shorter side to size / crop fraction, **then** crops the fixed views that `tta` names.

    none: the centre. flip: that and its mirror. ten-crop: four corners and the centre, each with its mirror
    (Krizhevsky et al. 2012, section 4.1). More views are in data/transforms/views.py.
    """

    def __init__(
        self,
        size: int,
        *,
        crop_fraction: float,
        interpolation: Interpolation = "bilinear",
        tta: CropViews = "none",
    ) -> None:
        self.size = size
        self.resized = max(size, round(size / crop_fraction))
        self.interpolation: Interpolation = interpolation
        self.tta: CropViews = tta

    @property
    def num_views(self) -> int:
        return {"none": 1, "flip": 2, "ten-crop": 10}[self.tta]

    @property
    def num_crops(self) -> int:
        """Views that are no mirrors of others."""
        return 5 if self.tta == "ten-crop" else 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output, (views, size, size, 3)."""
        return self.num_views, self.size, self.size, 3

    def at(self, epoch: int) -> "EvalTransform":
        """Return itself: evaluation is the same in every epoch."""
        return self

    def draw(self, height: int, width: int, rng: np.random.Generator | None) -> Box:
        """Return the whole photo: nothing is random."""
        return 0, 0, width, height

    def apply(self, image: Image, box: Box, rng: np.random.Generator | None, out: Image) -> None:
        """Fill `out` (views x size x size x 3) with the views of `image`."""
        crops = self.num_crops
        self.crop(image, out[:crops])
        if self.tta != "none":
            out[crops:] = out[:crops, :, ::-1]

    def crop(self, image: Image, out: Image) -> None:
        """Fill `out` (crops x size x size x 3) with the views of `image` that are no mirrors of others."""
        image = self.resize(image)
        for view, (top, left) in enumerate(self.corners(*image.shape[:2])):
            out[view] = image[top : top + self.size, left : left + self.size]

    def resize(self, image: Image, out: Image | None = None) -> Image:
        """Return `image` with the size that views are cut from; in `out`, where given."""
        height, width = image.shape[:2]
        scale = self.resized / min(width, height)
        width, height = max(self.resized, round(width * scale)), max(self.resized, round(height * scale))
        return resize_antialiased(image, width, height, self.interpolation, out=out)

    def corners(self, height: int, width: int) -> list[tuple[int, int]]:
        """Return top and left of each crop in an image of that size."""
        right, bottom = width - self.size, height - self.size
        centre = (round(bottom / 2), round(right / 2))
        return [centre, (0, 0), (0, right), (bottom, 0), (bottom, right)][: self.num_crops]

    def __call__(self, image: Image, rng: np.random.Generator | None = None) -> Image:
        """Return the views (views x size x size x 3) of `image` (H x W x 3); nothing is random, `rng` is unused."""
        out = np.empty(self.shape, np.uint8)
        self.apply(image, self.draw(image.shape[0], image.shape[1], rng), rng, out)
        return out
