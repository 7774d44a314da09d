"""The class, the id and the pixels of a record, whatever types its features have."""

import io
import math
from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image

from corolla.data.feature_names import shown
from corolla.data.features import FLOAT_LIST, INT64_LIST, byte_spans, floats, int64s, kind_of_list
from corolla.data.jpeg_header import is_text, kind_of
from corolla.data.protobuf import DELIMITED, VARINT, Buffer, Span, fields

Values = Mapping[bytes, list[Span]]
"""The features of a record, as `read_features` gives them."""

HEIGHTS = (b"height", b"image/height", b"rows", b"image_height", b"img_height", b"h")
WIDTHS = (b"width", b"image/width", b"cols", b"columns", b"image_width", b"img_width", b"w")
DEPTHS = (b"depth", b"image/depth", b"channels", b"image/channels", b"image_depth", b"num_channels", b"c")
SHAPES = (b"shape", b"image/shape", b"image_shape", b"size", b"image/size")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
SMALLEST = 8  # pixels of the side of raw photos whose size no feature tells
HEAD = 32  # bytes that tell the kind of a file
Shape = tuple[int, ...]
"""Height, width and, where it is told, channels of raw pixels."""


class Label(NamedTuple):
    """A record's class: a number or a name, and the length of the one-hot list that told it."""

    value: int | str
    classes: int | None


def read_label(buffer: Buffer, values: Values, name: bytes | None) -> Label | None:
    """Return the class that a feature tells as a number, as text or one-hot; None where it is -1 or not there.

    Raises:
        ValueError: it is none of these.
    """
    feature = values.get(name, []) if name is not None else []
    if texts := byte_spans(buffer, feature):
        text = _text(buffer, texts, name)
        return None if text in ("", "-1") else Label(text, None)
    numbers = int64s(buffer, feature) or floats(buffer, feature)
    if not numbers:
        return None
    if len(numbers) > 1:
        if set(numbers) != {0, 1} or sum(numbers) != 1:
            raise ValueError(f"feature '{_name(name)}' holds {len(numbers)} values and is not one-hot: it is no class")
        return Label(numbers.index(1), len(numbers))
    (number,) = numbers
    if not math.isfinite(number) or number != int(number) or number < -1:
        raise ValueError(f"feature '{_name(name)}' holds {number:g}, which is no number of a class")
    return None if number == -1 else Label(int(number), None)


def read_text(buffer: Buffer, values: Values, name: bytes | None) -> str | None:
    """Return the text, or the whole number, that a feature holds; None where there is none.

    Raises:
        ValueError: it is not one printable text.
    """
    feature = values.get(name, []) if name is not None else []
    if numbers := int64s(buffer, feature):
        if len(numbers) > 1:
            raise ValueError(f"feature '{_name(name)}' holds {len(numbers)} values instead of one")
        return str(numbers[0])
    if floats(buffer, feature):
        raise ValueError(f"feature '{_name(name)}' holds fractions, where a text or a whole number should be")
    return _text(buffer, spans, name) or None if (spans := byte_spans(buffer, feature)) else None


def read_image(buffer: Buffer, values: Values, name: bytes) -> Span:
    """Return the place of the photo's bytes.

    Raises:
        ValueError: there is none, or there are several, or they are numbers.
    """
    feature = values.get(name, [])
    spans = [span for span in byte_spans(buffer, feature) if span[0] < span[1]]
    if len(spans) > 1:
        raise ValueError(f"feature '{_name(name)}' holds {len(spans)} values instead of one photo")
    if not spans:
        if kind_of_list(buffer, feature) in (FLOAT_LIST, INT64_LIST):
            raise ValueError(
                f"feature '{_name(name)}' holds numbers, which are not read as pixels: write them as bytes"
            )
        raise ValueError(f"feature '{_name(name)}' holds no photo")
    return spans[0]


