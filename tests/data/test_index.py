"""The index against planted faults, changes of the folder, damaged caches and TensorFlow's files."""

import errno
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from corolla.data.competition import CLASS_NAMES, CLASSES
from corolla.data.index import load_index, scan
from corolla.data.tfrecord import RecordFault, encode_example, write_tfrecord
from corolla.errors import UserError

FLOWERS = Path(__file__).parents[2].parent / "shared" / "flowers"
IMAGE = b"\xff\xd8 a JPEG, for all the index knows"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "corolla" / "index"


def flower(label: int | None, name: str | None, image: bytes = IMAGE) -> bytes:
    return encode_example(image=image, label=label, id=name)


def write(data: Path, file: str, *examples: bytes) -> Path:
    """Write `train/00-2` as tfrecords-jpeg-8x8/train/00-8x8-2.tfrec."""
    split, name = file.split("/")
    path = data / "tfrecords-jpeg-8x8" / split / f"{name.replace('-', '-8x8-', 1)}.tfrec"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tfrecord(path, examples)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    write(folder, "train/00-2", flower(0, "a"), flower(1, "b"))
    write(folder, "train/01-2", flower(2, "c"), flower(103, "d"))
    write(folder, "val/00-1", flower(0, "e"))
    write(folder, "test/00-2", flower(None, "f"), flower(None, "g"))
    return folder


def faults(data: Path) -> list[str]:
    """All faults' lines; loading the index raises the first."""
    found = [str(fault) for fault in scan(data, None)[1]]
    with pytest.raises(RecordFault, match=f"^{re.escape(found[0])}$"):
        load_index(data, None)
    return found


def test_what_the_index_holds(data: Path) -> None:
    index = load_index(data, None)
    assert (index.folder, index.size, index.class_names) == (data, 8, CLASS_NAMES)
    assert list(index.splits) == ["train", "val", "test"]
    train = index.splits["train"]
    assert len(train) == 4
    assert train.files == tuple(f"tfrecords-jpeg-8x8/train/0{i}-8x8-2.tfrec" for i in range(2))
    assert train.file.tolist() == [0, 0, 1, 1]
    assert train.record.tolist() == [0, 1, 0, 1]
    assert train.id.tolist() == ["a", "b", "c", "d"]
    assert train.label.tolist() == [0, 1, 2, 103]
    assert index.splits["test"].label.tolist() == [-1, -1]
    for file, offset, length, start in zip(train.file, train.offset, train.length, train.start, strict=True):
        content = (data / train.files[file]).read_bytes()
        assert content[offset : offset + length] == IMAGE
        assert content[start : start + 8] == (len(flower(0, "a"))).to_bytes(8, "little")
    crcs = b"".join((data / file).read_bytes()[-4:] for file in index.splits["val"].files)
    assert index.fingerprint["val"] == hashlib.sha256(crcs).hexdigest()


def test_ids_are_optional_and_the_same_for_every_size(tmp_path: Path) -> None:
    for size in (8, 16):
        for name in ("3", "04"):
            path = tmp_path / f"tfrecords-jpeg-{size}x{size}" / "val" / f"{name}-{size}x{size}-1.tfrec"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_tfrecord(path, [flower(1, None)])
        assert load_index(tmp_path, size).splits["val"].id.tolist() == ["val/04/0", "val/3/0"]
    path.rename(path.with_name("one-1.tfrec"))
    assert load_index(tmp_path, 16).splits["val"].id.tolist() == ["val/0/0", "val/1/0"]


def test_classes() -> None:
    assert len(CLASSES) == 104
    assert (sum(row[1] for row in CLASSES), sum(row[2] for row in CLASSES)) == (12753, 3712)
    assert (CLASS_NAMES[87], CLASS_NAMES[90]) == ("cyclamen", "hippeastrum")


