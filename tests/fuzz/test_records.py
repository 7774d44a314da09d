"""Records, Examples, and the files that are kept of them, changed anyhow: as protobuf reads them, or one line."""

import contextlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import message
from hypothesis import strategies as st
from mutations import Fuzz, Refused, attempt, damaged_npz, members, mutated, npy, zipped
from numpy.typing import NDArray
from support import write_data
from tf_example import PROTOBUF

from corolla.data.cache import use_cache
from corolla.data.dataset import TFRecordDataset
from corolla.data.decode import decode_jpeg
from corolla.data.index import COLUMNS, load_index, scan
from corolla.data.index_cache import IndexCache
from corolla.data.tfrecord import encode_example, map_file, parse_example, read_records, write_tfrecord
from corolla.evaluation.predictions import Predictions


@st.composite
def examples(draw: st.DrawFn) -> bytes:
    """Return an Example as protobuf writes it, with features of any type, number and name."""
    example = PROTOBUF()
    names = st.sampled_from(["image", "class", "id", "image", "class", "id", "width", "ä", "a\nb", ""])
    for name in draw(st.lists(names, max_size=4)):
        feature = example.features.feature[name]
        kind = draw(st.sampled_from(["bytes_list", "bytes_list", "int64_list", "float_list"]))
        values: Any = st.binary(max_size=4) | st.just(b"id")
        if kind == "int64_list":
            values = st.integers(-(1 << 63), (1 << 63) - 1)
        elif kind == "float_list":
            values = st.floats(width=32)
        getattr(feature, kind).value.extend(
            draw(st.lists(values, max_size=2) | st.lists(values, min_size=1, max_size=1))
        )
    return example.SerializeToString()


VALID = encode_example(image=b"jpeg", label=-5, id="abc")
FIELDS = [
    b"\x0a\x05image",
    b"\x12\x06\x0a\x04\x0a\x02ab",
    b"\x1a\x03\x0a\x01\x05",
    b"\x80",
    b"\x13",
    b"\x14",
    b"\xff" * 9,
]
FIELDS += [b"\x08\x01", b"\x0a\x00", b"\x10\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", VALID]


def by_protobuf(data: bytes) -> tuple[bytes, int | None, str | None] | None:
    """Return image, class and id as protobuf reads them; None where there is not one image, or not one of another."""
    example = PROTOBUF()
    example.ParseFromString(data)
    features = example.features.feature
    images = list(features["image"].bytes_list.value)
    labels, names = list(features["class"].int64_list.value), list(features["id"].bytes_list.value)
    if len(images) != 1 or not images[0] or len(labels) > 1 or len(names) > 1:
        return None
    if features["class"].WhichOneof("kind") in ("bytes_list", "float_list"):
        return None
    if features["id"].WhichOneof("kind") in ("int64_list", "float_list"):
        return None
    name = names[0].decode("utf-8", "replace") if names else None
    if name is not None and (not name or not name.isprintable() or name.encode() != names[0]):
        return None
    return images[0], labels[0] if labels else None, name


def test_an_example_is_protobufs(fuzz: Fuzz) -> None:
    def check(data: bytes) -> None:
        ours = None
        with contextlib.suppress(ValueError):
            found = parse_example(data, 0, len(data))
            ours = data[found.image_offset :][: found.image_length], found.label, found.id
        with contextlib.suppress(message.DecodeError):
            assert ours == by_protobuf(data)

    inputs = mutated(examples() | st.just(VALID), pieces=FIELDS, most=4)
    fuzz(check, inputs, fast=25, slow=4000)


ORIGINALS = [encode_example(image=b"image %d" % number, label=number, id=f"id{number}") for number in range(4)]


def test_a_record_that_is_intact_is_one_of_those_written(fuzz: Fuzz, tmp_path: Path) -> None:
    path = tmp_path / "a.tfrec"
    write_tfrecord(path, ORIGINALS)
    whole = path.read_bytes()
    length = len(whole) // len(ORIGINALS)
    header = whole[:12]

    def check(content: bytes) -> None:
        found: list[bytes] = []

        def read(path: Path) -> None:
            buffer = map_file(path)
            for record in read_records(path, buffer):
                if record.intact:
                    found.append(bytes(buffer[record.start : record.end]))

        refused = isinstance(attempt(read, path, content), Refused)
        assert set(found) <= set(ORIGINALS)
        same = next((n for n, (a, b) in enumerate(zip(content, whole, strict=False)) if a != b), len(content)) // length
        assert found[: min(same, len(ORIGINALS))] == ORIGINALS[:same]
        assert refused or len(content) % length == 0 or any(byte != whole[n % length] for n, byte in enumerate(content))

    fuzz(check, mutated(whole, pieces=[header, whole[:length], b"\xff" * 8]), fast=30, slow=2000)


