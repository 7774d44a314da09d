"""JPEG bytes decoded to uint8 RGB pixels, and resizing.

It is fast for three reasons. A photo is decoded into a buffer that its thread keeps: a fresh one of 0.8 MB is mapped by
the kernel, zeroed page by page and handed back afterwards, which can cost half as much again as the decoding itself. No
more of a photo is decoded than its crop needs, from the top down to the crop's last row. A crop is halved by averages
of four pixels while it is at least twice too large, and then interpolated, in less than a fifth of the time of OpenCV's
general area average.
"""

import threading
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from corolla.data.jpeg_header import Header, has_end, read_header

if TYPE_CHECKING:  # takes seconds, and only evaluation's resize needs it
    import torch

try:
    import simplejpeg
except ModuleNotFoundError:  # in an image without it (Kaggle's): OpenCV's libjpeg gives the same pixels, and is slower
    simplejpeg = None

Image = NDArray[np.uint8]
"""Pixels, height x width x 3, RGB, uint8."""

Interpolation = Literal["bilinear", "bicubic"]

# One image has too few pixels to share out: the loader's threads are the parallelism, and OpenCV's own would only
# compete with them.
cv2.setNumThreads(0)


class _Scratch(threading.local):
    """A buffer of each thread, as large as its largest photo so far."""

    def __init__(self) -> None:
        self.bytes = np.empty(0, np.uint8)

    def image(self, height: int, width: int) -> Image:
        if self.bytes.size < height * width * 3:
            self.bytes = np.empty(height * width * 3, np.uint8)
        return self.bytes[: height * width * 3].reshape(height, width, 3)


_decoded = _Scratch()


def decode_photo(
    data: bytes | memoryview, out: Image | None = None, *, rows: int | None = None, header: Header | None = None
) -> Image:
    """Return the pixels of a photo, in `out` or else in this thread's scratch buffer.

    In the buffer they stay until the thread's next photo.

    Args:
        rows: how many from the top are needed; without `out` no more may be returned.
        header: where it was read before.

    Raises:
        ValueError: the bytes are not a whole JPEG.
    """
    header = header or read_header(data)
    target = _decoded.image(header.height, header.width) if out is None else out
    if out is None and rows is not None and rows + EDGE < header.height:
        return _decode_top(data, header, rows, target)
    return _decode_all(data, target)


EDGE = 2  # rows beyond those asked for: the smooth upsampling of colour looks one row ahead
STOPPED_EARLY = "extraneous bytes before marker 0xd9"  # libjpeg's warning about the rows that it was not asked for


def decode_top(data: bytes | memoryview, rows: int, *, out: Image) -> Image:
    """Decode the upper `rows` of a JPEG, with the same pixels as in the whole, into the rows of `out`; return them.

    libjpeg decodes from the top, and a crop ends above the photo's last row more often than not. It is told to stop by
    a smaller height in the header; where that cannot be done (progressive files, CMYK, or without simplejpeg)
    everything is decoded.

    Much damage shows only at the end of the bytes, so the caller must have decoded the photo whole before. Training
    has: it decodes every photo for the colour statistics, also where pretrained weights bring their own mean.

    Raises:
        ValueError: the bytes are not a JPEG, or end too early.
    """
    return _decode_top(data, read_header(data), rows, out)


def _decode_top(data: bytes | memoryview, header: Header, rows: int, out: Image) -> Image:
    if header.height_field is None or simplejpeg is None:
        return _decode_all(data, out)[:rows]
    shortened = bytearray(data)
    shortened[header.height_field : header.height_field + 2] = (rows + EDGE).to_bytes(2, "big")
    top = out[: rows + EDGE]
    try:
        simplejpeg.decode_jpeg(shortened, "RGB", fastdct=False, fastupsample=False, buffer=top)
    except ValueError as error:
        if STOPPED_EARLY not in str(error):  # else the pixels are there, and nothing else was wrong up to here
            return _decode_all(data, out)[:rows]  # raises with the right reason, or finds nothing wrong
    return top[:rows]


def jpeg_shape(data: bytes | memoryview) -> tuple[int, int]:
    """Return height and width in pixels, from the header.

    Raises:
        ValueError: the bytes are not a JPEG that can be read.
    """
    header = read_header(data)
    return header.height, header.width


def decode_jpeg(data: bytes | memoryview, *, out: Image | None = None) -> Image:
    """Return all pixels of a JPEG, in `out` where given.

    They are exactly those of libjpeg's accurate DCT and smooth upsampling.

    Raises:
        ValueError: the bytes are not a whole JPEG, or one of a kind that is not read.
    """
    read_header(data)
    return _decode_all(data, out)


def _decode_all(data: bytes | memoryview, out: Image | None) -> Image:
    if simplejpeg is None:
        return _decode_by_opencv(data, out)
    try:
        if out is None:
            return simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False)
        simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False, buffer=out)
    except ValueError as error:
        if "Could not determine subsampling" not in str(error):
            raise
        raise ValueError("a JPEG of this subsampling is not read; save it with 4:4:4, 4:2:2 or 4:2:0") from None
    return out


def _decode_by_opencv(data: bytes | memoryview, out: Image | None) -> Image:
    whole = has_end(data)  # OpenCV fills up a JPEG that is cut short without a word
    flag = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag) if whole else None
    if pixels is None:
        raise ValueError("the bytes are not a whole JPEG")
    image = np.empty(pixels.shape, np.uint8) if out is None else out
    image[...] = pixels[..., ::-1]
    return image


def resize(
    image: Image, width: int, height: int, interpolation: Interpolation = "bilinear", *, out: Image | None = None
) -> Image:
    """Resize as training does, fast, into `out` where given.

    2 x 2 pixels are averaged as long as half the size is enough, then comes `interpolation`: so no pixel is left out,
    which would alias.
    """
    while image.shape[0] >= 2 * height and image.shape[1] >= 2 * width:
        half_height, half_width = image.shape[0] // 2, image.shape[1] // 2
        even = image[: 2 * half_height, : 2 * half_width]  # OpenCV is fast where the factor is exactly two
        image = np.asarray(cv2.resize(even, (half_width, half_height), interpolation=cv2.INTER_AREA), np.uint8)
    if image.shape[:2] == (height, width):
        if out is None:
            return image
        out[...] = image
        return out
    method = cv2.INTER_CUBIC if interpolation == "bicubic" else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), dst=out, interpolation=method), dtype=np.uint8)


def mirror(image: Image) -> None:
    """Exchange left and right, in place: what has just been written is still in the processor's cache."""
    cv2.flip(image, 1, dst=image)


def resize_antialiased(
    image: Image, width: int, height: int, interpolation: Interpolation = "bilinear", *, out: Image | None = None
) -> Image:
    """Resize as evaluation does, exactly: `interpolation` with a filter as wide as the pixels that become one.

    This is Pillow's resize, within rounding, with which pretrained weights were trained and measured.
    """
    import torch

    if out is None:
        out = np.empty((height, width, 3), np.uint8)
    if image.shape == out.shape:
        out[...] = image
    else:
        # F.interpolate calls the same operator, but into memory of its own, which costs as much as half of the work.
        resample = torch.ops.aten._upsample_bilinear2d_aa.out
        if interpolation == "bicubic":
            resample = torch.ops.aten._upsample_bicubic2d_aa.out
        resample(_nchw(image), [height, width], False, None, None, out=_nchw(out))
    return out


def _nchw(image: Image) -> "torch.Tensor":
    """Return the same memory as a tensor of shape 1 x 3 x H x W, channels last."""
    import torch

    return torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0)
