"""TFRecords of others: read where they can be, else one line for the file, or for the folder nothing would read."""

import gzip
import os
import shlex
import shutil
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import draw, outcome, write_data

from corolla.cli import run_command
from corolla.data.check import check
from corolla.data.dataset import TFRecordDataset
from corolla.data.index import load_index
from corolla.data.record_files import count_in_name
from corolla.data.tfrecord import encode_example, read_records, write_tfrecord
from corolla.doctor import doctor
from corolla.errors import UserError

SIDE = 32


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data", size=SIDE)


def split(data: Path, name: str) -> Path:
    return data / f"tfrecords-jpeg-{SIDE}x{SIDE}" / name


def first(data: Path) -> Path:
    return min(split(data, "train").iterdir())


def faults(data: Path) -> list[str]:
    """The faults that check tells; a command that trains tells the first of them."""
    found = [str(fault) for fault in check(data, None, progress=False).faults]
    assert all(len(line.splitlines()) == 1 for line in found)
    return found


def told_by_all(data: Path) -> str:
    """The one fault that check and load_index tell alike."""
    (fault,) = faults(data)
    with pytest.raises(UserError) as caught:
        load_index(data, None)
    assert str(caught.value).partition(": ")[2] == fault.partition(": ")[2]
    return fault


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("00-224x224-798.tfrec", 798),
        ("15-512x512-783.TFREC", 783),
        ("flowers-00000-of-00001.tfrec", None),
        ("00-224x224-798 (1).tfrec", None),
        ("flowers01.tfrec", None),
        ("2020-01-01.tfrec", None),
        ("00-224x192-798.tfrec", None),
        ("train.tfrecord-00000-of-00002", None),
    ],
)
def test_only_names_of_the_competitions_form_state_a_count(name: str, count: int | None) -> None:
    assert count_in_name(Path(name)) == count


@pytest.mark.parametrize(
    "name", ["a.tfrecord", "b.tfrecords", "c.TFREC", "flowers-00000-of-00001.tfrec", "x (1).tfrec"]
)
def test_other_names_are_read_without_a_fault(name: str, data: Path) -> None:
    before = load_index(data, None)
    first(data).rename(split(data, "train") / name)
    assert faults(data) == []
    assert sorted(load_index(data, None).splits["train"].id) == sorted(before.splits["train"].id)
    assert not [finding for finding in doctor(data=data, runs=data / "runs").findings if "says" in finding.text]


def zipped(content: bytes) -> bytes:
    path = Path(os.environ["PYTEST_ZIP"])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.tfrec", content)
    return path.read_bytes()


INSTEAD: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "gzip": (lambda content: gzip.compress(content, mtime=0), "the file is gzip, not TFRecords: unpack it"),
    "gzip, dated": (lambda content: gzip.compress(content, mtime=1e9), "the file is gzip, not TFRecords: unpack it"),
    "zlib": (zlib.compress, "the file is compressed with zlib"),
    "zlib, fast": (lambda content: zlib.compress(content, 1), "the file is compressed with zlib"),
    "ZIP": (zipped, "the file is a ZIP archive, not TFRecords: unpack it"),
    "Git LFS": (
        lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
        "the file is a Git LFS pointer, not TFRecords: git lfs pull",
    ),
    "a web page": (
        lambda _: b"\n<!DOCTYPE html><html>Sign in",
        "the file is a web page or XML, not TFRecords: download",
    ),
    "a JPEG": (lambda _: draw(0, 0, SIDE), "the file is a JPEG image, not TFRecords"),
    "HDF5": (lambda _: b"\x89HDF\r\n\x1a\n" + bytes(90), "the file is HDF5, not TFRecords"),
    "Parquet": (lambda _: b"PAR1" + bytes(90), "the file is Parquet, not TFRecords: replace it"),
    "MXNet": (lambda _: b"\x0a\x23\xd7\xce" + bytes(90), "the file is MXNet's RecordIO, not TFRecords"),
    "Zstandard": (lambda _: b"\x28\xb5\x2f\xfd" + bytes(90), "the file is Zstandard, not TFRecords: unpack it"),
    "7z": (lambda _: b"7z\xbc\xaf\x27\x1c" + bytes(90), "the file is a 7z archive, not TFRecords: unpack it"),
    "text": (lambda _: b"404: Not Found\n", "the file is text that begins '404: Not Found\\n', not TFRecords"),
    "JSON": (lambda _: b'{"error": {"code": 403}}' * 9, "the file is text that begins '{"),
    "zeros": (lambda _: bytes(5000), "the file begins with zeros, as a download does that has not ended"),
    "few bytes": (lambda _: b"\1\2\3", "truncated: 3 bytes of the record's 12-byte header"),
    "other bytes": (lambda _: b"\1" * 100, "length CRC differs"),
}


