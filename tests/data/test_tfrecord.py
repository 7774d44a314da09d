"""Framing and parsing against an encoder of our own, against protobuf itself, and against TensorFlow's files."""

import contextlib
import re
import time
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import message
from hypothesis import given, settings
from hypothesis import strategies as st
from tf_example import PROTOBUF

from corolla.data.protobuf import Buffer
from corolla.data.tfrecord import (
    Example,
    RecordFault,
    encode_example,
    map_file,
    parse_example,
    read_records,
    write_tfrecord,
)
from corolla.errors import UserError

FLOWERS = Path(__file__).parents[2].parent / "shared" / "flowers"
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
TEXT = st.text(st.characters(categories=("L", "N", "P"), codec="utf-8"), min_size=1, max_size=12)


def varint(value: int) -> bytes:
    head = b""
    while value > 0x7F:
        head, value = head + bytes([value & 0x7F | 0x80]), value >> 7
    return head + bytes([value])


def delimited(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def feature(name: str, kind: int, values: bytes) -> bytes:
    return delimited(1, delimited(1, name.encode()) + delimited(2, delimited(kind, values)))


def int64_list(value: int, *, packed: bool) -> bytes:
    encoded = varint(value % (1 << 64))
    return delimited(1, encoded) if packed else b"\x08" + encoded


def whole(data: bytes) -> tuple[bytes, int | None, str | None]:
    example = parse_example(data, 0, len(data))
    return data[example.image_offset :][: example.image_length], example.label, example.id


NUMBER = st.integers(9, 5000)
UNKNOWN_FIELDS = st.lists(
    st.builds(lambda number, value: varint(number << 3) + varint(value), NUMBER, st.integers(0, (1 << 64) - 1))
    | st.builds(lambda number, value: varint(number << 3 | 1) + value, NUMBER, st.binary(min_size=8, max_size=8))
    | st.builds(lambda number, value: varint(number << 3 | 5) + value, NUMBER, st.binary(min_size=4, max_size=4))
    | st.builds(delimited, NUMBER, st.binary(max_size=20))
    | st.just(b"\x53\x0a\x02hi\x5b\x08\x01\x5c\x54"),  # group 10 with a field 1 and a group 11 inside
    max_size=3,
).map(b"".join)


@given(st.data(), st.binary(min_size=1, max_size=300), st.none() | INT64, st.none() | TEXT)
@settings(deadline=None)
def test_any_encoding_of_an_example_is_read(
    data: st.DataObject, image: bytes, label: int | None, name: str | None
) -> None:
    def junk() -> bytes:
        return data.draw(UNKNOWN_FIELDS)

    features = [feature("image", 1, junk() + delimited(1, image) + junk())]
    if label is not None:
        features.append(feature("class", 3, junk() + int64_list(label, packed=data.draw(st.booleans()))))
    if name is not None:
        features.append(feature("id", 1, delimited(1, name.encode()) + junk()))
    features += data.draw(st.lists(st.sampled_from([feature("width", 3, b"\x08\x05"), feature("x", 2, b""), b""])))
    inner = b"".join(piece + junk() for piece in data.draw(st.permutations(features)))
    assert whole(junk() + delimited(1, inner) + junk()) == (image, label, name)


@given(st.binary(min_size=1, max_size=300), st.none() | INT64, st.none() | TEXT)
@settings(deadline=None)
def test_encode_example_round_trip(image: bytes, label: int | None, name: str | None) -> None:
    assert whole(encode_example(image=image, label=label, id=name)) == (image, label, name)


def test_parts_of_a_message_merge_and_the_last_of_a_name_counts() -> None:
    first = delimited(1, feature("image", 1, delimited(1, b"old")) + feature("class", 3, b"\x08\x01"))
    assert whole(first + delimited(1, feature("image", 1, delimited(1, b"new")))) == (b"new", 1, None)
    entry = delimited(1, b"image") + delimited(2, delimited(3, b"\x08\x01")) + delimited(2, b"\x0a\x03\x0a\x01i")
    assert whole(delimited(1, delimited(1, entry))) == (b"i", None, None)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no image"),
        (
            delimited(1, feature("id", 1, delimited(1, b"a"))),
            "no image: its features are id (bytes)",
        ),
        (delimited(1, feature("image", 1, delimited(1, b""))), "no image"),
        (
            delimited(1, feature("image", 3, b"\x08\x01")),
            "no image: its features are image (int64)",
        ),
        (delimited(1, feature("image", 1, delimited(1, b"a") * 2)), "feature 'image' holds 2 values instead of one"),
        (encode_example(image=b"a", label=1, id="a\n"), r"id 'a\n' is not printable text"),
        (delimited(1, feature("image", 1, b"\x0a\x01i") + feature("id", 1, b"\x0a\x01\xff")), "id is not UTF-8"),
        (b"\x0a\x05", "malformed protobuf: field 1 runs past its message's end"),
        (b"\x0a", "malformed protobuf: a varint without an end"),
        (b"\xff" * 11, "malformed protobuf: a varint without an end"),
        (b"\x02\x00", "malformed protobuf: field number 0"),
        (b"\x0f", "malformed protobuf: wire type 7 in field 1"),
        (b"\x0c", "malformed protobuf: wire type 4 in field 1"),
        (b"\x0b", "malformed protobuf: group 1 has no end"),
    ],
)
def test_malformed(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        parse_example(data, 0, len(data))


VALID = encode_example(image=b"jpeg", label=-5, id="abc")


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_agrees_with_protobuf_on_damaged_messages(data: st.DataObject) -> None:
    damaged = bytearray(VALID)
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(0, len(VALID) - 1))] = data.draw(st.integers(0, 255))
    expected = PROTOBUF()
    try:
        expected.ParseFromString(bytes(damaged))
        ours = whole(bytes(damaged))
    except (ValueError, message.DecodeError):
        return
    features = expected.features.feature
    assert ours[0] == features["image"].bytes_list.value[0]
    assert [ours[1]] == (list(features["class"].int64_list.value) or [None])
    assert [ours[2]] == ([value.decode() for value in features["id"].bytes_list.value] or [None])


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_arbitrary_bytes_never_crash_the_parser(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        parse_example(data, 0, len(data))


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_arbitrary_bytes_never_crash_the_reader(data: bytes) -> None:
    with contextlib.suppress(RecordFault):
        list(read_records(Path("x.tfrec"), data))


def read(path: Path) -> tuple[Buffer, list[Example]]:
    buffer = map_file(path)
    records = list(read_records(path, buffer))
    assert all(record.intact for record in records)
    return buffer, [parse_example(buffer, record.start, record.end) for record in records]


def test_faults_of_the_framing(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrec"
    write_tfrecord(path, [VALID, VALID])
    data, size = path.read_bytes(), len(VALID) + 16

    def fault(damaged: bytes) -> str:
        with pytest.raises(RecordFault) as raised:
            list(read_records(path, damaged))
        assert isinstance(raised.value, UserError)
        return str(raised.value)

    assert fault(data[: size + 7]) == f"{path}:{size} record 1: truncated: 7 bytes of the record's 12-byte header"
    assert fault(data[:-1]) == f"{path}:{size} record 1: truncated: {size - 1} bytes of the record's {size}"
    bad_length = data[:3] + b"\x01" + data[4:]
    assert fault(bad_length) == f"{path}:0 record 0: length CRC differs; the rest of the file can't be read"
    bad_data = data[:20] + bytes([data[20] ^ 1]) + data[21:]
    assert [record.intact for record in read_records(path, bad_data)] == [False, True]


def test_a_file_that_fails_half_way_does_not_appear(tmp_path: Path) -> None:
    def examples() -> Any:
        yield VALID
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_tfrecord(tmp_path / "a.tfrec", examples())
    assert list(tmp_path.iterdir()) == []


def test_empty_file(tmp_path: Path) -> None:
    write_tfrecord(tmp_path / "a.tfrec", [])
    assert read(tmp_path / "a.tfrec") == (b"", [])


def test_every_flip_of_a_byte_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrec"
    write_tfrecord(path, [VALID, VALID])
    data = bytearray(path.read_bytes())
    for position in range(len(data)):
        for mask in (0x01, 0x80, 0xFF):
            data[position] ^= mask
            with contextlib.suppress(RecordFault):
                assert not all(record.intact for record in read_records(path, bytes(data)))
            data[position] ^= mask


@pytest.mark.skipif(not FLOWERS.is_dir(), reason="no photos beside the repository")
def test_files_written_by_tensorflow_and_written_again(tmp_path: Path) -> None:
    def contents(path: Path) -> list[tuple[bytes, int | None, str | None]]:
        buffer, examples = read(path)
        ends = [example.image_offset + example.image_length for example in examples]
        return [(buffer[e.image_offset : end], e.label, e.id) for e, end in zip(examples, ends, strict=True)]

    paths = sorted(FLOWERS.rglob("*.tfrec"))
    assert paths
    for path in paths:
        flowers = contents(path)
        assert len(flowers) == int(path.stem.split("-")[-1])
        if path.stat().st_size > 2e6 and path != paths[-1]:
            continue  # the others say the same, and it is the disk that pays
        again = (encode_example(image=image, label=label, id=name) for image, label, name in flowers)
        write_tfrecord(tmp_path / "a.tfrec", again)
        assert contents(tmp_path / "a.tfrec") == flowers
        assert (tmp_path / "a.tfrec").stat().st_size == path.stat().st_size  # TensorFlow's, but for the features' order


@pytest.mark.parametrize("feature", ["image", "class", "id"])
@pytest.mark.parametrize("where", ["lists", "values", "entries"])
def test_many_pieces_take_linear_time(feature: str, where: str) -> None:
    """Protobuf merges the pieces of a message, of which there may be as many as there are bytes."""
    kind, content = {"image": (1, b"\xff\xd8"), "class": (3, b"\x02"), "id": (1, b"name")}[feature]
    last = delimited(kind, delimited(1, content))
    name, num_pieces = delimited(1, feature.encode()), 100_000
    if where == "lists":
        feature_entries = delimited(1, name + delimited(2, delimited(kind, b"") * num_pieces + last))
    elif where == "values":
        feature_entries = delimited(1, name + delimited(2, delimited(kind, b"")) * num_pieces + delimited(2, last))
    else:
        feature_entries = delimited(1, name + delimited(2, delimited(kind, b""))) * num_pieces
        feature_entries += delimited(1, name + delimited(2, last))
    image = delimited(1, delimited(1, b"image") + delimited(2, delimited(1, delimited(1, b"\xff\xd8"))))
    data = delimited(1, feature_entries if feature == "image" else image + feature_entries)
    start = time.process_time()
    found = parse_example(data, 0, len(data))
    assert time.process_time() - start < 5, "a minute where it is quadratic"
    assert data[found.image_offset : found.image_offset + found.image_length] == b"\xff\xd8"
    assert (found.label, found.id) == (2 if feature == "class" else None, "name" if feature == "id" else None)
