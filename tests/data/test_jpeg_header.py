"""Every way of decoding is held against Pillow; what is not taken is refused from the header, by all of them alike."""

import functools
import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support import outcome, write_data

from corolla.cli import run_command
from corolla.data.check import check
from corolla.data.dataset import TFRecordDataset
from corolla.data.decode import EDGE, decode_jpeg, decode_photo, decode_top, jpeg_shape
from corolla.data.index import load_index
from corolla.data.jpeg_header import MAX_PIXELS, kind_of, read_header
from corolla.data.tfrecord import encode_example, write_tfrecord
from corolla.errors import UserError

SIDE = 96
NOISE = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
PHOTO = np.asarray(cv2.GaussianBlur(NOISE, (0, 0), 2), np.uint8)


def pillow(mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PHOTO).convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def frame(data: bytes) -> int:
    """Where the frame's marker stands."""
    position = 2
    while not 0xC0 <= data[position + 1] <= 0xCF or data[position + 1] in (0xC4, 0xC8, 0xCC):
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return position


def patched(data: bytes, *, at: int, to: bytes) -> bytes:
    place = frame(data) + at
    return data[:place] + to + data[place + len(to) :]


def sampled(factors: int) -> bytes:
    """A file of six blocks a unit, as 4:2:0 has, with other factors: 0x14 is 4:4:1, 0x41 is 4:1:1."""
    return patched(simplejpeg.encode_jpeg(PHOTO, colorsubsampling="420"), at=11, to=bytes([factors]))


def filled(data: bytes) -> bytes:
    """With fill bytes before its markers (ITU T.81, B.1.1.2)."""
    place = frame(data)
    return data[:place] + b"\xff\xff" + data[place:]


GOOD: dict[str, Callable[[], bytes]] = {
    **{name: lambda name=name: simplejpeg.encode_jpeg(PHOTO, colorsubsampling=name) for name in ("444", "422", "420")},
    **{name: lambda name=name: simplejpeg.encode_jpeg(PHOTO, colorsubsampling=name) for name in ("440", "411", "Gray")},
    "4:4:1": lambda: sampled(0x14),
    "4:1:1 patched": lambda: sampled(0x41),
    "RGB": lambda: pillow(keep_rgb=True, subsampling=0),
    "grey": lambda: pillow("L"),
    "CMYK": lambda: pillow("CMYK"),
    "CMYK, progressive": lambda: pillow("CMYK", progressive=True),
    "progressive": lambda: pillow(progressive=True),
    "grey, progressive": lambda: pillow("L", progressive=True),
    "restart markers": lambda: pillow(restart_marker_blocks=2),
    "CMYK, restart markers": lambda: pillow("CMYK", restart_marker_blocks=2),
    "extended": lambda: patched(pillow(), at=1, to=b"\xc1"),
    "fill bytes": lambda: filled(pillow()),
    "turned by EXIF": lambda: pillow(exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"),
    "bytes after its end": lambda: pillow() + bytes(100),
    "a line after its end": lambda: pillow(progressive=True) + b"\r\n",
    "a phone's film after its end": lambda: pillow(restart_marker_blocks=2) + b"\0\0\0\x18ftypmp42" + bytes(200),
    "a second photo after its end": lambda: pillow() + pillow("L"),
}


@pytest.mark.parametrize("make", GOOD.values(), ids=GOOD)
def test_every_way_of_decoding_is_pillows(make: Callable[[], bytes]) -> None:
    data = make()
    wanted = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert jpeg_shape(data) == wanted.shape[:2]
    decode_photo(simplejpeg.encode_jpeg(255 - PHOTO))  # what is left of the photo before must not be seen
    ways = {
        "all": decode_jpeg(data),
        "into memory of one's own": decode_jpeg(data, out=np.full_like(PHOTO, 7)),
        "photo": decode_photo(data).copy(),
        "photo into memory of one's own": decode_photo(data, np.full_like(PHOTO, 7)),
    }
    for rows in (1, 8, 17, 50, SIDE - EDGE - 1, SIDE - 1, SIDE):
        decode_photo(simplejpeg.encode_jpeg(255 - PHOTO))
        ways[f"{rows} rows"] = decode_photo(data, rows=rows)[:rows].copy()
        ways[f"top {rows}"] = decode_top(data, min(rows, SIDE - EDGE), out=np.full_like(PHOTO, 7))
    for name, image in ways.items():
        difference = np.abs(image.astype(int) - wanted[: len(image)]).max()
        assert difference <= (1 if "CMYK" in str(Image.open(io.BytesIO(data)).mode) else 0), name


@pytest.mark.parametrize("make", GOOD.values(), ids=GOOD)
def test_opencv_takes_the_same(make: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    data = make()
    usual = decode_jpeg(data)
    monkeypatch.setattr("corolla.data.decode.simplejpeg", None)
    assert np.abs(decode_photo(data, rows=9)[:9].astype(int) - usual[:9]).max() <= 1
    assert np.abs(decode_jpeg(data).astype(int) - usual).max() <= 1


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "a bomb": (
        lambda: patched(pillow(), at=5, to=(30_000).to_bytes(2, "big") * 2),
        "promises 30000x30000 pixels, more",
    ),
    "just too large": (lambda: patched(pillow(), at=5, to=b"\x24\xf4\x24\xf4"), "promises 9460x9460 pixels, more"),
    "just too wide": (
        lambda: patched(pillow(), at=7, to=b"\xff\xff"),
        "promises 65535x96 pixels, more than the 65500 a s",
    ),
    "no height": (lambda: patched(pillow(), at=5, to=b"\0\0"), "promises 96x0 pixels"),
    "no width": (lambda: patched(pillow(), at=7, to=b"\0\0"), "promises 0x96 pixels"),
    "12 bits": (lambda: patched(pillow(), at=4, to=b"\x0c"), "a JPEG of 12 bits a colour"),
    "lossless": (lambda: patched(pillow(), at=1, to=b"\xc3"), "lossless or hierarchical"),
    "hierarchical": (lambda: patched(pillow(), at=1, to=b"\xc5"), "lossless or hierarchical"),
    "two colours": (lambda: patched(pillow(), at=9, to=b"\x02"), "a JPEG of 2 colours"),
    "two frames": (lambda: (d := pillow())[: frame(d)] + d[frame(d) : frame(d) + 19] + d[frame(d) :], "not a whole"),
    "its header alone": (lambda: (d := pillow())[: frame(d) + 12], "not a whole JPEG"),
    "a PNG": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(50), "they are a PNG image"),
    "a WebP": (lambda: b"RIFF\x10\0\0\0WEBPVP8 " + bytes(50), "they are a WebP image"),
    "a GIF": (lambda: b"GIF89a" + bytes(50), "they are a GIF image"),
    "a HEIC": (lambda: b"\0\0\0\x18ftypheic" + bytes(50), "they are a HEIC or AVIF image"),
    "a web page": (lambda: b"\n<!DOCTYPE html>", "they are a web page"),
    "raw pixels": (lambda: bytes(SIDE * SIDE * 3), "not a whole JPEG"),
    "nothing": (lambda: b"", "not a whole JPEG"),
}


