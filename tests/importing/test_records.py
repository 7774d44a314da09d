"""`corolla import` of others' TFRecords: features of any usual name and type become the same data folder."""

import base64
import csv
import functools
import gzip
import io
import shlex
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support import NUM_CLASSES, changed, draw, outcome, smallest_config, write_data
from tf_example import PROTOBUF

from corolla.cli import run_command
from corolla.data.check import check
from corolla.data.competition import CLASS_NAMES
from corolla.data.dataset import TFRecordDataset
from corolla.data.index import load_index
from corolla.data.tfrecord import encode_example, write_tfrecord
from corolla.errors import UserError
from corolla.importing.feature_spec import parse_features
from corolla.importing.importer import Imported, import_photos
from corolla.training.train import train

SIDE = 32
Value = bytes | str | int | float | list[int] | list[float] | list[bytes]
Record = Mapping[str, Value]


def example(record: Record) -> bytes:
    """An Example with a list of the type of each value."""
    message = PROTOBUF()
    for name, value in record.items():
        values = value if isinstance(value, list) else [value]
        feature = message.features.feature[name]
        if any(isinstance(each, float) for each in values):
            feature.float_list.value.extend(values)
        elif any(isinstance(each, int) for each in values):
            feature.int64_list.value.extend(values)
        else:
            feature.bytes_list.value.extend(each.encode() if isinstance(each, str) else each for each in values)
    return message.SerializeToString(deterministic=True)


