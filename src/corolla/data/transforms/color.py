"""Colour augmentation by albumentations, which follows the crop."""

import os

# It asks a package index for a newer version on import unless told not to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

from typing import Any

import albumentations as A
import numpy as np
from numpy.typing import NDArray

from corolla.config import AugmentConfig
from corolla.data.decode import Image
from corolla.data.statistics import ColorStatistics


def color_compose(config: AugmentConfig, statistics: ColorStatistics | None) -> A.Compose:
    """Make the colour changes that are on: hue, saturation, brightness (He et al. 2018, section 2.1), then PCA noise.

    The hue is turned by up to `config.hue` of the circle; 0.2 is what the reference implementation of He et al. calls
    a hue jitter of 0.4 (its unit is half a turn). Brightness and saturation are multiplied.
    """
    transforms: list[A.BasicTransform] = []
    if config.color:
        transforms.append(
            A.ColorJitter(
                brightness=(max(0.0, 1 - config.brightness), 1 + config.brightness),
                contrast=(1.0, 1.0),
                saturation=(max(0.0, 1 - config.saturation), 1 + config.saturation),
                hue=(-config.hue, config.hue),
                p=1.0,
            )
        )
    if config.pca_noise and statistics is not None:
        axes = np.asarray(statistics.eigenvectors) * np.sqrt(np.asarray(statistics.eigenvalues))
        transforms.append(PCANoise(axes * config.pca_noise))
    return A.Compose(transforms)  # pyright: ignore[reportArgumentType] - it takes any list of transforms


class PCANoise(A.ImageOnlyTransform):
    """AlexNet's colour noise (Krizhevsky et al. 2012, section 4.1), along the data set's own eigenvectors.

    Adds sum_k a_k * sqrt(l_k) * p_k with a_k ~ N(0, sd), where l_k, p_k are the eigenvalues and eigenvectors of the RGB
    covariance over the training pixels; `axes` (3 x 3) holds sd * sqrt(l_k) * p_k as columns. The paper writes l_k,
    whose unit depends on the pixels' scale; its authors' code takes the standard deviations, as here. (albumentations'
    own FancyPCA takes the eigenvectors of each image.)
    """

    class InitSchema(A.ImageOnlyTransform.InitSchema):
        """The arguments are ours, checked where the config is read."""

        axes: Any

    def __init__(self, axes: NDArray[np.float64], p: float = 1.0) -> None:
        super().__init__(p=p)
        self.axes = axes

    def get_params(self) -> dict[str, Any]:
        return {"shift": self.axes @ self.random_generator.normal(0.0, 1.0, 3) * 255.0}

    def apply(self, img: Image, *args: Any, **params: Any) -> Image:
        shifted = img.astype(np.float32) + params["shift"].astype(np.float32)
        return np.clip(np.rint(shifted), 0, 255).astype(np.uint8)