def test_classes_of_the_folder(data: Path) -> None:
    (data / "classes.txt").write_text("one\ntwo \nthree\n")
    assert scan(data, None)[0].class_names == ("one", "two", "three")
    size = len(flower(2, "c")) + 16
    path = data / "tfrecords-jpeg-8x8/train/01-8x8-2.tfrec"
    assert faults(data) == [f"{path}:{size} record 1: class 103 is outside 0..2"]
    (data / "classes.txt").write_text("one\n\nthree\n")
    with pytest.raises(UserError, match=r"classes\.txt: line 2 is blank"):
        load_index(data, None)


@pytest.mark.parametrize(
    ("file", "examples", "reasons"),
    [
        ("train/00-2", [flower(None, "a"), flower(1, "b")], ["0: no class"]),
        ("val/00-1", [flower(None, "e")], ["0: no class"]),
        ("train/00-2", [flower(0, "a"), flower(104, "b")], ["1: class 104 is outside 0..103"]),
        ("train/00-2", [flower(-1, "a"), flower(0, "b")], ["0: class -1 is outside 0..103"]),
        ("test/00-2", [flower(104, "f"), flower(0, "g")], ["0: class 104 is outside 0..103"]),
        ("train/00-2", [flower(0, "a", b""), flower(0, "b")], ["0: no image"]),
        ("train/00-2", [b"", b"\x0a"], ["0: no image", "1: malformed protobuf: a varint without an end"]),
        ("train/00-2", [flower(0, "a"), flower(1, "a")], ["1: id 'a' is that of {train}/00-8x8-2.tfrec record 0 too"]),
        ("val/00-1", [flower(0, "d")], ["0: id 'd' is that of {train}/01-8x8-2.tfrec record 1 too"]),
        ("val/00-3", [flower(0, "x"), flower(0, "y")], ["2: the file holds 2 records, its name says 3"]),
        ("val/00-1", [], ["0: the file holds 0 records, its name says 1"]),
        ("val/flowers", [], ["0: the file is empty"]),
        ("val/01-0", [], []),
        ("val/flowers", [flower(0, "x")], []),
    ],
)
def test_faults_of_records(data: Path, file: str, examples: list[bytes], reasons: list[str]) -> None:
    path = write(data, file, *examples)
    offsets = [sum(len(example) + 16 for example in examples[:number]) for number in range(len(examples) + 1)]
    lines = [
        f"{path}:{offsets[int(reason.split(':')[0])]} record {reason.format(train='tfrecords-jpeg-8x8/train')}"
        for reason in reasons
    ]
    assert (faults(data) if lines else scan(data, None)[1]) == lines


def test_every_fault_is_found_in_order(data: Path) -> None:
    first = write(data, "train/00-2", flower(0, "a"), flower(1, "b"))
    damaged = bytearray(first.read_bytes())
    damaged[40] ^= 1
    first.write_bytes(damaged)
    size = len(flower(0, "a")) + 16
    second = write(data, "train/01-2", flower(2, "c"), flower(103, "d"))
    second.write_bytes(second.read_bytes()[:-1])
    val = write(data, "val/00-1", flower(0, "e"))
    val.write_bytes(b"\x00" + val.read_bytes()[1:])
    assert faults(data) == [
        f"{first}:0 record 0: data CRC differs",
        f"{second}:{size} record 1: truncated: {size - 1} bytes of the record's {size}",
        f"{val}:0 record 0: length CRC differs; the rest of the file can't be read",
    ]
    assert scan(data, None)[0].splits["train"].id.tolist() == ["b", "c"]


def test_a_file_that_cannot_be_read(data: Path) -> None:
    path = data / "tfrecords-jpeg-8x8/val/01-8x8-1.tfrec"
    path.mkdir()
    assert faults(data) == [f"{path}:0 record 0: can't be read: Is a directory"]


def test_every_flip_of_a_byte_is_a_fault(data: Path) -> None:
    path = data / "tfrecords-jpeg-8x8/val/00-8x8-1.tfrec"
    content = bytearray(path.read_bytes())
    for position in range(len(content)):
        content[position] ^= 0x10
        path.write_bytes(content)
        (fault,) = scan(data, None)[1]
        assert (fault.path, fault.offset, fault.record) == (path, 0, 0)
        content[position] ^= 0x10