def write(path: Path, records: Sequence[Record]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tfrecord(path, map(example, records))
    return path


@functools.cache
def photo(number: int) -> bytes:
    return draw(number % NUM_CLASSES, number, SIDE)


def records(count: int = 20, first: int = 0, /, **features: Callable[[int], Value]) -> list[Record]:
    """Photos of five classes in turn; functions of their numbers give the other features, __ standing for a slash."""
    named = {name.replace("__", "/"): of for name, of in features.items()}
    return [{name: of(number) for name, of in named.items()} for number in range(first, first + count)]


def common(count: int = 20, first: int = 0) -> list[Record]:
    return records(
        count, first, image__encoded=photo, image__class__label=lambda n: n % 5, image__filename=lambda n: f"{n}.jpg"
    )


def run(*paths: Path, features: str | None = None, **how: Any) -> Imported:
    *sources, out = paths
    return import_photos(sources, out, features=features, **({"size": SIDE, "progress": False} | how))


def refusal(*paths: Path, **how: Any) -> str:
    with pytest.raises(UserError) as caught:
        run(*paths, **how)
    assert not [path for path in paths[-1].glob("*") if path.name != ".import.lock"]
    return str(caught.value)


def labels(out: Path) -> dict[str, list[int]]:
    """Split → the labels of its photos."""
    with (out / "photos.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found: dict[str, list[int]] = {}
    for row in rows:
        found.setdefault(row["split"], []).append(int(row["label"] or -1))
    return found


def ids(out: Path) -> set[str]:
    return {id for split in load_index(out, None).splits.values() for id in split.id.tolist()}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def true_classes(out: Path) -> None:
    """Check that each photo has the class it was drawn with: its disc's place tells it."""
    assert check(out, None, progress=False).faults == ()
    index = load_index(out, None)
    jpegs = {photo(n): n % NUM_CLASSES for n in range(100)}
    for name in ("train", "val"):
        photos = TFRecordDataset(index, name)
        assert [jpegs[bytes(photos.jpeg(i))] for i in range(len(photos))] == photos.split.label.tolist()


def test_a_folder_of_splits_by_folders(tmp_path: Path, out: Path) -> None:
    for split, first in (("train", 0), ("validation", 20), ("test", 30)):
        write(tmp_path / "in" / split / "flowers-00000-of-00001", common(20 if split == "train" else 10, first))
    made = run(tmp_path / "in", out)
    assert made.counts == {"train": 20, "val": 10, "test": 10}
    assert made.class_names == ("0", "1", "2", "3", "4")
    assert made.notes == ("features taken: photo image/encoded, class image/class/label, id image/filename",)
    true_classes(out)
    assert ids(out) == {f"{n}.jpg" for n in range(40)}
    assert sorted(path.name for path in out.iterdir() if path.is_file() and path.name[0] != ".") == [
        *("classes.txt", "photos.csv", "sample_submission.csv", "test_labels.csv")
    ]
    again = run(tmp_path / "in", out)
    assert (again.reused, again.counts, again.notes) == (True, made.counts, made.notes)
    assert run(tmp_path / "in", out, size=64).counts == made.counts
    write(tmp_path / "in" / "test" / "flowers-00000-of-00001", common(10, 50))
    with pytest.raises(UserError, match="holds other photos"):
        run(tmp_path / "in", out)


def test_files_whose_names_tell_the_splits(tmp_path: Path, out: Path) -> None:
    names = {"train-00000-of-00002": 0, "train-00001-of-00002": 20, "validation-00000-of-00001": 40}
    paths = [write(tmp_path / f"flowers-{name}", common(20, first)) for name, first in names.items()]
    made = run(*paths, out, features="image=image/encoded,class=image/class/label,id=image/filename")
    assert made.counts == {"train": 40, "val": 20}
    assert "splits by the files' names: train 2, val 1" in made.notes
    true_classes(out)


@pytest.mark.parametrize("name", ["a.tfrecord", "b.tfrecords", "C.TFREC", "flowers-00000-of-00001", "x (1).tfrec"])
def test_one_file_is_split_by_shares(name: str, tmp_path: Path, out: Path) -> None:
    made = run(write(tmp_path / "in" / name, common(40)), out, val=0.2, test=0.2)
    assert made.counts == {"train": 25, "val": 10, "test": 5}
    true_classes(out)
    assert run(tmp_path / "in", tmp_path / "by_folder", val=0.2, test=0.2).counts == made.counts


@pytest.mark.parametrize(
    "pack",
    [
        gzip.compress,
        zlib.compress,
        lambda data: zlib.compress(data, 1),
        lambda data: gzip.compress(data[:99]) + gzip.compress(data[99:]),
    ],
    ids=["gzip", "zlib", "zlib, fast", "gzip of two parts"],
)
def test_compressed_files(pack: Callable[[bytes], bytes], tmp_path: Path, out: Path) -> None:
    path = write(tmp_path / "in" / "a.tfrecord", common())
    run(path, tmp_path / "plain")
    path.write_bytes(pack(path.read_bytes()))
    run(path, out)
    true_classes(out)
    assert (out / "photos.csv").read_bytes() == (tmp_path / "plain" / "photos.csv").read_bytes()
    path.write_bytes(path.read_bytes()[:-30])
    message = refusal(path, tmp_path / "cut")
    assert message.startswith(f"{path}:0 record 0: the compressed file is damaged or cut short")
    assert len(message.splitlines()) == 1


NUMBERS: dict[str, Callable[[int], Value]] = {
    "int64": lambda n: n % 5,
    "float": lambda n: float(n % 5),
    "text": lambda n: str(n % 5),
    "one-hot, int64": lambda n: [int(n % 5 == i) for i in range(5)],
    "one-hot, float": lambda n: [float(n % 5 == i) for i in range(5)],
}


@pytest.mark.parametrize("label", NUMBERS.values(), ids=NUMBERS)
@pytest.mark.parametrize("name", ["class", "target"])
def test_types_of_the_class(label: Callable[[int], Value], name: str, tmp_path: Path, out: Path) -> None:
    path = write(tmp_path / "a.tfrec", records(image=photo, **{name: label}))
    assert run(path, out).class_names == ("0", "1", "2", "3", "4")
    true_classes(out)


def test_names_as_classes(tmp_path: Path, out: Path) -> None:
    names = ["daisy", "lily", "Rosa canina", "tulip", "violet"]
    path = write(tmp_path / "a.tfrec", records(image=photo, label=lambda n: names[n % 5]))
    assert run(path, out).class_names == ("daisy", "lily", "Rosa canina", "tulip", "violet")
    true_classes(out)


def test_a_number_and_its_name_and_one_hot_beside(tmp_path: Path, out: Path) -> None:
    """As the flowers of the Keras tutorials on TPUs have them."""
    names = ["b", "d", "a", "e", "c"]
    features = {
        "class": lambda n: n % 5,
        "label": lambda n: names[n % 5],
        "one_hot_class": lambda n: [float(n % 5 == i) for i in range(5)],
        "size": lambda n: [SIDE, SIDE],
    }
    made = run(write(tmp_path / "a.tfrec", records(image=photo, **features)), out)
    assert made.class_names == tuple(names)
    assert "the classes are named by their texts" in made.notes
    true_classes(out)


@pytest.mark.parametrize("source", ["numbers", "classes.txt", "labels.txt", "texts"])
def test_numbers_from_1_on(source: str, tmp_path: Path, out: Path) -> None:
    features = {"image__class__text": lambda n: f"kind {n % 5}"} if source == "texts" else {}
    folder = tmp_path / "in"
    write(folder / "a.tfrec", records(image=photo, label=lambda n: n % 5 + 1, **features))
    if source == "classes.txt":
        (folder / source).write_text("".join(f"kind {n}\n" for n in range(5)))
    elif source == "labels.txt":
        (folder / source).write_text("".join(f"{n + 1}:kind {n}\n" for n in range(5)))
    made = run(folder, out)
    first = 1 if source == "numbers" else 0
    assert made.class_names == tuple(f"{'' if first else 'kind '}{n}" for n in range(first, first + 5))
    note = {
        "classes.txt": "the class numbers begin at 1: class 1 becomes 0 (kind 0), class 5 4",
        "labels.txt": f"the classes are named by {folder / 'labels.txt'}",
    }.get(source, "the class numbers 1 to 5 become 0 to 4, in their order")
    assert note in made.notes
    true_classes(out)


def test_numbers_with_gaps(tmp_path: Path, out: Path) -> None:
    made = run(write(tmp_path / "a.tfrec", records(image=photo, label=lambda n: n % 5 * 10)), out)
    assert made.class_names == ("0", "10", "20", "30", "40")
    assert "the class numbers [0, 10, 20, 30, 40] become 0 to 4, in their order" in made.notes
    true_classes(out)


def test_huge_numbers(tmp_path: Path, out: Path) -> None:
    made = run(write(tmp_path / "a.tfrec", records(image=photo, label=lambda n: n % 5 + 10**15)), out)
    assert f"the class numbers {10**15} to {10**15 + 4} become 0 to 4, in their order" in made.notes
    true_classes(out)


def test_the_competitions_104_classes(tmp_path: Path, out: Path) -> None:
    path = write(tmp_path / "train.tfrec", records(208, image=lambda n: photo(n % 9), label=lambda n: n % 104))
    assert run(path, out).class_names == CLASS_NAMES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\nb\n", "classes.txt names 2 classes, but the records have a class 4"),
        ("a\nb\nc\nd\nd\n", "classes.txt names a class, or a number, twice"),
    ],
)
def test_names_that_contradict_the_numbers(text: str, message: str, tmp_path: Path, out: Path) -> None:
    write(tmp_path / "in" / "a.tfrec", common())
    (tmp_path / "in" / "classes.txt").write_text(text)
    assert message in refusal(tmp_path / "in", out)


