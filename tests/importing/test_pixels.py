"""Every kind of pixel becomes a square RGB JPEG, upright."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps
from support import smooth

from corolla.data.decode import decode_jpeg
from corolla.importing.pixels import Pixels, to_jpeg

SIZE = 32


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def close(jpeg: bytes, expected: Image.Image) -> bool:
    difference = np.abs(decode_jpeg(jpeg).astype(int) - np.asarray(expected.convert("RGB")).astype(int))
    return difference.mean() < 2 and difference.max() < 24


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation: int) -> None:
    upright = smooth(3, 64, 96)
    stored = {
        1: lambda image: image,
        2: ImageOps.mirror,
        3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
        4: ImageOps.flip,
        5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
        6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
        7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
        8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
    }[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, "PNG", exif=exif)  # lossless, so that the pixels are the very same
    assert to_jpeg(data, Pixels(SIZE)) == to_jpeg(encoded(upright, "PNG"), Pixels(SIZE))
    assert close(to_jpeg(data, Pixels(SIZE)), upright.resize((32, 48), Image.Resampling.LANCZOS).crop((0, 8, 32, 40)))


def test_every_kind_of_pixel_becomes_rgb() -> None:
    square, pixels = smooth(5, SIZE, SIZE), Pixels(SIZE)
    grey = square.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    clear = square.copy()
    clear.putalpha(0)
    half = square.copy()
    half.putalpha(Image.new("L", square.size, 128))
    palette = square.quantize(16)
    paper = Image.new("RGB", square.size, "white")
    for data, expected in (
        (encoded(square, "PNG"), square),
        (encoded(square, "BMP"), square),
        (encoded(square, "WEBP", lossless=True), square),
        (encoded(grey, "JPEG", quality=95), grey),
        (encoded(grey, "PNG"), grey),
        (encoded(deep, "PNG"), grey),
        (encoded(square.convert("CMYK"), "JPEG", quality=95), square),
        (encoded(palette, "PNG"), palette),
        (encoded(clear, "PNG"), paper),
        (encoded(half, "PNG"), Image.blend(paper, square, 128 / 255)),
        (encoded(grey.convert("1"), "PNG"), grey.convert("1")),
    ):
        jpeg = to_jpeg(data, pixels)
        assert Image.open(io.BytesIO(jpeg)).mode == "RGB"
        assert decode_jpeg(jpeg).shape == (SIZE, SIZE, 3)
        if expected.mode != "1" and expected is not palette:  # hard edges ring
            assert close(jpeg, expected)


def test_a_jpeg_of_the_size_keeps_its_bytes_unless_it_lies_on_its_side() -> None:
    square = smooth(6, SIZE, SIZE)
    data = encoded(square, "JPEG", quality=71)
    assert to_jpeg(data, Pixels(SIZE)) == data
    exif = Image.Exif()
    exif[0x0112] = 6
    assert to_jpeg(encoded(square, "JPEG", exif=exif), Pixels(SIZE)) != encoded(square, "JPEG", exif=exif)
    assert to_jpeg(data, Pixels(64)) != data


def test_crop_or_stretch() -> None:
    wide = Image.new("RGB", (96, 32), "white")
    wide.paste((0, 0, 0), (0, 0, 32, 32))  # left third
    assert decode_jpeg(to_jpeg(encoded(wide, "PNG"), Pixels(SIZE))).min() > 240
    stretched = decode_jpeg(to_jpeg(encoded(wide, "PNG"), Pixels(SIZE, "stretch")))
    assert stretched[:, :8].max() < 16
    assert stretched[:, 14:].min() > 230
