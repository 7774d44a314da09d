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