def test_names_that_contradict_the_texts(tmp_path: Path, out: Path) -> None:
    label, text = (lambda n: n % 5), (lambda n: "edcba"[n % 5])
    write(tmp_path / "in" / "a.tfrec", records(image=photo, label=label, image__class__text=text))
    (tmp_path / "in" / "classes.txt").write_text("a\nb\nc\nd\ne\n")
    assert "names class 0 'a', the records 'e': correct" in refusal(tmp_path / "in", out)


@pytest.mark.parametrize(
    "test", [{}, {"image/class/label": -1}, {"image/class/label": -1.0}, {"image/class/label": ""}]
)
def test_files_without_a_class_are_test(test: dict[str, Value], tmp_path: Path, out: Path) -> None:
    write(tmp_path / "in" / "a.tfrec", common())
    bare = [{name: value for name, value in each.items() if "class" not in name} | test for each in common(7, 50)]
    write(tmp_path / "in" / "b.tfrec", bare)
    made = run(tmp_path / "in", out)
    assert (made.counts["test"], sum(made.counts.values())) == (7, 27)
    assert "test photos are those of the files without a class: b.tfrec" in made.notes
    assert not (out / "test_labels.csv").exists()
    true_classes(out)
    assert set(load_index(out, None).splits["test"].id.tolist()) == {f"{n}.jpg" for n in range(50, 57)}


IDS: dict[str, tuple[Callable[[int], Value], Callable[[int], str]]] = {
    "bytes": (lambda n: f"x{n}", lambda n: f"x{n}"),
    "int64": (lambda n: n + 7, lambda n: str(n + 7)),
    "a path": (lambda n: f"rose/{n}.jpg", lambda n: f"rose/{n}.jpg"),
}


@pytest.mark.parametrize("name", ["id", "image_name", "image__filename"])
@pytest.mark.parametrize("kind", IDS)
def test_types_of_the_id(kind: str, name: str, tmp_path: Path, out: Path) -> None:
    id, told = IDS[kind]
    run(write(tmp_path / "a.tfrec", records(image=photo, label=lambda n: n % 5, **{name: id})), out)
    assert ids(out) == {told(n) for n in range(20)}