def test_which_size(data: Path, tmp_path: Path) -> None:
    looked_for = "looked for tfrecords-jpeg-SxS/{train,val,test}/*.tfrec"
    with pytest.raises(
        UserError, match=f"^{re.escape(f'no TFRecords in {tmp_path}: {looked_for}; there are some in {data}')}$"
    ):
        load_index(tmp_path, None)
    with pytest.raises(UserError, match=r"tfrecords-jpeg-224x224/.*; the sizes there are 8 \(--size\)"):
        load_index(data, 224)
    shutil.copytree(data / "tfrecords-jpeg-8x8", data / "tfrecords-jpeg-32x32")
    with pytest.raises(UserError, match=f"^{re.escape(f'{data} holds the sizes 8, 32: choose one with --size')}$"):
        load_index(data, None)
    assert load_index(data, 32).size == 32


@pytest.fixture
def an_hour_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what was written now count as old: files of the same moment as the index are read again."""
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + 3600 * 10**9)


def reading_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Path) -> bytes:
        raise AssertionError(f"{path} is read")

    monkeypatch.setattr("corolla.data.index.map_file", read)


@pytest.mark.usefixtures("an_hour_later")
def test_the_cache_spares_reading(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [load_index(data, None, folder) for folder in (None, tmp_path / "kept")]
    reading_is_a_fault(monkeypatch)
    after = [load_index(data, None, folder) for folder in (None, tmp_path / "kept")]
    for first, second in zip(before, after, strict=True):
        assert second.fingerprint == first.fingerprint
        np.testing.assert_array_equal(second.splits["train"].offset, first.splits["train"].offset)
        assert second.splits["train"].id.tolist() == first.splits["train"].id.tolist()


def stamps(path: Path) -> tuple[int, int]:
    return path.stat().st_atime_ns, path.stat().st_mtime_ns


def rewrite_in_place(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def rewrite_with_the_old_time(path: Path, content: bytes) -> None:
    """As rsync -t and cp -p do."""
    times = stamps(path)
    path.write_bytes(content)
    os.utime(path, ns=times)


def replace_by_another_file(path: Path, content: bytes) -> None:
    times = stamps(path)
    other = path.with_name("other")
    other.write_bytes(content)
    os.utime(other, ns=times)
    other.replace(path)


REWRITES = [rewrite_in_place, rewrite_with_the_old_time, replace_by_another_file]


@pytest.mark.parametrize("rewrite", REWRITES)
@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("where", [None, "kept"])
def test_other_labels_or_ids_of_the_same_length_are_seen(
    data: Path,
    tmp_path: Path,
    rewrite: Callable[[Path, bytes], None],
    waits: bool,
    where: str | None,
    request: pytest.FixtureRequest,
) -> None:
    """Neither a name nor a size tells; without waiting not even the times do, where the clock is coarse."""
    if waits:
        request.getfixturevalue("an_hour_later")
    folder = tmp_path / where if where else None
    before = load_index(data, None, folder)
    for file, examples in (
        ("train/00-2", [flower(5, "a"), flower(0, "b")]),
        ("test/00-2", [flower(None, "g"), flower(None, "f")]),
    ):
        split, name = file.split("/")
        path = data / "tfrecords-jpeg-8x8" / split / f"{name.replace('-', '-8x8-', 1)}.tfrec"
        write_tfrecord(tmp_path / "new.tfrec", examples)
        content = (tmp_path / "new.tfrec").read_bytes()
        assert len(content) == path.stat().st_size
        rewrite(path, content)
    after = load_index(data, None, folder)
    assert after.splits["train"].label.tolist() == [5, 0, 2, 103]
    assert after.splits["test"].id.tolist() == ["g", "f"]
    assert {name for name in before.splits if after.fingerprint[name] == before.fingerprint[name]} == {"val"}


def test_files_as_young_as_the_index_are_read_again(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a tick of the clock a second write leaves size and times; git calls it "racily clean"."""
    load_index(data, None)
    reading_is_a_fault(monkeypatch)
    with pytest.raises(AssertionError, match="is read"):
        load_index(data, None)


