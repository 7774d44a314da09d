"""TFRecord files and the tf.train.Example inside, read in place and written, without TensorFlow.

A record is uint64 length, uint32 masked CRC32C of those 8 bytes, the data, uint32 masked CRC32C of the data, all
little-endian (tensorflow/core/lib/io/record_writer.h). The data is a protobuf message (tensorflow/core/example):

    Example { Features features = 1 }    Features { map<string, Feature> feature = 1 }
    Feature { oneof: BytesList bytes_list = 1, FloatList float_list = 2, Int64List int64_list = 3 }
"""

import mmap
import os
import re
import stat
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import google_crc32c
import numpy as np

from corolla.data.feature_names import features_of
from corolla.data.features import BYTES_LIST, INT64_LIST, byte_spans, int64s, read_features
from corolla.data.foreign_records import OtherFeatures, conversion, packing, what_instead
from corolla.data.jpeg_header import is_text, kind_of
from corolla.data.protobuf import Buffer, encode_field, encode_varint
from corolla.errors import UserError
from corolla.files import replacing

T = TypeVar("T")


class RecordFault(UserError):
    """A fault in a data file; str() is `PATH:OFFSET record N: reason; remedy` on one line.

    `offset` is the byte at which the record starts, `record` its 0-based number in that file. A fault of the file as a
    whole has the place where it was noticed: a cut file the record that is cut, a wrong count the file's end. The
    remedy, where there is one, ends with a command for a shell.
    """

    def __init__(self, path: Path, offset: int, record: int, reason: str, remedy: str = "") -> None:
        self.path, self.offset, self.record, self.reason = path, offset, record, " ".join(reason.split())
        self.remedy = remedy
        super().__init__(f"{path}:{offset} record {record}: {self.reason}" + (f"; {remedy}" if remedy else ""))


READ = {b"image", b"class", b"id"}
MISSING = {b"class": "no class", b"id": "no id, by which a submission would name it"}

MANY = 4
"""So many records of a file with the same fault are told in one line; two where one command mends all."""


def together(faults: list["RecordFault"]) -> list["RecordFault"]:
    """Return the faults of a file with one line for a fault that many of its records have, at the first of them."""
    alike: dict[str, list[RecordFault]] = {}
    for fault in faults:
        alike.setdefault(re.sub(r"'[^']*'|\d+", "#", fault.reason), []).append(fault)
    first = {id(group[0]): group for group in alike.values() if len(group) >= (2 if group[0].remedy else MANY)}
    told = {id(fault) for group in first.values() for fault in group[1:]}
    kept = []
    for fault in faults:
        if group := first.get(id(fault)):
            where = f"{fault.reason} (and so {len(group) - 1} more records of the file, to {group[-1].record})"
            kept.append(RecordFault(fault.path, fault.offset, fault.record, where, fault.remedy))
        elif id(fault) not in told:
            kept.append(fault)
    return kept


@dataclass(frozen=True, slots=True)
class Record:
    """The place of a record in its file, in bytes: it starts at `offset`, its data is [start, end)."""

    number: int
    offset: int
    start: int
    end: int
    crc: int  # masked CRC32C of the data, as stored
    intact: bool  # whether the data agrees with it


@dataclass(frozen=True, slots=True)
class Example:
    """The content of an Example; the image is given by its place in the parsed buffer, never copied."""

    image_offset: int
    image_length: int
    label: int | None
    id: str | None


def map_file(path: Path) -> Buffer:
    """Map a file read-only: its pages belong to the page cache and are shared by all processes that map it."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # a pipe would be waited for; a folder tells itself
        raise RecordFault(path, 0, 0, "is no regular file")
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return b""  # mmap refuses an empty file
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def read_records(path: Path, buffer: Buffer) -> Iterator[Record]:
    """Yield the records of a mapped file, after computing both CRCs of each.

    Bad data leaves the next record's place known, so it is only marked (`intact` is false).

    Raises:
        RecordFault: the file is cut, or a length's CRC is bad: what follows can't be found then.
    """
    view = np.frombuffer(buffer, np.uint8)  # google_crc32c takes its slices without a copy, but not those of a mmap
    number = offset = 0
    while offset < len(buffer):
        left = len(buffer) - offset
        if left < 12:
            reason = f"truncated: {left} bytes of the record's 12-byte header"
            raise _no_header(path, buffer, offset, number, reason)
        length, length_crc = struct.unpack_from("<QI", buffer, offset)
        if masked_crc32c(buffer[offset : offset + 8]) != length_crc:
            reason = "length CRC differs; the rest of the file can't be read"
            raise _no_header(path, buffer, offset, number, reason)
        if left < 16 + length:
            raise RecordFault(path, offset, number, f"truncated: {left} bytes of the record's {16 + length}")
        start, end = offset + 12, offset + 12 + length
        (crc,) = struct.unpack_from("<I", buffer, end)
        yield Record(number, offset, start, end, crc, intact=masked_crc32c(view[start:end]) == crc)
        number, offset = number + 1, end + 4


def has_header(buffer: Buffer) -> bool:
    """Return whether bytes begin with the header of a record."""
    return len(buffer) >= 12 and masked_crc32c(buffer[:8]) == int.from_bytes(buffer[8:12], "little")


def _no_header(path: Path, buffer: Buffer, offset: int, number: int, reason: str) -> RecordFault:
    """Return the fault of a record without a sound header; the first of a file may tell of another kind of file."""
    if number:
        return RecordFault(path, offset, number, reason)
    remedy = conversion(path) if packing(buffer[:512]) else ""
    return RecordFault(path, offset, number, what_instead(buffer) or reason, remedy)


def write_tfrecord(path: Path, examples: Iterable[bytes]) -> None:
    """Write serialized examples, one a record; the file appears under its name only when it is whole."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        for data in examples:
            length = struct.pack("<Q", len(data))
            file.write(length + struct.pack("<I", masked_crc32c(length)))
            file.write(data)
            file.write(struct.pack("<I", masked_crc32c(data)))


