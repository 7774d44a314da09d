"""Photos kept ready: the same pixels whatever is kept, and no half of a file in use."""

import dataclasses
import errno
import multiprocessing
import os
import pickle
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Literal, get_args

import numpy as np
import pytest
import torch
from support import corolla_process, draw, write_data

from corolla.config import AugmentConfig, Config
from corolla.data.cache import Cache, use_cache
from corolla.data.dataset import TFRecordDataset
from corolla.data.decode import decode_photo
from corolla.data.index import load_index
from corolla.data.loader import Batch, load_batches
from corolla.data.sampler import EvalBatchSampler, TrainBatchSampler
from corolla.data.tfrecord import encode_example, write_tfrecord
from corolla.data.transforms.eval import EvalTransform
from corolla.data.transforms.train import TrainTransform
from corolla.errors import UserError
from corolla.files import locked
from corolla.training.train import train

CPU = torch.device("cpu")
AUGMENT = AugmentConfig(crop="random-resized", area=(0.3, 1.0), color=True)
EVAL = EvalTransform(24, crop_fraction=0.875)
TRAIN_PIXELS, VAL_PIXELS = 40 * 32 * 32 * 3, 16 * 32 * 32 * 3  # bytes of the tiny data


def two_sets(data: Path, bad_images: Literal["stop", "grey"] = "stop") -> tuple[TFRecordDataset, TFRecordDataset]:
    index = load_index(data, None)
    return (
        TFRecordDataset(index, "train", TrainTransform(AUGMENT, 24), bad_images=bad_images),
        TFRecordDataset(index, "val", EVAL, bad_images=bad_images),
    )


def batches(sets: tuple[TFRecordDataset, TFRecordDataset], workers: int = 0) -> list[Batch]:
    """Two epochs of training, and an evaluation."""
    training, evaluation = sets
    plan = TrainBatchSampler(len(training), 8, training.seed, 0, 10)
    return [
        *load_batches(training, plan, workers=workers, device=CPU),
        *load_batches(evaluation, EvalBatchSampler(len(evaluation), 6), workers=workers, device=CPU),
    ]


def same(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a, b) for one, two in zip(first, second, strict=True) for a, b in zip(one, two, strict=True)
    )


def right(photos: TFRecordDataset) -> bool:
    """The pixels are ready, and those of the JPEGs."""
    assert photos.decoded is not None
    expected = [decode_photo(photos.jpeg(i)).copy() for i in range(len(photos))]
    return all(np.array_equal(photos.image(i), image) for i, image in enumerate(expected))


def kept(folder: Path) -> list[str]:
    """Return the suffixes of the files that are there."""
    return sorted(path.suffix for path in (folder / "decoded").iterdir())


def write_train(folder: Path, jpegs: list[bytes]) -> Path:
    """The tiny data, with other training photos."""
    data = write_data(folder)
    inside = data / "tfrecords-jpeg-32x32" / "train"
    for file in inside.iterdir():
        file.unlink()
    examples = [encode_example(image=jpeg, label=i % 5, id=f"{i:09x}") for i, jpeg in enumerate(jpegs)]
    write_tfrecord(inside / f"00-32x32-{len(jpegs)}.tfrec", examples)
    return data