@pytest.mark.parametrize("library", ["simplejpeg", "opencv"])
@pytest.mark.parametrize("behind", [b"", bytes(99), b"\n"], ids=["alone", "zeros", "line"])
def test_a_photo_without_its_end_is_refused_whatever_lies_behind(
    library: str, behind: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    if library == "opencv":
        monkeypatch.setattr("corolla.data.decode.simplejpeg", None)
    thumbnail = b"\xff\xe1" + (2 + len(pillow("L"))).to_bytes(2, "big") + pillow("L")
    data = pillow()[:2] + thumbnail + pillow()[2:]
    assert decode_jpeg(data).shape == PHOTO.shape
    for cut in (data[:-2], data[:-200]):
        with pytest.raises(ValueError, match=r"not a whole JPEG|[Pp]remature end"):
            decode_jpeg(cut + behind)


@pytest.mark.parametrize(("sampling"), [b"\x31\x11\x11", b"\x24\x11\x11", b"\x11\x22\x22"])
def test_a_subsampling_that_is_not_read_is_told_with_those_that_are(sampling: bytes) -> None:
    data = pillow(subsampling=0)
    for number, factors in enumerate(sampling):
        data = patched(data, at=11 + 3 * number, to=bytes([factors]))
    for decode in (decode_jpeg, decode_photo, lambda data: decode_photo(data, rows=3)):
        with pytest.raises(ValueError, match="this subsampling is not read; save it with 4:4:4"):
            decode(data)


@pytest.mark.parametrize("library", ["simplejpeg", "opencv"])
@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_what_is_not_taken_is_refused_from_the_header(
    make: Callable[[], bytes], message: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if library == "opencv":
        monkeypatch.setattr("corolla.data.decode.simplejpeg", None)
    data = make()
    for decode in (decode_jpeg, decode_photo, jpeg_shape, lambda data: decode_photo(data, rows=3)):
        with pytest.raises(ValueError, match=message):
            decode(data)


@given(data=st.binary(max_size=200), cut=st.integers(2, 700))
def test_any_bytes_have_a_header_or_a_reason(data: bytes, cut: int) -> None:
    for each in (data, b"\xff\xd8" + data, pillow()[:cut] + data):
        header = outcome(functools.partial(read_header, each), ValueError)
        if isinstance(header, str):
            assert "JPEG" in header or "pixels" in header
        else:
            assert 0 < header.height * header.width <= MAX_PIXELS
    assert kind_of(pillow()) is None


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A data folder whose first train photo is 4:4:1 and whose second is CMYK."""
    write_data(tmp_path / "data", size=SIDE)
    records = tmp_path / "data" / f"tfrecords-jpeg-{SIDE}x{SIDE}" / "train"
    for path in records.iterdir():
        path.unlink()
    examples = [encode_example(image=data, label=0, id=None) for data in (sampled(0x14), pillow("CMYK"))]
    write_tfrecord(records / f"00-{SIDE}x{SIDE}-2.tfrec", examples)
    return tmp_path / "data"


def test_check_and_training_take_the_same_photos(mixed: Path) -> None:
    assert check(mixed, None, progress=False).faults == ()
    photos = TFRecordDataset(load_index(mixed, None), "train")
    assert photos.image(0).shape == photos.image(1).shape == (SIDE, SIDE, 3)
    assert run_command(["stats", str(mixed)]) == 0


def test_check_and_training_refuse_the_same_bomb(mixed: Path) -> None:
    (path,) = (mixed / f"tfrecords-jpeg-{SIDE}x{SIDE}" / "train").iterdir()
    write_tfrecord(path, [encode_example(image=BAD["a bomb"][0](), label=0, id=None)] * 2)
    faults = [str(fault) for fault in check(mixed, None, progress=False).faults]
    assert len(faults) == 2
    assert all("promises 30000x30000 pixels" in fault for fault in faults)
    with pytest.raises(UserError, match="promises 30000x30000 pixels"):
        TFRecordDataset(load_index(mixed, None), "train").image(0)