@pytest.mark.parametrize(
    ("id", "why"),
    [(lambda n: f"{n // 2}.jpg", "is there 2 times"), (lambda n: f"{n},x", "no id for a CSV")],
    ids=["repeated", "comma"],
)
def test_ids_that_are_none(id: Callable[[int], Value], why: str, tmp_path: Path, out: Path) -> None:
    path = write(tmp_path / "a.tfrec", records(image=photo, label=lambda n: n % 5, filename=id))
    assert why in refusal(path, out, features="id=filename")
    (note,) = [note for note in run(path, out).notes if why in note]
    assert note.endswith("so ids are made of the files' names and the records' numbers")
    assert {len(id) for id in ids(out)} == {9}


@pytest.mark.parametrize("id", ["a\nb", b"\xff", 0.5, ["a", "b"], [1, 2]])
def test_an_id_that_is_no_text_is_refused_where_it_is_named(id: Value, tmp_path: Path, out: Path) -> None:
    path = write(tmp_path / "a.tfrec", records(image=photo, label=lambda n: n % 5, filename=lambda n: id if n else "0"))
    said = refusal(path, out, features="id=filename")
    assert said.startswith(f"{path}:")
    assert "feature 'filename'" in said
    assert len(said.splitlines()) == 1
    made = run(path, out)
    assert "photos without an id, which have one made of file and record number: 19" in made.notes


def pixels(number: int, mode: str) -> np.ndarray:
    rng = np.random.default_rng(number)
    small = rng.integers(0, 256, (4, 4, {"L": 1, "RGB": 3, "RGBA": 4}[mode]), dtype=np.uint8)
    image = np.asarray(cv2.resize(small, (24, 40), interpolation=cv2.INTER_NEAREST), np.uint8).reshape(40, 24, -1)
    image[..., 3:] = 255
    return image


def saved(number: int, format: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels(number, "RGB")).save(file, format, **({"lossless": True} if format == "WEBP" else {}))
    return file.getvalue()


def stored_pixels(out: Path) -> dict[str, np.ndarray]:
    index = load_index(out, None)
    sets = [TFRecordDataset(index, name) for name in index.splits]
    return {str(photos.split.id[i]): photos.image(i) for photos in sets for i in range(len(photos))}


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP", "raw RGB", "raw L", "raw RGBA", "raw, shape"])
def test_photos_that_are_no_jpegs(kind: str, tmp_path: Path, out: Path) -> None:
    """Each is squeezed to a square of 40 x 40 pixels, whose colours are those of the photo."""
    mode = kind.removeprefix("raw").strip() if kind in ("raw L", "raw RGBA") else "RGB"
    features: dict[str, Callable[[int], Value]] = {"id": lambda n: f"{n}"}
    if kind.startswith("raw"):
        features["image_raw"] = lambda n: pixels(n, mode).tobytes()
        if kind == "raw, shape":
            features["image__shape"] = lambda n: [40, 24, 3]
        else:
            features |= {"height": lambda n: 40, "width": lambda n: 24, "depth": lambda n: pixels(n, mode).shape[2]}
    else:
        features["image"] = lambda n: saved(n, kind)
    run(write(tmp_path / "a.tfrec", records(label=lambda n: n % 5, **features)), out, size=40, crop="stretch")
    assert check(out, None, progress=False).faults == ()
    for id, image in stored_pixels(out).items():
        wanted = pixels(int(id), mode)[..., :3]
        corner = image[:6, :4].reshape(-1, 3).mean(0)
        assert np.abs(corner - wanted[:6, :2].reshape(-1, wanted.shape[2]).mean(0)).max() < 14, id


def test_raw_squares_need_no_shape(tmp_path: Path, out: Path) -> None:
    raw = {n: np.asarray(Image.open(io.BytesIO(photo(n)))).tobytes() for n in range(20)}
    raw[3], raw[4] = b"<" + raw[3][1:], b"BM" + raw[4][2:]  # as a page and a BMP begin, too
    made = run(write(tmp_path / "a.tfrec", records(image=lambda n: raw[n], label=lambda n: n % 5)), out, quality=95)
    told = "no feature tells the size of the raw pixels (in a.tfrec): they are taken as 32 x 32 of 3 colours"
    assert told in made.notes
    assert any(note.startswith("raw pixels are taken row by row") for note in made.notes)
    assert all(image.shape == (SIDE, SIDE, 3) for image in stored_pixels(out).values())
    assert check(out, None, progress=False).faults == ()