@pytest.mark.usefixtures("an_hour_later")
def test_files_that_change_their_names_are_seen(data: Path) -> None:
    load_index(data, None)
    first, second = sorted((data / "tfrecords-jpeg-8x8/train").iterdir())
    write(data, "train/01-2", flower(2, "c"), flower(3, "d"))
    assert first.stat().st_size == second.stat().st_size
    first.rename(data / "aside")
    second.rename(first)
    (data / "aside").rename(second)
    assert load_index(data, None).splits["train"].id.tolist() == ["c", "d", "a", "b"]


@pytest.mark.usefixtures("an_hour_later")
def test_bytes_that_were_damaged_since_are_a_fault(data: Path) -> None:
    load_index(data, None)
    path = data / "tfrecords-jpeg-8x8/val/00-8x8-1.tfrec"
    path.write_bytes(path.read_bytes()[:-10] + bytes(10))
    assert len(faults(data)) == 1


@pytest.mark.usefixtures("an_hour_later")
def test_a_file_that_was_touched_is_read_once_more_and_no_further_time(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_index(data, None, tmp_path / "kept")
    os.utime(data / before.splits["val"].files[0])
    copied = shutil.copytree(data, tmp_path / "copied" / "data")
    for folder in (data, copied):
        assert load_index(folder, None, tmp_path / "kept").fingerprint == before.fingerprint
    reading_is_a_fault(monkeypatch)
    assert load_index(copied, None, tmp_path / "kept").fingerprint == before.fingerprint


@pytest.mark.usefixtures("an_hour_later")
def test_a_cache_without_times_is_made_again(data: Path, cache: Path) -> None:
    """Earlier versions kept names and sizes alone."""
    before = load_index(data, None)
    (path,) = cache.iterdir()
    with np.load(path) as kept:
        columns = {name: kept[name] for name in kept if name not in ("stamps", "read_at")}
    np.savez(path, **columns)
    write(data, "val/00-1", flower(5, "e"))
    assert load_index(data, None).splits["val"].label.tolist() == [5]
    assert load_index(data, None).fingerprint["train"] == before.fingerprint["train"]
    with np.load(path) as kept:
        assert "stamps" in kept


def test_the_cache_follows_the_folder(data: Path) -> None:
    load_index(data, None)
    path = write(data, "val/00-1", flower(0, "longer"))
    assert load_index(data, None).splits["val"].id.tolist() == ["longer"]
    write(data, "val/01-1", flower(0, "h"))
    assert load_index(data, None).splits["val"].id.tolist() == ["longer", "h"]
    path.unlink()
    assert load_index(data, None).splits["val"].id.tolist() == ["h"]
    (data / "classes.txt").write_text("one\n")
    with pytest.raises(RecordFault, match=r"outside 0\.\.0"):
        load_index(data, None)


@pytest.mark.usefixtures("an_hour_later")
def test_a_kept_index_holds_where_the_folder_moved(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_index(data, None, tmp_path / "kept")
    (tmp_path / "mount").mkdir()
    moved = data.rename(tmp_path / "mount" / "data")
    reading_is_a_fault(monkeypatch)
    after = load_index(moved, None, tmp_path / "kept")
    assert (after.folder, after.fingerprint) == (moved, before.fingerprint)


@pytest.mark.parametrize("damage", ["cut", "overwritten", "foreign", "flipped"])
def test_a_damaged_cache_is_made_again(data: Path, cache: Path, damage: str) -> None:
    before = load_index(data, None)
    (path,) = cache.iterdir()
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "overwritten":
        path.write_bytes(b"not an index")
    elif damage == "foreign":
        with path.open("wb") as file:
            np.savez(file, something=np.arange(3))
    else:
        position = content.index(before.splits["train"].offset.tobytes())
        path.write_bytes(content[:position] + b"\xff" + content[position + 1 :])
    after = load_index(data, None)
    assert after.splits["train"].offset.tolist() == before.splits["train"].offset.tolist()
    assert path.read_bytes()[:2] == content[:2]


def test_a_cache_that_cannot_be_written_stops_nothing(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    for _ in range(2):
        assert len(load_index(data, None, tmp_path / "file" / "index").splits["train"]) == 4
    message = f"the index is not kept, {tmp_path / 'file' / 'index'} can't be written: Not a directory"
    assert caplog.messages == [message]


def read_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse to write below a folder as a disk does that is mounted to be read: modes do not hold back a superuser."""
    opened = Path.open

    def open_to_read(path: Path, mode: str = "r", *args: Any, **how: Any) -> IO[Any]:
        if path.is_relative_to(folder) and set(mode) & set("wax+"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return opened(path, mode, *args, **how)

    def refuse(path: Path, *_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "open", open_to_read)
    monkeypatch.setattr(Path, "unlink", refuse)


@pytest.mark.usefixtures("an_hour_later")
@pytest.mark.parametrize("kind", ["of an earlier version", "of files that have changed since", "damaged", "of others"])
def test_an_index_that_does_not_hold_in_a_folder_that_is_only_read(
    kind: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on Kaggle, where an earlier notebook's output is mounted with its cache."""
    load_index(data, None, kept := tmp_path / "kept")
    (path,) = kept.iterdir()
    with np.load(path) as file:
        columns = dict(file)
    columns["train.label"] = np.full_like(columns["train.label"], 77)
    if kind == "of an earlier version":
        columns = {name: value for name, value in columns.items() if name not in ("stamps", "read_at")}
    if kind != "damaged":
        kept_columns: dict[str, Any] = columns if kind != "of others" else {"label": np.arange(4)}
        np.savez(path, **kept_columns)
    else:
        path.write_bytes(path.read_bytes()[:-30])
    write(data, "val/00-1", flower(5, "e"))  # as many bytes as before
    before = path.read_bytes()
    (kept / ".data-8.npz.12.tmp").touch()
    os.utime(kept / ".data-8.npz.12.tmp", (0, 0))
    read_only(kept, monkeypatch)
    for _ in range(2):
        index = load_index(data, None, kept)
        assert index.splits["train"].label.tolist() == [0, 1, 2, 103]
        assert index.splits["val"].label.tolist() == [5]
    assert caplog.messages == [f"the index is not kept, {kept} can't be written: Read-only file system"]
    assert path.read_bytes() == before


@pytest.mark.skipif(not FLOWERS.is_dir(), reason="no photos beside the repository")
def test_files_written_by_tensorflow() -> None:
    small, large = (load_index(FLOWERS / "oxford17", size) for size in (224, 512))
    assert {name: len(split) for name, split in small.splits.items()} == {"train": 680, "val": 340, "test": 340}
    for name, split in small.splits.items():
        assert sorted(split.id.tolist()) == sorted(large.splits[name].id.tolist())
        assert split.fingerprint != large.splits[name].fingerprint
    index = load_index(FLOWERS / "oxford102", None)
    assert {name: len(split) for name, split in index.splits.items()} == {"train": 4380, "val": 1283, "test": 2526}
    assert set(index.splits["train"].label.tolist()) <= set(range(len(index.class_names)))


@pytest.mark.skipif(not FLOWERS.is_dir() or not Path("/proc/self/status").exists(), reason="no photos, or no Linux")
def test_no_memory_of_its_own() -> None:
    def anonymous_kib() -> int:
        status = Path("/proc/self/status").read_text()
        return int(status.split("RssAnon:")[1].split()[0])

    scan(FLOWERS / "oxford17", 224)
    before = anonymous_kib()
    scan(FLOWERS / "oxford17", 512)  # 89 MB
    assert anonymous_kib() - before < 8192