def read_shape(buffer: Buffer, values: Values) -> Shape | None:
    """Return the height, width and channels that the features of usual names tell; None where they tell none."""

    def first(names: tuple[bytes, ...]) -> list[int]:
        return next((numbers for name in names if (numbers := int64s(buffer, values.get(name, [])))), [])

    shape = (*first(HEIGHTS)[:1], *first(WIDTHS)[:1])
    shape = (*shape, *first(DEPTHS)[:1]) if len(shape) == 2 else tuple(first(SHAPES))
    return shape if len(shape) in (2, 3) and min(shape) > 0 else None


def is_file(start: bytes) -> bool:
    """Return whether bytes begin as the file of an image, or of another known kind, so that they are no raw pixels."""
    return start.startswith(b"\xff\xd8") or kind_of(start) is not None


def square(lengths: Collection[int]) -> Shape | None:
    """Return the size of raw pixels that no feature tells: a square's of red, green and blue, where all are as long.

    Text, such as photos' paths, is rarely as long in all records, or as long as a square of more than a few pixels.
    """
    side = math.isqrt(max(lengths, default=0) // 3)
    return (side, side, 3) if side >= SMALLEST and set(lengths) == {3 * side * side} else None


def image_file(data: bytes, shape: Shape | None) -> bytes:
    """Return a photo as an image's file: bytes that are one as they are, raw pixels with a header before them.

    Raises:
        ValueError: it is a serialized tensor, or has pixels of another type than uint8.
    """
    if is_file(data[:HEAD]):
        return data
    if _is_tensor(data):
        raise ValueError("a serialized tensor, which is not read: write the photo with tf.io.encode_jpeg")
    if shape is None:
        if is_text(data):
            raise ValueError("text and no image, such as a path or base64: write the bytes of the photo's file")
        return data
    height, width = shape[:2]
    depth = shape[2] if len(shape) > 2 else len(data) // (height * width)
    if depth not in MODES or len(data) != height * width * depth:
        size, rest = divmod(len(data), height * width * (shape[2] if len(shape) > 2 else 3))
        if size in (2, 4, 8) and not rest:
            raise ValueError(f"raw pixels of {size} bytes each, which are not read: write them as uint8")
        return data
    if kind := _other_type(data):
        raise ValueError(f"raw pixels that seem to be {kind}, which are not read: write them as uint8")
    if depth != 4:
        return b"%s %d %d 255\n" % (b"P5" if depth == 1 else b"P6", width, height) + data
    file = io.BytesIO()
    Image.frombytes("RGBA", (width, height), data).save(file, "PNG", compress_level=0)
    return file.getvalue()


def _is_tensor(data: bytes) -> bool:
    """Return whether bytes are a TensorProto (tensorflow/core/framework/tensor.proto) with a type and a shape."""
    if data[:1] != b"\x08" or data[2:3] != b"\x12":
        return False
    try:
        found = [(number, wire) for number, wire, _, _ in fields(data, 0, len(data))]
    except ValueError:
        return False
    return found[:2] == [(1, VARINT), (2, DELIMITED)]


def _other_type(data: bytes) -> str | None:
    """Return the type of pixels of 4 bytes each that fill a larger photo of uint8; None where nothing tells of one.

    As float32, pixels are all of the size that pixels have, as those of uint8 hardly ever are; as int32, three bytes of
    four are 0.
    """
    if len(data) % 4 or not any(data):
        return None
    if not np.frombuffer(data, "<u4").max() >> 8:
        return "int32"
    numbers = np.frombuffer(data, "<f4")
    sizes = np.abs(numbers)
    are_floats = (np.isfinite(numbers) & ((sizes == 0) | (sizes > 1e-6)) & (sizes <= 256)).all() and np.ptp(numbers) > 0
    return "float32" if are_floats else None


def _text(buffer: Buffer, spans: list[Span], name: bytes | None) -> str:
    if len(spans) > 1:
        raise ValueError(f"feature '{_name(name)}' holds {len(spans)} texts instead of one")
    try:
        text = buffer[spans[0][0] : spans[0][1]].decode().strip()
    except UnicodeDecodeError:
        raise ValueError(f"feature '{_name(name)}' is not UTF-8 text") from None
    if not text.isprintable():
        raise ValueError(f"feature '{_name(name)}' holds {text[:40]!r}, which is not printable text")
    return text


def _name(name: bytes | None) -> str:
    return shown(name or b"")
