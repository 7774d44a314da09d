"""Pixels: every one of a JPEG, and resizing as Pillow does it."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from corolla.data.decode import decode_jpeg, resize, resize_antialiased
from corolla.data.flowers import Flowers
from corolla.data.index import load_index

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("side", [48, 73, 200])
def test_evaluation_resizes_as_pillow_does(
    interpolation: Literal["bilinear", "bicubic"], side: int, real_photos: Path
) -> None:
    photo = Flowers(load_index(real_photos / "oxford102", 64), "val").image(0)
    ours = resize_antialiased(photo, side, side, interpolation).astype(int)
    theirs = np.asarray(Image.fromarray(photo).resize((side, side), FILTERS[interpolation])).astype(int)
    assert np.abs(ours - theirs).max() <= 2
    assert np.abs(ours - theirs).mean() < 0.3


@pytest.mark.parametrize(("data", "size"), [("oxford102", 64), ("oxford17", 224), ("oxford17", 512)])
def test_opencv_gives_the_same_pixels(data: str, size: int, real_photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = Flowers(load_index(real_photos / data, size), "val")
    rows = range(0, len(photos), len(photos) // 20)
    usual = [photos.image(row) for row in rows]
    monkeypatch.setattr("corolla.data.decode.simplejpeg", None)
    assert all(np.array_equal(photos.image(row), image) for row, image in zip(rows, usual, strict=True))


def test_opencv_refuses_what_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = simplejpeg.encode_jpeg(np.zeros((32, 32, 3), np.uint8))
    monkeypatch.setattr("corolla.data.decode.simplejpeg", None)
    assert decode_jpeg(whole).shape == (32, 32, 3)
    for data in (whole[:-20], b"", b"no jpeg"):
        with pytest.raises(ValueError, match="not a whole JPEG"):
            decode_jpeg(data)


def test_a_size_that_fits_already_is_left_alone() -> None:
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    for function in (resize, resize_antialiased):
        assert np.array_equal(function(image, 30, 20), image)


def test_shrinking_does_not_alias() -> None:
    """Stripes of one pixel become grey, not stripes."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    for function in (resize, resize_antialiased):
        assert np.abs(function(stripes, 20, 20).astype(int) - 127).max() < 40


def test_grey_jpegs_become_rgb() -> None:
    grey = np.full((16, 16, 1), 77, np.uint8)
    decoded = decode_jpeg(simplejpeg.encode_jpeg(grey, colorspace="GRAY"))
    assert decoded.shape == (16, 16, 3)
    assert np.abs(decoded.astype(int) - 77).max() <= 1


@pytest.mark.parametrize("data", [b"", b"no jpeg", b"\xff\xd8\xff"])
def test_what_is_no_jpeg_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are libjpeg's
        decode_jpeg(data)
