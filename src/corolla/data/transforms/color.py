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

IMAGENET_AXES = (
    np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
    * np.array([55.46, 4.794, 1.148])
    / 255
)
"""ImageNet's colour axes (RGB, a column each) as MXNet has them (mxnet.image.LightingAug), on which the script of He et
al. 2018 runs: eigenvectors times what it calls eigenvalues, of pixels in [0, 255], without taking their root."""


def color_compose(config: AugmentConfig, statistics: ColorStatistics | None) -> A.Compose:
    """Make the colour changes that are on: brightness, contrast, saturation and hue, then PCA noise.

    The first four come in an order drawn per image, as in MXNet and torchvision; all but the hue, which is turned by up
    to `config.hue` of the circle, are factors. He et al. 2018 differ from themselves: their text (section 2.1) draws
    hue, saturation and brightness from [0.6, 1.4]; their script (GluonCV, scripts/classification/imagenet,
    train_imagenet.py) has brightness, contrast and saturation of 0.4 and no hue. The defaults are the script's.
    """
    transforms: list[A.BasicTransform] = []
    if config.color:
        transforms.append(
            A.ColorJitter(
                brightness=(max(0.0, 1 - config.brightness), 1 + config.brightness),
                contrast=(max(0.0, 1 - config.contrast), 1 + config.contrast),
                saturation=(max(0.0, 1 - config.saturation), 1 + config.saturation),
                hue=(-config.hue, config.hue),
                p=1.0,
            )
        )
    if config.pca_noise and config.pca_axes == "imagenet":
        transforms.append(PCANoise(IMAGENET_AXES * config.pca_noise))
    elif config.pca_noise and statistics is not None:
        axes = np.asarray(statistics.eigenvectors) * np.sqrt(np.asarray(statistics.eigenvalues))
        transforms.append(PCANoise(axes * config.pca_noise))
    return A.Compose(transforms)  # pyright: ignore[reportArgumentType] - it takes any list of transforms


class PCANoise(A.ImageOnlyTransform):
    """AlexNet's colour noise (Krizhevsky et al. 2012, section 4.1), along the eigenvectors of a data set.

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