def test_an_index_holds_what_protobuf_reads(fuzz: Fuzz, tmp_path: Path) -> None:
    inside = tmp_path / "tfrecords-jpeg-32x32" / "train"
    inside.mkdir(parents=True)
    path = inside / "a.tfrec"

    def check(records: list[bytes]) -> None:
        write_tfrecord(path, records)
        index, faults = scan(tmp_path, None)
        assert all(len(str(fault).splitlines()) == 1 and path.name in str(fault) for fault in faults)
        content, split = path.read_bytes(), index.splits["train"]
        found = {
            int(n): content[start:][:length]
            for n, start, length in zip(split.record, split.offset, split.length, strict=True)
        }
        for number, data in enumerate(records):
            with contextlib.suppress(message.DecodeError):
                wanted = by_protobuf(data)
                assert number not in found or (wanted is not None and found[number] == wanted[0])
                assert number in found or wanted is None or wanted[1] is None  # train needs a class

    fuzz(
        check, st.lists(mutated(examples() | st.just(VALID), pieces=FIELDS), min_size=1, max_size=3), fast=15, slow=2000
    )


def test_the_cache_of_an_index_is_whole_or_not_used(fuzz: Fuzz, tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", train=4, val=2, test=2)
    stats = [data.stat()]
    cache = IndexCache(data, 32, tmp_path, manifest="m", stats=stats)
    split = load_index(data, None).splits["train"]
    columns = {f"train.{name}": getattr(split, name) for name in COLUMNS}
    cache.write(columns, read_at=time.time_ns() + 10**11)
    (path,) = tmp_path.glob("*.npz")
    with np.load(path) as kept:
        arrays = dict(kept)

    def check(content: bytes) -> None:
        path.write_bytes(content)
        found = cache.read(["train"], COLUMNS)
        assert found is None or found.keys() == columns.keys()
        for name, array in (found or {}).items():
            assert array.dtype.kind == columns[name].dtype.kind
            assert array.shape == (found or {})["train.offset"].shape

    whole = path.read_bytes()
    entry = whole.index(b"PK\1\2")
    name = whole[entry + 46 : whole.index(b".npy", entry) + 4]
    nameless = bytes([0, 0, len(name), 0])  # its name is taken for what else the entry may hold
    no_character = np.frombuffer(b"m\0\0\1", "<U1").reshape(())  # beyond the last one of Unicode
    known = [
        whole[: entry + 28] + nameless + whole[entry + 32 :],
        whole[: entry + 10] + b"\x0c" + whole[entry + 11 :],  # packed by bzip2, if it were true
        zipped({f"{name}.npy": npy(each) for name, each in (arrays | {"read_at": no_character}).items()}),
    ]
    fuzz(check, damaged_npz(arrays), fast=20, slow=2500, known=known)


@pytest.mark.parametrize("part", ["table", "pixels"])
def test_photos_from_a_damaged_cache_are_those_of_the_data(part: str, fuzz: Fuzz, tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", size=8, train=2, val=2, test=2)
    index = load_index(data, None)
    photos = TFRecordDataset(index, "train")
    wanted = [decode_jpeg(photos.jpeg(i)) for i in range(len(photos))]
    use_cache([photos], "decoded", tmp_path / "cache")
    (table,) = (tmp_path / "cache" / "decoded").glob("*.npz")
    pixels = table.with_suffix(".pixels")
    with np.load(table) as kept:
        arrays = dict(kept)
    sound = table.read_bytes(), pixels.read_bytes()
    path = table if part == "table" else pixels

    def check(content: bytes) -> None:
        table.write_bytes(sound[0])
        pixels.write_bytes(sound[1])
        path.write_bytes(content)
        photos = TFRecordDataset(index, "train")
        use_cache([photos], "decoded", tmp_path / "cache")
        for i, image in enumerate(wanted):
            np.testing.assert_array_equal(photos.image(i), image)

    known = [zipped(members(sound[0]) | {f"{name}.npy": npy(np.zeros((2, 0)))}) for name in ("good", "crc", "height")]
    fuzz(
        check,
        damaged_npz(arrays) if part == "table" else mutated(sound[1]),
        fast=8,
        slow=600,
        known=known if part == "table" else (),
    )


def test_predictions_are_those_saved_or_one_line(fuzz: Fuzz, tmp_path: Path) -> None:
    arrays: dict[str, NDArray[Any]] = {
        "ids": np.array(["a", "b"]),
        "probabilities": np.array([[0.25, 0.75], [0.5, 0.5]], np.float32),
        "labels": np.array([1, 0]),
        "checkpoint": np.array("c"),
        "fingerprint": np.array("f"),
        "epochs": np.array(3),
        "seconds": np.array(1.5),
        "class_names": np.array(["x", "y"]),
    }

    def check(content: bytes) -> None:
        found = attempt(Predictions.load, tmp_path / "p.npz", content)
        if isinstance(found, Refused):
            return
        assert found.ids.shape == found.probabilities.shape[:1]
        assert np.isfinite(found.probabilities).all()
        assert found.labels is None or found.labels.shape == found.ids.shape
        assert len(found.class_names) in (0, found.probabilities.shape[1])

    fuzz(check, damaged_npz(arrays), fast=20, slow=2500)