def encode_example(*, image: bytes, label: int | None, id: str | None) -> bytes:
    """Serialize one Example as TensorFlow does, features sorted by name, so that equal arguments give equal bytes.

    `image` is a JPEG, `label` an int64; a label or id that is None is left out.
    """
    features = {"image": encode_field(BYTES_LIST, encode_field(1, image))}
    if label is not None:
        assert -(1 << 63) <= label < 1 << 63
        features["class"] = encode_field(INT64_LIST, encode_field(1, encode_varint(label % (1 << 64))))
    if id is not None:
        features["id"] = encode_field(BYTES_LIST, encode_field(1, id.encode()))
    entries = (
        encode_field(1, encode_field(1, name.encode()) + encode_field(2, features[name])) for name in sorted(features)
    )
    return encode_field(1, b"".join(entries))


def masked_crc32c(data: bytes | np.ndarray) -> int:
    """Return the CRC32C as TFRecord stores it, masked so that the CRC of data that holds CRCs stays a good one."""
    crc = google_crc32c.value(data)  # pyright: ignore[reportArgumentType]: any read-only buffer will do
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def parse_example(buffer: Buffer, start: int, end: int, *, needed: bytes | None = None) -> Example:
    """Find `image`, `class` and `id` in the Example that buffer[start:end] holds.

    Fields may come in any order, int64 packed or not; unknown features and fields are passed over; of entries with one
    name the last counts, as in protobuf.

    Args:
        needed: class or id: without it, a record that has features of other names is refused.

    Raises:
        ValueError: the message is malformed, holds no image, or holds several values where the competition has one.
    """
    try:
        features = read_features(buffer, start, end)
    except ValueError as error:
        kind = instead_of_example(buffer, start, end)
        raise ValueError(f"{error}, as the record is {kind}" if kind else str(error)) from None
    labels = int64s(buffer, features.get(b"class", []))
    image = _only("image", byte_spans(buffer, features.get(b"image", [])))
    name = _only("id", byte_spans(buffer, features.get(b"id", [])))
    if len(labels) > 1:
        raise OtherFeatures(f"feature 'class' holds {len(labels)} values instead of one", features_of(buffer, features))
    label = labels[0] if labels else None
    lacks_image = image is None or image[0] == image[1]
    lacks = [b"class"] * (label is None) + [b"id"] * (name is None)
    if lacks_image or any(each in features or each == needed for each in lacks):
        found = features_of(buffer, features)
        if lacks_image:
            known = found.kinds.get(b"image") == BYTES_LIST or not found.kinds
            raise ValueError("no image") if known else OtherFeatures("no image", found)
        if found.kinds.get(b"class") not in (None, INT64_LIST) or found.kinds.get(b"id") not in (None, BYTES_LIST):
            raise OtherFeatures("class or id of another type", found)
        if needed in lacks and needed not in features and features.keys() - READ:
            raise OtherFeatures(MISSING[needed], found)
    assert image is not None
    return Example(image[0], image[1] - image[0], label, None if name is None else _text(buffer[name[0] : name[1]]))


def instead_of_example(buffer: Buffer, start: int, end: int) -> str | None:
    """Return what a record is that is no Example; None where its first bytes do not tell."""
    head = bytes(buffer[start : min(end, start + 32)])
    kind = "a JPEG" if head.startswith(b"\xff\xd8\xff") else kind_of(head)
    return kind or ("text" if is_text(head) else None)


def _only(name: str, values: list[T]) -> T | None:
    if len(values) > 1:
        raise ValueError(f"feature '{name}' holds {len(values)} values instead of one")
    return values[0] if values else None


def _text(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ValueError("id is not UTF-8") from None
    if not text or not text.isprintable():  # it becomes a cell of a CSV file, and numpy drops trailing NULs
        raise ValueError(f"id {text!r} is not printable text")
    return text