TENSOR = b"\x08\x04\x12\x08\x12\x02\x08\x20\x12\x02\x08\x20\x22\x04abcd"
UNREAD: dict[str, tuple[Callable[[int], Value], str]] = {
    "a serialized tensor": (lambda n: TENSOR, "a serialized tensor, which is not read"),
    "float32": (
        lambda n: np.linspace(0, 1, SIDE * SIDE * 3, dtype=np.float32).tobytes(),
        "raw pixels that seem to be float32",
    ),
    "int32": (lambda n: np.full(SIDE * SIDE * 3, n, np.int32).tobytes(), "raw pixels that seem to be int32"),
    "text": (lambda n: b"hello" * 9, "no image"),
    "paths as long as 3 x 3 pixels": (
        lambda n: f"images/train/class_{n:04}.jpg",
        "text and no image, such as a path",
    ),
    "short paths": (lambda n: f"photos/{n:01}.jpg", "text and no image"),
    "base64": (lambda n: base64.b64encode(photo(n)), "text and no image, such as a path or base64: wri"),
    "lengths of squares": (lambda n: b"\xfe" * 3 * (10 + n % 2) ** 2, "no image"),
    "a cut JPEG": (lambda n: photo(n)[:300], "runcated"),
    "a web page": (lambda n: b"<!DOCTYPE html><html>", "a web page"),
}


@pytest.mark.parametrize(("image", "message"), UNREAD.values(), ids=UNREAD)
def test_photos_that_are_not_read_are_one_line(
    image: Callable[[int], Value], message: str, tmp_path: Path, out: Path
) -> None:
    bad = records(20, 50, image=image, label=lambda n: n % 5)
    path = write(tmp_path / "in" / "a.tfrec", bad)
    said = refusal(path, out)
    assert message in said
    assert said.startswith(f"{path.parent}: 20 of 20 records are no photos that can be read: a.tfrec/0 (")
    assert len(said.splitlines()) == 1
    if message != "runcated":
        assert "; so are 19 more of the file)" in said
    write(tmp_path / "in" / "b.tfrec", records(image=photo, label=lambda n: n % 5))
    made = run(tmp_path / "in", out, skip_broken=True)
    assert sum(made.counts.values()) == 20
    true_classes(out)


WRONG: dict[str, tuple[dict[str, Callable[[int], Value]], str]] = {
    "two photos": ({"image": photo, "img": photo, "label": lambda n: 1}, "image and img may each be the photo"),
    "two classes": (
        {"image": photo, "label": lambda n: n % 5, "target": lambda n: n % 2},
        "label and target may each be the class; its features are image (bytes), label (int64), target (int64)",
    ),
    "no photo": ({"blob": lambda n: "x", "label": lambda n: 1}, "no photo is known by its name; its features are blob"),
    "no class": ({"image": photo, "how_many": lambda n: 5}, "no class; its features are how_many (int64), image"),
    "half": ({"image": photo, "label": lambda n: n % 5 + 0.5}, "feature 'label' holds 0.5, which is no number of a cl"),
    "nan": ({"image": photo, "label": lambda n: float("nan")}, "feature 'label' holds nan"),
    "minus 2": ({"image": photo, "label": lambda n: -2}, "feature 'label' holds -2"),
    "several labels": ({"image": photo, "label": lambda n: [1, 1, 0]}, "holds 3 values and is not one-hot"),
    "boxes": ({"image": photo, "label": lambda n: [4, 7]}, "holds 2 values and is not one-hot"),
    "several photos": ({"image": lambda n: [photo(n), photo(n)], "label": lambda n: 1}, "holds 2 values instead of o"),
    "one class": ({"image": photo, "label": lambda n: 1}, "all photos are of one class, '1'"),
}  # fmt: skip


