"""JPEG bytes to uint8 RGB pixels."""

from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

try:
    import simplejpeg
except ModuleNotFoundError:  # in an image without it (Kaggle's): OpenCV's libjpeg gives the same pixels, and is slower
    simplejpeg = None

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
    if simplejpeg is None:
        return _decode_by_opencv(data)
    return simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False)


def _decode_by_opencv(data: bytes | memoryview) -> Image:
    # It fills up a JPEG that is cut short without a word, so the end's marker is looked for.
    whole = bytes(data[-2:]) == b"\xff\xd9"
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if whole else None
    if pixels is None:
        raise ValueError("the bytes are not a whole JPEG")
    return np.ascontiguousarray(pixels[..., ::-1], dtype=np.uint8)


def resize(image: Image, width: int, height: int, interpolation: Literal["bilinear", "bicubic"] = "bilinear") -> Image:
    """The fast resize of the training crops: area averages when shrinking, `interpolation` when enlarging."""
    if (image.shape[1], image.shape[0]) == (width, height):
        return image
    if width * height < image.shape[0] * image.shape[1]:
        method = cv2.INTER_AREA
    else:
        method = cv2.INTER_CUBIC if interpolation == "bicubic" else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), dtype=np.uint8)


def resize_antialiased(
    image: Image, width: int, height: int, interpolation: Literal["bilinear", "bicubic"] = "bilinear"
) -> Image:
    """The exact resize of evaluation: `interpolation` with a filter as wide as the pixels that become one.

    It is Pillow's, within rounding, with which pretrained weights were trained and measured.
    """
    if (image.shape[1], image.shape[0]) == (width, height):
        return image
    pixels = torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0)
    resized = F.interpolate(pixels, (height, width), mode=interpolation, antialias=True)
    return resized[0].permute(1, 2, 0).contiguous().numpy()