@pytest.fixture(scope="module")
def unlike_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of many sizes."""
    jpegs = [draw(i % 5, i, 20 + 3 * (i % 11)) for i in range(40)]
    return write_train(tmp_path_factory.mktemp("unlike") / "data", jpegs)


@pytest.mark.parametrize("choice", get_args(Cache))
def test_pixels_do_not_depend_on_the_cache(choice: Cache, unlike_data: Path, tmp_path: Path) -> None:
    uncached, cached = two_sets(unlike_data), two_sets(unlike_data)
    expected = "decoded" if choice in ("auto", "device") else choice  # device: of val, and what is not on it
    assert use_cache(cached, choice, tmp_path).startswith(f"cache: {expected}")
    assert [photos.decoded is not None for photos in cached] == [expected == "decoded"] * 2
    assert same(batches(cached), batches(uncached))
    assert all(np.array_equal(a[i].image, b[i].image) for a, b in zip(cached, uncached, strict=True) for i in range(16))


@pytest.mark.parametrize("choice", ["decoded", "encoded"])
def test_workers_see_it_too(choice: Cache, unlike_data: Path, tmp_path: Path) -> None:
    cached = two_sets(unlike_data)
    use_cache(cached, choice, tmp_path)
    assert same(batches(cached, workers=2), batches(two_sets(unlike_data)))


@pytest.mark.parametrize("bits", [1, 8 * 4096])
def test_damaged_pixels_are_not_used(
    bits: int, unlike_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    use_cache(two_sets(unlike_data), "decoded", tmp_path)
    expected = batches(two_sets(unlike_data))
    for path in tmp_path.glob("decoded/*.pixels"):
        content = bytearray(path.read_bytes())
        start = len(content) // 2
        end = start + max(1, bits // 8)
        content[start:end] = bytes(byte ^ (1 if bits == 1 else 255) for byte in content[start:end])
        path.write_bytes(content)
    damaged = two_sets(unlike_data)
    assert "built" not in use_cache(damaged, "decoded", tmp_path)
    assert same(batches(damaged), expected)
    assert all(right(photos) for photos in damaged)
    assert [message.partition(": ")[2].partition(";")[0] for message in caplog.messages] == ["is damaged"] * 2


@pytest.mark.parametrize("name", ["crc", "height", "good"])
def test_a_table_without_checksums_or_with_damage_is_made_again(name: str, tiny_data: Path, tmp_path: Path) -> None:
    """Earlier versions kept none."""
    use_cache(two_sets(tiny_data), "decoded", tmp_path)
    for path in tmp_path.glob("decoded/*.npz"):
        if name == "crc":
            with np.load(path) as table:
                columns = {key: table[key] for key in table if key != "crc"}
            np.savez(path, **columns)
        else:
            content = bytearray(path.read_bytes())
            content[content.index(f"{name}.npy".encode()) + 200] ^= 1
            path.write_bytes(content)
    sets = two_sets(tiny_data)
    assert "built" in use_cache(sets, "decoded", tmp_path)
    assert all(right(photos) for photos in sets)
    assert "built" not in use_cache(two_sets(tiny_data), "decoded", tmp_path)


def test_encoded_needs_no_file_any_more(tmp_path: Path) -> None:
    photos = two_sets(write_data(tmp_path / "data"))
    expected = batches(photos)
    use_cache(photos, "encoded", tmp_path / "cache")
    (tmp_path / "data").rename(tmp_path / "gone")
    assert same(batches(photos), expected)


def test_a_pickled_data_set_maps_it_again(tiny_data: Path, tmp_path: Path) -> None:
    photos = two_sets(tiny_data)
    use_cache(photos, "decoded", tmp_path)
    expected = batches(photos)
    copies = pickle.loads(pickle.dumps(photos))
    assert len(pickle.dumps(photos[0].decoded)) < 10_000
    assert same(batches(copies), expected)


def test_it_is_built_once(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = use_cache(two_sets(tiny_data), "decoded", tmp_path)
    assert ", built in " in first
    assert str(tmp_path / "decoded") in first
    assert kept(tmp_path).count(".pixels") == kept(tmp_path).count(".npz") == 2
    monkeypatch.setattr("corolla.data.cache.decode_photo", None)
    again = two_sets(tiny_data)
    assert use_cache(again, "decoded", tmp_path) == first.partition(", built")[0]
    assert all(map(right, again))


def test_writing_to_a_photo_leaves_the_file_alone(tiny_data: Path, tmp_path: Path) -> None:
    photos, _ = two_sets(tiny_data)
    use_cache([photos], "decoded", tmp_path)
    assert photos.decoded is not None
    photos.image(0)[...] = 7
    image = photos.decoded[1]
    assert image is not None
    image[...] = 7
    other, _ = two_sets(tiny_data)
    use_cache([other], "decoded", tmp_path)
    assert right(other)


def test_what_differs_is_kept_apart(tiny_data: Path, tmp_path: Path) -> None:
    other = write_data(tmp_path / "other", train=41)
    for data in (tiny_data, other):
        for photos in two_sets(data):
            use_cache([photos], "decoded", tmp_path)
            assert right(photos)
    assert kept(tmp_path).count(".pixels") == 3  # val is the same in both


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        (".pixels", cut),
        (".pixels", Path.unlink),
        (".pixels", lambda path: path.write_bytes(path.read_bytes() + b"0")),
        (".npz", cut),
        (".npz", flip),
        (".npz", Path.unlink),
        (".npz", lambda path: path.write_bytes(b"")),
        (".npz", lambda path: np.savez(path, height=np.ones(3, np.int64), width=np.ones(3, np.int64))),
        (".npz", lambda path: np.savez(path, something=np.ones(3))),
    ],
)
def test_what_is_damaged_is_made_again(
    suffix: str, damage: Callable[[Path], object], tiny_data: Path, tmp_path: Path
) -> None:
    use_cache([two_sets(tiny_data)[0]], "decoded", tmp_path)
    (path,) = (tmp_path / "decoded").glob(f"*{suffix}")
    damage(path)
    photos, _ = two_sets(tiny_data)
    assert ", built in " in use_cache([photos], "decoded", tmp_path)
    assert right(photos)
    assert kept(tmp_path) == [".lock", ".npz", ".pixels"]


BUILD = """
import itertools, sys, threading
from pathlib import Path
from corolla.data import cache
from corolla.data.dataset import TFRecordDataset
from corolla.data.index import load_index