@pytest.mark.parametrize(("features", "message"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_told_is_one_line(
    features: dict[str, Callable[[int], Value]], message: str, tmp_path: Path, out: Path
) -> None:
    said = refusal(write(tmp_path / "a.tfrec", records(**features)), out)
    assert message in said
    assert len(said.splitlines()) == 1


def test_a_feature_that_is_in_no_file(tmp_path: Path, out: Path) -> None:
    path = write(tmp_path / "a.tfrec", common())
    said = refusal(path, out, features="image=image/encodd")
    assert said == (
        f"--features image=image/encodd: there is no such feature in {path}; its features are image/class/label "
        "(int64), image/encoded (bytes), image/filename (bytes)"
    )


@pytest.mark.parametrize("numbers", [[1, 2, 3], [0.5, 1.0]])
def test_pixels_as_numbers_are_refused(numbers: Value, tmp_path: Path, out: Path) -> None:
    path = write(tmp_path / "a.tfrec", records(grid=lambda n: numbers, label=lambda n: n % 5))
    said = refusal(path, out, features="image=grid")
    assert "feature 'grid' holds numbers, which are not read as pixels: write them as bytes" in said
    assert len(said.splitlines()) == 1


def test_named_features_win(tmp_path: Path, out: Path) -> None:
    both = {"label": lambda n: n % 5, "target": lambda n: n % 2, "other": photo, "image": lambda n: photo(n + 1)}
    path = write(tmp_path / "a.tfrec", records(**both))
    run(path, out, features="image=other,label=label")
    true_classes(out)
    assert run(path, tmp_path / "two", features="class=target,image=image").class_names == ("0", "1")


@pytest.mark.parametrize("name", ["f-{}-of-00004.tfrec", "flowers-train.tfrecord-{}-of-00004"])
def test_files_that_the_others_count_are_missed(name: str, tmp_path: Path, out: Path) -> None:
    for number in (0, 2):
        write(tmp_path / "in" / name.format(f"0000{number}"), common(20, 10 * number))
    first = tmp_path / "in" / name.format("00001")
    made = run(tmp_path / "in", out, val=0.2)
    assert made.notes[0] == f"2 files are missing by the names of the others, {first} first"
    if name.startswith("f-"):
        train = next(out.glob("*/train"))
        (train / next(train.iterdir()).name).rename(train / "f-00001-of-00002.tfrec")
        assert check(out, None, progress=False).notes[-1].endswith("f-00000-of-00002.tfrec first")


def damaged(content: bytes, kind: str) -> bytes:
    if kind == "a flipped bit":
        return content[:100] + bytes([content[100] ^ 1]) + content[101:]
    if kind == "a length":
        return b"\1" + content[1:]
    if kind == "cut":
        return content[:-9]
    return {
        "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
        "a web page": b"<!DOCTYPE html><html>Sign in",
        "a ZIP": b"PK\x03\x04" + bytes(60),
        "empty": b"",
    }[kind]


DAMAGES = {
    "a flipped bit": "data CRC differs",
    "a length": "length CRC differs",
    "cut": "truncated",
    "Git LFS": "the file is a Git LFS pointer",
    "a web page": "the file is a web page",
    "a ZIP": "the file is a ZIP archive",
    "empty": "the file is empty",
}


@pytest.mark.parametrize(("kind", "message"), DAMAGES.items(), ids=DAMAGES)
def test_damage_is_one_line_a_file(kind: str, message: str, tmp_path: Path, out: Path) -> None:
    folder = tmp_path / "in"
    for name in ("a.tfrec", "b.tfrec", "c.tfrec"):
        path = write(folder / name, common(20, {"a": 0, "b": 20, "c": 40}[name[0]]))
        if name != "c.tfrec":
            path.write_bytes(damaged(path.read_bytes(), kind))
    said = refusal(folder, out).splitlines()
    assert len(said) == 2
    assert all(line.startswith(str(folder / name)) for line, name in zip(said, ("a.tfrec", "b.tfrec"), strict=True))
    assert all(message in line and "--skip-broken" in line for line in said)
    made = run(folder, out, skip_broken=True)
    assert sum(message in note and note.endswith("; left out") for note in made.notes) == 2
    assert sum(made.counts.values()) >= 20
    true_classes(out)


def test_several_faults_of_a_file_are_one_line(tmp_path: Path, out: Path) -> None:
    some = [dict(each) | ({"image/class/label": -9} if n % 3 else {}) for n, each in enumerate(common())]
    path = write(tmp_path / "a.tfrec", some)
    said = refusal(path, out)
    assert "holds -9, which is no number of a class (and 12 more records of the file are at fault, to 19)" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (photo(0), "the record is a JPEG (malformed protobuf"),
        (b"\1hello", "the record is no tf.train.Example (malformed protobuf"),
        (b'{"image": "a.jpg"}', "the record is text (malformed protobuf"),
        (b"", "feature 'image' holds no photo"),
    ],
    ids=["JPEG", "bytes", "JSON", "empty"],
)
def test_records_that_are_no_examples_are_one_line(content: bytes, message: str, tmp_path: Path, out: Path) -> None:
    path = tmp_path / "a.tfrec"
    write_tfrecord(path, [content] * 9)
    said = refusal(path, out)
    assert said.startswith(f"{path}:0 record 0: {message}")
    assert "(and 8 more records of the file are at fault, to 8)" in said
    assert len(said.splitlines()) == 1