@pytest.mark.parametrize(("change", "message"), INSTEAD.values(), ids=INSTEAD)
def test_another_file_in_its_place_is_one_line(
    change: Callable[[bytes], bytes], message: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_ZIP", str(tmp_path / "x.zip"))
    path = first(data)
    path.write_bytes(change(path.read_bytes()))
    fault = told_by_all(data)
    assert fault.startswith(f"{path}:0 record 0: {message}")
    unpacked = "gzip" in message or "zlib" in message
    assert fault.endswith(f"; convert it: corolla import {split(data, '.')} OUT") is unpacked


def test_a_pipe_is_one_line(data: Path) -> None:
    path = first(data)
    path.unlink()
    os.mkfifo(path)
    assert told_by_all(data) == f"{path}:0 record 0: is no regular file"


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field of a protobuf message."""
    size, length = len(content), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def encoded(**features: bytes) -> bytes:
    """An Example of these features, each the content of a Feature; __ stands for a slash."""
    entries = [field(1, field(1, name.replace("__", "/").encode()) + field(2, each)) for name, each in features.items()]
    return field(1, b"".join(entries))


def _bytes_list(content: bytes) -> bytes:
    return field(1, field(1, content))


INT, FLOAT = b"\x1a\x02\x08\x01", b"\x12\x06\x0a\x04\0\0\0\0"
JPEG = _bytes_list(draw(0, 0, SIDE))


def test_an_id_by_another_name_is_told_in_test(data: Path) -> None:
    path = min(split(data, "test").iterdir())
    path.unlink()
    path = split(data, "test") / "flowers.tfrec"
    write_tfrecord(path, [encoded(image=JPEG, image_name=_bytes_list(b"%d" % n)) for n in range(5)])
    fault = told_by_all(data)
    where = "(and so 4 more records of the file, to 4)"
    assert fault.startswith(f"{path}:0 record 0: no id, by which a submission would name it: its features are image (")
    assert fault.endswith(f"{where}; convert it: corolla import {split(data, '.')} OUT --features image=image")


BY_HAND = "write them as image (bytes: a JPEG), class (int64) and id (bytes)"


@pytest.mark.parametrize(
    ("features", "message", "remedy"),
    [
        (
            {"image__encoded": JPEG, "image__class__label": INT},
            "no image: its features are image/class/label (int64), image/encoded (bytes)",
            "image=image/encoded,class=image/class/label",
        ),
        (
            {"img": JPEG, "what it is": INT},
            "no image: its features are img (bytes), what it is (int64)",
            "image=img,class=FEATURE",
        ),
        ({"image": INT, "class": INT}, "no image: its features are class (int64), image (int64)", BY_HAND),
        ({"image": FLOAT, "class": INT}, "no image: its features are class (int64), image (float)", BY_HAND),
        (
            {"image": JPEG, "class": FLOAT},
            "class or id of another type: its features are class (float), image (bytes)",
            "image=image,class=class",
        ),
        (
            {"image": JPEG, "class": _bytes_list(b"rose")},
            "class or id of another type: its features are class (bytes)",
            "image=image,class=class",
        ),
        (
            {"image": JPEG, "class": INT, "id": INT},
            "class or id of another type: its features are class (int64), id (int64), image (bytes)",
            "image=image,class=class",
        ),
        (
            {"image": JPEG, "class": b"\x1a\x05\x0a\x03\0\x01\0"},
            "feature 'class' holds 3 values instead of one: its features are class (int64), image (bytes)",
            "image=image,class=class",
        ),
        ({"image": JPEG}, "no class", ""),
        (
            {"image": JPEG, "label": INT},
            "no class: its features are image (bytes), label (int64)",
            "image=image,class=label",
        ),
        (
            {"image": JPEG, "n": INT},
            "no class: its features are image (bytes), n (int64)",
            "image=image,class=FEATURE",
        ),
        (
            {"image": JPEG, "label": INT, "target": INT},
            "no class: its features are image (bytes), label (int64), target (int64)",
            "label and target may each be the class, so name the right one: image=image,class=label",
        ),
        (
            {"img": JPEG, "photo": JPEG, "label": INT},
            "no image: its features are img (bytes), label (int64), photo (bytes)",
            "img and photo may each be the photo, so name the right one: image=img,class=label",
        ),
        ({"image": JPEG, "class": b"\x1a\x02\x08\x63"}, "class 99 is outside 0..4", ""),
    ],
)
def test_other_features_are_one_line_for_the_file_with_the_command_that_converts_it(
    features: dict[str, bytes], message: str, remedy: str, data: Path
) -> None:
    path = first(data)
    path.unlink()
    path = split(data, "train") / "flowers.tfrec"
    write_tfrecord(path, [encoded(**features)] * 12)
    fault = told_by_all(data)
    assert fault.startswith(f"{path}:0 record 0: {message}")
    said, _, how = fault.partition(" (and so 11 more records of the file, to 11)")
    assert said.startswith(f"{path}:0 record 0: {message}")
    doubt, _, command = remedy.rpartition(": ")
    if command.startswith("image="):
        assert how.startswith(f"; {doubt}: convert it: " if doubt else "; convert it: ")
        assert shlex.split(how.partition("convert it: ")[2]) == [
            *("corolla", "import", str(split(data, ".")), "OUT", "--features", command)
        ]
    else:
        assert how == (f"; {remedy}" if remedy else "")


@pytest.mark.parametrize("kind", [".png", ".webp", "raw"])
def test_other_images_are_one_line_for_the_file(kind: str, data: Path) -> None:
    pixels = np.full((SIDE, SIDE, 3), 9, np.uint8)
    image = pixels.tobytes() if kind == "raw" else cv2.imencode(kind, pixels)[1].tobytes()
    path = first(data)
    path.unlink()
    path = split(data, "train") / "flowers.tfrec"
    write_tfrecord(path, [encode_example(image=image, label=0, id=f"x{i}") for i in range(2)])
    (fault,) = faults(data)
    assert "(and so 1 more records of the file, to 1); convert it: corolla import" in fault
    write_tfrecord(path, [encode_example(image=image, label=0, id=f"x{i}") for i in range(12)])
    (fault,) = faults(data)
    seen = {".png": "they are a PNG image", ".webp": "they are a WebP image", "raw": "as many as the raw pixels have"}
    assert seen[kind] in fault
    assert "; its features are class (int64), id (bytes), image (bytes) (and so 11 more records of the file" in fault
    command = f"corolla import {split(data, '.')} OUT --features image=image,class=class"
    assert fault.endswith(f", to 11); convert it: {command}")
    with pytest.raises(UserError) as caught:
        TFRecordDataset(load_index(data, None), "train").image(len(load_index(data, None).splits["train"]) - 1)
    assert str(caught.value).endswith(f"; convert it: {command}")


def test_a_test_photo_of_class_minus_one_has_none(data: Path) -> None:
    for path in split(data, "test").iterdir():
        buffer = path.read_bytes()
        ids = [f"{path.stem}{record.number}" for record in read_records(path, buffer)]
        write_tfrecord(path, [encode_example(image=draw(0, i, SIDE), label=-1, id=id) for i, id in enumerate(ids)])
    (data / "sample_submission.csv").unlink()
    assert faults(data) == []


@pytest.mark.parametrize("name", ["valid", "validation", "Val", "dev"])
def test_a_split_by_another_name_is_told_with_the_command_that_mends_it(name: str, data: Path) -> None:
    split(data, "val").rename(split(data, name))
    fault = told_by_all(data)
    command = f"mv {split(data, name)} {split(data, 'val')}"
    assert fault.endswith(f"would be passed over, as the splits are called train, val and test: {command}")
    for stage in ("stats", "train"):
        words = ["resnet18", "--data", str(data)] if stage == "train" else [str(data)]
        with pytest.raises(UserError, match="mv "):
            run_command([stage, *words])
    assert run_command(["check", str(data)]) == 1
    (finding,) = [each for each in doctor(data=data, runs=data / "runs").findings if name in each.text]
    assert (finding.state, finding.remedy) == ("fault", command)
    subprocess.run(shlex.split(command), check=True)
    assert faults(data) == []


@pytest.mark.parametrize("name", ["val_set", "Valid-TFRecords", "../val", "../validation"])
def test_a_split_by_a_longer_name_or_one_level_too_high(name: str, data: Path) -> None:
    split(data, "val").rename(split(data, name))
    assert f": mv {split(data, name).resolve()} {split(data, 'val').resolve()}" in told_by_all(data.resolve())
    split(data, "val").mkdir()
    assert "too: move its records there" in told_by_all(data)


def test_other_folders_that_nothing_would_read(data: Path) -> None:
    shutil.copytree(split(data, "val"), split(data, "validation"))
    assert "there is" in told_by_all(data)
    split(data, "validation").rename(split(data, "more"))
    assert "rename it as the one that it is, or move it away" in told_by_all(data)
    shutil.rmtree(split(data, "more"))
    shutil.copy(first(data), split(data, "loose.tfrec"))
    assert "is in no split, so it would be passed over: mv " in told_by_all(data)
    split(data, "loose.tfrec").unlink()
    for path in split(data, "val").iterdir():
        path.rename(f"{path}.zip")
    assert "is packed, so it would be passed over (and so 1 more there): unpack it there" in told_by_all(data)


@pytest.mark.parametrize("name", ["tf_flowers-train.tfrecord-00001-of-00002", "train-00001-of-00002", "x.records"])
@pytest.mark.parametrize("beside", [True, False])
def test_a_file_of_a_split_that_would_not_be_read_is_told(name: str, beside: bool, data: Path) -> None:
    path = split(data, "val") / name
    one, other = sorted(split(data, "val").iterdir())
    other.rename(path)
    if not beside:
        one.unlink()
    fault = told_by_all(data)
    assert f"{path}" in fault
    assert fault.endswith(
        f"ends in none of .tfrec, .tfrecord, .tfrecords, so it would be passed over: mv {path} {path}.tfrec"
    )
    subprocess.run(shlex.split(fault.partition("over: ")[2]), check=True)
    assert faults(data) == []


def test_what_lies_in_a_split_is_told_or_a_second_copy(data: Path) -> None:
    path = split(data, "val") / "more" / "a.tfrec"
    path.parent.mkdir()
    first(data).rename(path)
    assert told_by_all(data).endswith(f"of a split, so it would be passed over: mv {path} {split(data, 'val')}")
    unfinished = path.rename(split(data, "val") / "a.tfrec.part")
    assert "is a download that has not ended, so it would be passed over: download it anew" in told_by_all(data)
    whole = unfinished.rename(split(data, "train") / "a.tfrec")
    for suffix in (".bak", ".gz", "~"):
        shutil.copy(whole, f"{whole}{suffix}")
    (split(data, "val") / "list.txt").write_text("a note of the owner's")
    assert faults(data) == []


def test_a_folder_one_level_off_is_told(data: Path, tmp_path: Path) -> None:
    for place, hint in ((tmp_path, f"there are some in {data}"), (split(data, "."), f"the folder above: {data}")):
        with pytest.raises(UserError, match=f"no TFRecords in .*{hint}"):
            load_index(place, None)
    split(data, "train").rename(tmp_path / "train")
    shutil.rmtree(data)
    with pytest.raises(UserError, match="is not in such a folder"):
        load_index(tmp_path, None)


@given(st.binary(max_size=200))
def test_any_bytes_are_records_or_one_fault(content: bytes) -> None:
    came = outcome(lambda: list(read_records(Path("x.tfrec"), content)))
    assert not isinstance(came, str) or len(came.splitlines()) == 1


def test_a_folder_whose_name_is_not_utf_8_is_read_from_inside(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / os.fsdecode(b"l\xe4tin")
    inside.mkdir()
    data.rename(inside / "data")
    monkeypatch.chdir(inside)
    for stage in ("check", "stats"):
        assert run_command([stage, "data"]) == 0
    with pytest.raises(UserError, match=r"l\\xe4tin: this name is not UTF-8; rename it"):
        run_command(["check", str(inside)])