decode, decoded, asked = cache.decode_photo, itertools.count(1), itertools.count()

def counting(*args):
    if next(decoded) == int(sys.argv[3]):
        print("half\\n", end="", flush=True)
        threading.Event().wait()
    return decode(*args)

def stopped():
    if next(asked) == 0:
        print("waiting\\n", end="", flush=True)
    return False

cache.decode_photo = counting
photos = TFRecordDataset(load_index(Path(sys.argv[1]), None), "train")
line = cache.use_cache([photos], "decoded", Path(sys.argv[2]), stopped=stopped)
print(line.split(",")[0], next(decoded) - 1)
"""


def test_two_processes_build_one_file(tiny_data: Path, tmp_path: Path) -> None:
    """Both find nothing and come to the lock, which is held until they have; then one decodes all photos."""
    use_cache([two_sets(tiny_data)[0]], "decoded", tmp_path)
    (lock,) = (tmp_path / "decoded").glob("*.lock")
    for path in set((tmp_path / "decoded").iterdir()) - {lock}:
        path.unlink()
    command = [sys.executable, "-c", BUILD, str(tiny_data), str(tmp_path), "0"]
    with ExitStack() as stack:
        with locked(lock):
            builders = [stack.enter_context(corolla_process(command)) for _ in range(2)]
            for builder in builders:
                assert builder.stdout is not None
                assert builder.stdout.readline() == "waiting\n"
        outputs = [builder.communicate(timeout=60)[0] for builder in builders]
    assert sorted(outputs) == ["cache: decoded 0\n", "cache: decoded 40\n"]
    assert kept(tmp_path) == [".lock", ".npz", ".pixels"]
    photos, _ = two_sets(tiny_data)
    assert ", built in " not in use_cache([photos], "decoded", tmp_path)
    assert right(photos)


def test_a_killed_builder_leaves_nothing_in_use(tiny_data: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", BUILD, str(tiny_data), str(tmp_path), "20"]
    with corolla_process(command) as builder:
        assert builder.stdout is not None
        assert {builder.stdout.readline() for _ in range(2)} == {"waiting\n", "half\n"}  # of two threads
        builder.kill()
    assert kept(tmp_path) == [".lock", ".tmp"]
    photos, _ = two_sets(tiny_data)
    assert ", built in " in use_cache([photos], "decoded", tmp_path)
    assert right(photos)
    assert kept(tmp_path) == [".lock", ".npz", ".pixels"]


def with_memory(monkeypatch: pytest.MonkeyPatch, num_bytes: int) -> None:
    monkeypatch.setattr("corolla.data.cache.free_memory_bytes", lambda: num_bytes)


def refused(photos: tuple[TFRecordDataset, TFRecordDataset], cache: Path) -> str:
    """Return the line with which "decoded" is refused."""
    with pytest.raises(UserError, match=r"--pipeline\.cache decoded: ") as caught:
        use_cache(photos, "decoded", cache)
    assert len(str(caught.value).splitlines()) == 1
    assert [each.decoded for each in photos] == [None, None]
    return str(caught.value)


def test_half_of_the_memory_may_be_used(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = two_sets(tiny_data)
    with_memory(monkeypatch, 2 * (TRAIN_PIXELS + VAL_PIXELS) - 1)
    assert "of memory are free and half of it may be used" in refused(photos, tmp_path)
    assert not (tmp_path / "decoded").exists()
    with_memory(monkeypatch, 2 * (TRAIN_PIXELS + VAL_PIXELS))
    assert use_cache(photos, "decoded", tmp_path).startswith("cache: decoded")
    with_memory(monkeypatch, 2 * (TRAIN_PIXELS + VAL_PIXELS) - 1)
    assert "of memory are free" in refused(two_sets(tiny_data), tmp_path)  # what is on the disk needs memory as well


def test_auto_takes_what_fits(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = two_sets(tiny_data)
    size = sum((tiny_data / name).stat().st_size for each in photos for name in each.maps.files)
    assert size < TRAIN_PIXELS + VAL_PIXELS
    for free, choice in ((2 * size, "encoded"), (2 * size - 2, "off"), (0, "off")):
        with_memory(monkeypatch, free)
        photos = two_sets(tiny_data)
        line = use_cache(photos, "auto", tmp_path)
        assert line.startswith(f"cache: {choice}")
        assert "(decoded does not fit: " in line
        assert "of memory are free" in line
        assert same(batches(photos), batches(two_sets(tiny_data)))
    assert use_cache(two_sets(tiny_data), "encoded", tmp_path).startswith("cache: encoded")  # asked for by name


def test_a_full_disk(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 2**30 + TRAIN_PIXELS + VAL_PIXELS
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=free - 1))
    assert "free on the disk of" in refused(two_sets(tiny_data), tmp_path)
    line = use_cache(two_sets(tiny_data), "auto", tmp_path)
    assert line.startswith("cache: encoded")
    assert "free on the disk of" in line
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=free))
    assert use_cache(two_sets(tiny_data), "auto", tmp_path).startswith("cache: decoded")
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=0))
    assert use_cache(two_sets(tiny_data), "decoded", tmp_path).startswith("cache: decoded")  # it is there already


def no_space(*args: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_others_fill(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.posix_fallocate", no_space)
    assert "cannot be written: No space left on device" in refused(two_sets(tiny_data), tmp_path)
    photos = two_sets(tiny_data)
    assert use_cache(photos, "auto", tmp_path).startswith("cache: encoded")
    assert same(batches(photos), batches(two_sets(tiny_data)))
    assert kept(tmp_path) == [".lock"]


def test_a_folder_that_cannot_be_made(tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("where a folder should be")
    cache = tmp_path / "file" / "cache"
    assert "cannot be written: Not a directory" in refused(two_sets(tiny_data), cache)
    line = use_cache(two_sets(tiny_data), "auto", cache)
    assert line.startswith("cache: encoded")
    assert "cannot be written" in line


def test_a_folder_in_which_nothing_can_be_made(tiny_data: Path, tmp_path: Path) -> None:
    """As in a read-only one that is there: the lock's file, the first, cannot be opened."""
    use_cache(two_sets(tiny_data), "decoded", tmp_path)
    for path in (tmp_path / "decoded").iterdir():
        path.unlink()
        if path.suffix == ".lock":
            path.mkdir()
    assert "cannot be written" in refused(two_sets(tiny_data), tmp_path)
    assert use_cache(two_sets(tiny_data), "auto", tmp_path).startswith("cache: encoded")


