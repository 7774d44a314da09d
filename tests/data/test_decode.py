"""Pixels: every one of a JPEG, and resizing as Pillow does it."""

import io
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from corolla.data.dataset import TFRecordDataset
from corolla.data.decode import (
    EDGE,
    STOPPED_EARLY,
    decode_jpeg,
    decode_photo,
    decode_top,
    jpeg_shape,
    mirror,
    resize,
    resize_antialiased,
)
from corolla.data.index import load_index

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("side", [48, 73, 200])
def test_evaluation_resizes_as_pillow_does(
    interpolation: Literal["bilinear", "bicubic"], side: int, real_photos: Path
) -> None:
    photo = TFRecordDataset(load_index(real_photos / "oxford102", 64), "val").image(0)
    ours = resize_antialiased(photo, side, side, interpolation).astype(int)
    theirs = np.asarray(Image.fromarray(photo).resize((side, side), FILTERS[interpolation])).astype(int)
    assert np.abs(ours - theirs).max() <= 2
    assert np.abs(ours - theirs).mean() < 0.3


@pytest.mark.parametrize(("data", "size"), [("oxford102", 64), ("oxford17", 224), ("oxford17", 512)])
def test_opencv_gives_the_same_pixels(data: str, size: int, real_photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = TFRecordDataset(load_index(real_photos / data, size), "val")
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


SUBSAMPLINGS = ["444", "422", "420", "440", "411", "Gray"]


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Every pixel another colour: whatever is upsampled from the wrong row shows."""
    return np.random.default_rng([seed, height, width]).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    return cv2.GaussianBlur(noise(height, width), (0, 0), 2)


def top(data: bytes | memoryview, rows: int) -> np.ndarray:
    return decode_top(data, rows, out=np.empty((*jpeg_shape(data), 3), np.uint8))


def pillow_jpeg(image: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@given(
    height=st.integers(EDGE + 2, 70),
    width=st.integers(1, 50),
    subsampling=st.sampled_from(SUBSAMPLINGS),
    quality=st.sampled_from([30, 95]),
    seed=st.integers(0, 9),
)
def test_the_top_is_that_of_the_whole(height: int, width: int, subsampling: str, quality: int, seed: int) -> None:
    data = simplejpeg.encode_jpeg(noise(height, width, seed), quality=quality, colorsubsampling=subsampling)
    whole = decode_jpeg(data)
    for rows in range(1, height - EDGE + 1):
        assert np.array_equal(top(data, rows), whole[:rows])


@given(height=st.integers(1, 40), width=st.integers(1, 40), subsampling=st.sampled_from(SUBSAMPLINGS))
def test_any_number_of_rows_may_be_asked_for(height: int, width: int, subsampling: str) -> None:
    """More than there are, too: the crop's last row is the photo's last."""
    data = simplejpeg.encode_jpeg(noise(height, width), colorsubsampling=subsampling)
    whole = decode_jpeg(data)
    for rows in range(1, height + 3):
        assert np.array_equal(decode_photo(data, rows=rows)[:rows], whole[:rows])


@pytest.mark.parametrize(("data", "size"), [("oxford102", 64), ("oxford17", 224)])
def test_the_top_of_real_photos(data: str, size: int, real_photos: Path) -> None:
    photos = TFRecordDataset(load_index(real_photos / data, size), "train")
    for number, row in enumerate(range(0, len(photos), len(photos) // 40)):
        whole = decode_jpeg(photos.jpeg(row))
        rows = 1 + (number * 37 + 11) % (size - EDGE - 1)
        assert np.array_equal(decode_photo(photos.jpeg(row), rows=rows)[:rows], whole[:rows])


@pytest.mark.parametrize(
    "options", [{"progressive": True}, {"optimize": True}, {"exif": b"Exif\0\0" + b"\xff\xc0" * 9}]
)
def test_the_top_of_other_files(options: dict[str, object]) -> None:
    """A progressive file's first rows come with its last scan; what is in an application's segment is no header."""
    data = pillow_jpeg(smooth(75, 61), **options)
    whole = decode_jpeg(data)
    for rows in (1, 8, 40, 73):
        assert np.array_equal(top(data, rows), whole[:rows])


@pytest.mark.parametrize("blocks", [1, 3, 16])
def test_the_top_of_a_file_with_restart_markers(blocks: int) -> None:
    """Cameras write them."""
    data = pillow_jpeg(smooth(75, 61), restart_marker_blocks=blocks)
    whole = decode_jpeg(data)
    for rows in (1, 8, 40, 73):
        assert np.array_equal(top(data, rows), whole[:rows])


def test_the_top_of_a_file_with_a_scan_for_each_colour() -> None:
    """Sequential, but not interleaved."""
    data = one_scan_a_colour(
        [
            simplejpeg.encode_jpeg(smooth(40, 33)[..., i : i + 1].copy(), colorspace="GRAY", colorsubsampling="Gray")
            for i in range(3)
        ],
        40,
        33,
    )
    whole = decode_jpeg(data)
    for rows in (1, 8, 20, 38):
        assert np.array_equal(top(data, rows), whole[:rows])


def one_scan_a_colour(grey: list[bytes], height: int, width: int) -> bytes:
    """Put together from grey JPEGs of one quality, which share their tables."""
    tables = b"".join(segment for segment in segments(grey[0]) if segment[1] in (0xDB, 0xC4))
    components = b"".join(bytes([number, 0x11, 0]) for number in (1, 2, 3))
    header = b"\xff\xc0\x00\x11\x08" + height.to_bytes(2, "big") + width.to_bytes(2, "big") + b"\x03" + components
    scans = b"".join(
        b"\xff\xda\x00\x08\x01" + bytes([number, 0, 0, 63, 0]) + data[entropy_coded(data) : -2]
        for number, data in enumerate(grey, 1)
    )
    return b"\xff\xd8" + tables + header + scans + b"\xff\xd9"


def segments(data: bytes) -> list[bytes]:
    """A JPEG's segments up to its (first) scan."""
    found, position = [], 2
    while True:
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        found.append(data[position:end])
        if data[position + 1] == 0xDA:
            return found
        position = end


def entropy_coded(data: bytes) -> int:
    """Where the pixels of a JPEG of one scan begin."""
    return 2 + sum(map(len, segments(data)))


@pytest.mark.parametrize("subsampling", ["444", "420", "Gray"])
def test_a_cut_file_is_found_from_its_top(subsampling: str) -> None:
    data = simplejpeg.encode_jpeg(smooth(64, 64), colorsubsampling=subsampling)
    for length in (100, entropy_coded(data) + 3, len(data) // 2, len(data) - 20, len(data) - 2):
        with pytest.raises(ValueError, match="JPEG"):
            decode_photo(data[:length], rows=20)


@pytest.mark.parametrize("seed", range(5))
def test_damage_that_libjpeg_meets_in_the_rows_is_found(seed: int) -> None:
    """Not all damage is met there: mostly it is bytes that are left over at the end of the whole."""
    data = damaged(simplejpeg.encode_jpeg(smooth(96, 96), colorsubsampling="420"), seed)
    for rows in (96 - EDGE - 1, 96):
        with pytest.raises(ValueError, match=r"JPEG|marker"):
            decode_photo(data, rows=rows)


def damaged(data: bytes, seed: int) -> bytes:
    """A byte is flipped in the first quarter of the pixels, so that libjpeg finds more than bytes left over."""
    rng = np.random.default_rng(seed)
    first = entropy_coded(data)
    while True:
        changed = bytearray(data)
        changed[int(rng.integers(first, first + (len(data) - first) // 4))] ^= int(rng.integers(1, 256))
        try:
            decode_jpeg(bytes(changed))
        except ValueError as error:
            if STOPPED_EARLY not in str(error):
                return bytes(changed)


@given(height=st.integers(1, 60), width=st.integers(1, 60))
def test_a_photo_may_be_decoded_into_memory_of_ones_own(height: int, width: int) -> None:
    data = simplejpeg.encode_jpeg(noise(height, width), colorsubsampling="420")
    out = np.empty((height, width, 3), np.uint8)
    image = decode_photo(data)
    assert image.shape == out.shape
    assert np.array_equal(decode_photo(data, out), image)
    assert np.array_equal(out, image)


@given(height=st.integers(1, 40), width=st.integers(1, 40))
def test_opencv_knows_the_same_shape(height: int, width: int) -> None:
    data = simplejpeg.encode_jpeg(noise(height, width))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("corolla.data.decode.simplejpeg", None)
        assert jpeg_shape(data) == (height, width)
        assert decode_photo(data).shape == (height, width, 3)


def test_opencv_gives_the_same_top(monkeypatch: pytest.MonkeyPatch) -> None:
    data = simplejpeg.encode_jpeg(smooth(40, 30), colorsubsampling="420")
    usual = top(data, 9).copy()
    monkeypatch.setattr("corolla.data.decode.simplejpeg", None)
    assert np.array_equal(top(data, 9), usual)


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_the_shape_comes_from_the_header(subsampling: str) -> None:
    data = simplejpeg.encode_jpeg(noise(13, 37), colorsubsampling=subsampling)
    assert jpeg_shape(data) == jpeg_shape(memoryview(data)) == jpeg_shape(data[:-20]) == (13, 37)
    with pytest.raises(ValueError, match="JPEG"):
        jpeg_shape(b"no jpeg")


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("width", "height"), [(45, 60), (30, 61), (31, 40)])
def test_enlarging_is_opencvs(interpolation: Literal["bilinear", "bicubic"], width: int, height: int) -> None:
    image = smooth(60, 45)[:40, :30]  # a crop: its rows do not follow each other in memory
    method = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}[interpolation]
    expected = cv2.resize(image, (width, height), interpolation=method)
    out = np.zeros((height, width, 3), np.uint8)
    assert np.array_equal(resize(image, width, height, interpolation), expected)
    assert np.array_equal(resize(image, width, height, interpolation, out=out), expected)
    assert np.array_equal(out, expected)


@pytest.mark.parametrize("shape", [(1, 1), (5, 2), (7, 129), (64, 64), (33, 35)])
def test_mirroring_exchanges_left_and_right_in_place(shape: tuple[int, int]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, *shape, 3), np.uint8)
    before = images.copy()
    mirror(images[1])
    assert np.array_equal(images[1], before[1, :, ::-1])
    assert np.array_equal(images[::2], before[::2])
