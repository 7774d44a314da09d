"""Make a square JPEG of a photo of any kind."""

import hashlib
import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
import simplejpeg
from PIL import Image, ImageOps

from corolla.data.decode import decode_jpeg

Crop = Literal["center", "stretch"]


@dataclass(frozen=True)
class Pixels:
    """Settings of the square JPEG that a photo becomes."""

    size: int
    crop: Crop = "center"
    quality: int = 95


def to_jpeg(data: bytes, pixels: Pixels) -> bytes:
    """Return a photo's file as a square JPEG, as `to_jpeg_and_picture` does."""
    return to_jpeg_and_picture(data, pixels)[0]


def to_jpeg_and_picture(data: bytes, pixels: Pixels) -> tuple[bytes, str]:
    """Return a photo's file as a square JPEG, turned as its EXIF says; one that is just that keeps its bytes.

    Beside it comes the SHA-1 of the upright photo's pixels, by which copies are known whatever their metadata say.

    Raises:
        OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError: it is no whole image;
            these are Pillow's errors.
    """
    size = pixels.size
    with Image.open(io.BytesIO(data)) as photo:
        photo.load()
        turned = ImageOps.exif_transpose(photo)
        if photo.format == "JPEG" and photo.mode == "RGB" and photo.size == (size, size) and is_upright(photo):
            try:
                decode_jpeg(data)
                return data, _picture(photo)
            except ValueError:  # Pillow forgives more than the training's decoder
                pass
        image = _rgb(turned)
    picture = _picture(image)
    if pixels.crop == "center":
        image = ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
    else:
        image = image.resize((size, size), Image.Resampling.LANCZOS)
    return simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=pixels.quality, colorspace="RGB"), picture


def _picture(image: Image.Image) -> str:
    digest = hashlib.sha1(repr(image.size).encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def is_upright(photo: Image.Image) -> bool:
    """Return whether a photo's EXIF asks for no turn."""
    return photo.getexif().get(0x0112, 1) not in range(2, 9)


def _rgb(image: Image.Image) -> Image.Image:
    """Return 8 bits each of red, green and blue; transparent pixels become white."""
    if image.mode == "F":
        raise ValueError("its pixels are fractions, whose range is not known: convert it to 8 bits")
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip at 255
        image = Image.fromarray((np.asarray(image) / 257).round().clip(0, 255).astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")