def test_pixels_of_an_earlier_version_in_a_folder_that_is_only_read(tiny_data: Path, tmp_path: Path) -> None:
    """Without checksums: they are not taken, and what can't be made anew there is decoded from its JPEG."""
    use_cache(two_sets(tiny_data), "decoded", tmp_path)
    for path in (tmp_path / "decoded").iterdir():
        if path.suffix == ".npz":
            with np.load(path) as file:
                columns = {name: file[name] for name in file if name != "crc"}
            np.savez(path, **columns)
        elif path.suffix == ".pixels":
            path.write_bytes(bytes(path.stat().st_size))
        else:
            path.unlink()
            path.mkdir()  # so that it can't be opened
    photos = two_sets(tiny_data)
    assert "cannot be written" in use_cache(photos, "auto", tmp_path)
    assert same(batches(photos), batches(two_sets(tiny_data)))


@pytest.fixture(params=[150, -40], ids=["no header", "cut pixels"])
def cut_data(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The data folder, whose training photo 3 is cut short."""
    jpegs = [draw(i % 5, i, 32) for i in range(40)]
    jpegs[3] = jpegs[3][: request.param]
    return write_train(tmp_path / "data", jpegs)


@pytest.mark.parametrize("choice", ["decoded", "encoded"])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_jpeg_stops_the_work_still(choice: Cache, workers: int, cut_data: Path, tmp_path: Path) -> None:
    photos = two_sets(cut_data)
    before = set(multiprocessing.active_children())
    assert use_cache(photos, choice, tmp_path).startswith(f"cache: {choice}")
    with pytest.raises(UserError, match=r"00-32x32-40\.tfrec:\d+ record 3: JPEG does not decode: ") as caught:
        batches(photos, workers)
    assert len(str(caught.value).splitlines()) == 1
    # No worker lives on, though an error is kept with its traceback, as a notebook keeps it.
    assert set(multiprocessing.active_children()) == before


def test_a_bad_jpeg_is_grey_still(cut_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    grey = two_sets(cut_data, bad_images="grey")
    expected = batches(two_sets(cut_data, bad_images="grey"))
    assert use_cache(grey, "decoded", tmp_path).startswith("cache: decoded")
    caplog.clear()
    assert same(batches(grey), expected)
    assert "record 3: JPEG does not decode" in caplog.text
    assert (grey[0].image(3) == 128).all()
    assert not (grey[0].image(2) == 128).all()


def test_what_was_built_with_grey_hides_no_fault(cut_data: Path, tmp_path: Path) -> None:
    built = use_cache(two_sets(cut_data, bad_images="grey"), "decoded", tmp_path)
    strict = two_sets(cut_data)
    assert use_cache(strict, "decoded", tmp_path) == built.partition(", built in ")[0]
    with pytest.raises(UserError, match="record 3: JPEG does not decode: "):
        batches(strict)


def test_no_photo_is_good(tmp_path: Path) -> None:
    """There is nothing to keep then, which is no fault of the cache."""
    data = write_train(tmp_path / "data", [b"no jpeg"] * 8)
    photos = TFRecordDataset(load_index(data, None), "train", bad_images="grey")
    assert use_cache([photos], "auto", tmp_path / "cache").startswith("cache: ")
    assert (photos.image(5) == 128).all()


@pytest.mark.parametrize("after", [0, 1, 20])
def test_a_stop_ends_the_building(after: int, tiny_data: Path, tmp_path: Path) -> None:
    asked = iter(range(10**6))
    photos = two_sets(tiny_data)
    line = use_cache(photos, "decoded", tmp_path, stopped=lambda: next(asked) >= after)
    assert line.startswith("cache: off (stopped")
    assert [each.decoded for each in photos] == [None, None]
    assert set(kept(tmp_path)) == {".lock"}
    assert ", built in " in use_cache(photos, "decoded", tmp_path)
    assert all(map(right, photos))


def test_a_run_does_not_depend_on_it(tiny_config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "corolla")
    contents = []
    for choice in ("decoded", "off"):
        pipeline = dataclasses.replace(tiny_config.pipeline, cache=choice)
        augment = dataclasses.replace(tiny_config.augment, flip=True, color=True)
        config = dataclasses.replace(tiny_config, cache_dir=tmp_path / "index", pipeline=pipeline, augment=augment)
        run = train(config, experiment=choice)
        assert f"cache: {choice}" in caplog.text
        contents.append((run.folder / "metrics.jsonl").read_bytes())
    assert contents[0] == contents[1]
