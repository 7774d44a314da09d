"""JPEG bytes to uint8 RGB pixels."""

from typing import Literal

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""Pixels, height x width x 3, RGB, uint8."""

# One image has too few pixels to share out: the loader's workers are the parallelism, and OpenCV's own threads
# would only compete with them.
cv2.setNumThreads(0)


def decode_jpeg(data: bytes | memoryview) -> Image:
    """All pixels of a JPEG, exactly as libjpeg's accurate DCT and smooth upsampling give them.

    Raises:
        ValueError: the bytes are not a whole JPEG.
    """
    return simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False)


def resize(image: Image, width: int, height: int, interpolation: Literal["bilinear", "bicubic"] = "bilinear") -> Image:
    """Resize with the aliasing kept out: area averages when shrinking, `interpolation` when enlarging."""
    if (image.shape[1], image.shape[0]) == (width, height):
        return image
    if width * height < image.shape[0] * image.shape[1]:
        method = cv2.INTER_AREA
    else:
        method = cv2.INTER_CUBIC if interpolation == "bicubic" else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), dtype=np.uint8)