def test_a_file_that_is_compressed_twice_is_one_line(tmp_path: Path, out: Path) -> None:
    path = write(tmp_path / "a.tfrec", common())
    path.write_bytes(gzip.compress(gzip.compress(path.read_bytes())))
    said = refusal(path, out)
    assert said.startswith(f"{path}:0 record 0: the file is gzip, not TFRecords: unpack it")
    assert "corolla import" not in said


def test_sizes_side_by_side_are_refused(tmp_path: Path, out: Path) -> None:
    data = write_data(tmp_path / "data")
    write_data(tmp_path / "more", size=48).joinpath("tfrecords-jpeg-48x48").rename(data / "tfrecords-jpeg-48x48")
    assert "name one of tfrecords-jpeg-32x32, tfrecords-jpeg-48x48" in refusal(data, out)
    made = run(data / "tfrecords-jpeg-48x48", out)
    assert made.counts == {"train": 40, "val": 16, "test": 11}
    assert made.class_names == tuple(f"kind {n}" for n in range(5))
    assert (out / "sample_submission.csv").read_text() == (data / "sample_submission.csv").read_text()


def test_a_file_without_a_split_beside_train(tmp_path: Path, out: Path) -> None:
    write(tmp_path / "in" / "train.tfrec", common())
    write(tmp_path / "in" / "more.tfrec", common(5, 30))
    assert "more.tfrec tells no split by its name, others do" in refusal(tmp_path / "in", out)
    (tmp_path / "in" / "train.tfrec").rename(tmp_path / "in" / "val.tfrec")
    assert run(tmp_path / "in", out).counts == {"train": 5, "val": 20}


def test_a_folder_of_photos_is_no_tfrecords(tmp_path: Path, out: Path) -> None:
    for name in ("rose", "tulip"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for number in range(5):
            (tmp_path / "in" / name / f"{number}.jpg").write_bytes(photo(number))
    write(tmp_path / "in" / "rose" / "cache.tfrec", common())
    assert run(tmp_path / "in", out).class_names == ("rose", "tulip")
    for wrong in ("nowhere", "in/rose/0.jpg"):
        assert "is no folder: name the one that holds" in refusal(tmp_path / wrong, tmp_path / "none")


def test_a_folder_that_holds_none(tmp_path: Path, out: Path) -> None:
    (tmp_path / "in").mkdir()
    assert refusal(tmp_path / "in", out, features="image=x").startswith(f"{tmp_path / 'in'} holds no TFRecords")
    for path in (tmp_path / "in", tmp_path / "nowhere.tfrec"):
        assert str(path) in refusal(path, path, out)


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [write(Path(f"{name}.tfrec"), common(20, first)) for name, first in (("a", 0), ("b", 20), ("c", 40))]
    words = [*map(str, paths), "out", "--size", "32", "--features", "image=image/encoded,class=image/class/label"]
    assert run_command(["import", *words]) == 0
    assert run_command(["import", *words]) == 0
    said = capsys.readouterr()
    assert said.out.count("out: written (") == said.out.count("out: holds these photos already (") == 1
    assert "note: features taken: photo image/encoded, class image/class/label, id image/filename" in said.err
    assert run_command(["import", str(paths[0]), "--size", "32", "one"]) == 0  # options may stand between
    with pytest.raises(UserError, match=r"b\.tfrec is a file; choose a folder"):
        run_command(["import", "a.tfrec", "b.tfrec"])
    with pytest.raises(UserError, match="--lists names photos in a folder"):
        run_command(["import", "a.tfrec", "other", "--lists", "x.csv"])


@pytest.mark.parametrize(
    ("folder", "kind"), [("data", "names"), ("-my  data's", "names"), ("a", "class"), ("b", "png"), ("c", "label")]
)
def test_the_command_that_check_tells_converts_the_folder(
    kind: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = write_data(Path(folder))
    train_files = data / "tfrecords-jpeg-32x32" / "train"
    for path in train_files.iterdir():
        path.unlink()
    label: Callable[[int], Value] = {"class": lambda n: float(n % 5)}.get(kind, lambda n: n % 5)
    image = (
        (lambda n: cv2.imencode(".png", np.full((SIDE, SIDE, 3), n, np.uint8))[1].tobytes()) if kind == "png" else photo
    )
    names = {"names": ("image__encoded", "image__class__label"), "label": ("image", "label")}.get(
        kind, ("image", "class")
    )
    write(train_files / "flowers.tfrec", records(**{names[0]: image, names[1]: label}))
    (fault,) = check(data, None, progress=False).faults
    command = shlex.split(str(fault).partition("convert it: ")[2])
    assert command[:2] == ["corolla", "import"]
    assert run_command([*command[1:], "--size", "32"]) == 0
    assert check(Path("OUT"), None, progress=False).faults == ()
    index = load_index(Path("OUT"), None)
    assert {name: len(split) for name, split in index.splits.items()} == {"train": 20, "val": 16, "test": 11}
    assert index.class_names == tuple(f"kind {n}" for n in range(5))
    assert sorted(index.splits["train"].label.tolist()) == sorted(n % 5 for n in range(20))


KEYS = st.sampled_from(["image", "class", "id"])
NAMES = st.text(st.characters(codec="utf-8", exclude_characters=","), min_size=1).filter(
    lambda name: name == name.strip()
)


@given(st.dictionaries(KEYS, NAMES, min_size=1))
def test_features_round_trip(named: dict[str, str]) -> None:
    text = ",".join(f"{key}={name}" for key, name in named.items())
    assert parse_features(text) == {key: name.encode() for key, name in named.items()}


@given(st.text(max_size=60) | st.text("imageclassid=,/ ", max_size=60))
def test_any_text_is_features_or_one_line(text: str) -> None:
    came = outcome(lambda: parse_features(text))
    assert isinstance(came, dict) or came.startswith("--features ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not of the form NAME=FEATURE"),
        ("image", "is not of the form NAME=FEATURE"),
        ("image=", "is not of the form NAME=FEATURE"),
        ("imge=a", "'imge' is none of image, class and id; nearest: image"),
        ("image=a,clas=b", "'clas' is none of image, class and id"),
        ("image=a,image=b", "image is named twice"),
        ("label=a,class=b", "class is named twice"),
    ],
)
def test_wrong_features_are_one_line(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_features(text)


def test_a_feature_named_with_commas_and_equals() -> None:
    assert parse_features("image=a,b/c d,label=x=y") == {"image": b"a,b/c d", "class": b"x=y"}
    assert parse_features(" image = a , class = b, ") == {"image": b"a", "class": b"b"}


def test_an_image_of_our_own_layout_keeps_its_bytes(tmp_path: Path, out: Path) -> None:
    path = tmp_path / "a.tfrec"
    write_tfrecord(path, [encode_example(image=photo(n), label=n % 5, id=f"{n:09x}") for n in range(20)])
    run(path, out)
    true_classes(out)
    assert ids(out) == {f"{n:09x}" for n in range(20)}


def test_one_hot_lists_of_several_lengths_are_refused(tmp_path: Path, out: Path) -> None:
    path = write(
        tmp_path / "a.tfrec", records(image=photo, label=lambda n: [int(n % 5 == i) for i in range(5 + n % 2)])
    )
    assert "one-hot classes of several lengths, 5, 6" in refusal(path, out)


def test_records_of_train_without_a_class_are_refused(tmp_path: Path, out: Path) -> None:
    path = write(tmp_path / "a.tfrec", records(image=photo, label=lambda n: n % 5 if n % 4 else -1))
    assert refusal(path, out) == f"{path}: 5 of 20 records have no class, record 0 first"


def test_test_photos_with_and_without_a_class_are_refused(tmp_path: Path, out: Path) -> None:
    write(tmp_path / "in" / "train.tfrec", common())
    write(tmp_path / "in" / "test.tfrec", records(9, 50, image=photo, label=lambda n: n % 5 if n % 4 else -1))
    assert "some test photos have a class and some have none" in refusal(tmp_path / "in", out)


def test_the_same_photos_with_other_ids_are_others(tmp_path: Path, out: Path) -> None:
    for mark in ("a", "b"):
        path = write(tmp_path / "a.tfrec", records(image=photo, label=lambda n: n % 5, id=lambda n, m=mark: f"{m}{n}"))
        if mark == "a":
            run(path, out)
    with pytest.raises(UserError, match="holds other photos"):
        run(path, out)


@pytest.mark.slow
def test_a_network_learns_from_converted_records(tmp_path: Path, out: Path) -> None:
    for split, count, first in (("train", 60, 0), ("validation", 30, 60)):
        path = write(tmp_path / "in" / f"flowers-{split}-00000-of-00001", common(count, first))
        path.write_bytes(gzip.compress(path.read_bytes()))
    run(tmp_path / "in", out)
    run_folder = train(changed(smallest_config(out, tmp_path / "runs"), "train", epochs=12))
    assert run_folder.state == "done"
    assert run_folder.metrics[-1]["top1"] > 0.6
