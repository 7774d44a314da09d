"""Colour statistics against numpy over all decoded pixels, counts per class, and the cache."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support import break_first_jpeg, draw, write_data

from corolla.data.dataset import TFRecordDataset
from corolla.data.decode import decode_jpeg
from corolla.data.index import load_index
from corolla.data.statistics import data_statistics, stats
from corolla.data.tfrecord import encode_example, write_tfrecord
from corolla.errors import UserError


def pixels(data: Path, splits: Sequence[str], size: int | None = None) -> NDArray[np.float64]:
    """All pixels in [0, 1], N x 3."""
    index = load_index(data, size)
    sets = [TFRecordDataset(index, split) for split in splits]
    images = [photos.image(i).reshape(-1, 3) for photos in sets for i in range(len(photos))]
    return np.concatenate(images) / 255


def fail(*_: object, **__: object) -> None:
    raise AssertionError("decoded again")


@pytest.mark.parametrize("splits", [("train",), ("train", "val")])
def test_the_statistics_are_numpys(splits: tuple[str, ...], tiny_data: Path, tmp_path: Path) -> None:
    found = stats(tiny_data, splits=splits, cache_dir=tmp_path)
    values = pixels(tiny_data, splits)
    color = found.color
    assert found.splits == splits
    assert color.mean == pytest.approx(values.mean(0), abs=1e-12)
    assert color.std == pytest.approx(values.std(0), abs=1e-12)
    vectors, eigenvalues = np.array(color.eigenvectors), np.array(color.eigenvalues)
    assert vectors @ np.diag(eigenvalues) @ vectors.T == pytest.approx(np.cov(values.T, bias=True), abs=1e-12)
    assert vectors.T @ vectors == pytest.approx(np.eye(3), abs=1e-12)
    assert (np.diff(eigenvalues) <= 0).all()
    assert (vectors.sum(0) >= 0).all()


def test_counts_and_sizes(tiny_data: Path) -> None:
    found = stats(tiny_data, splits=("train", "val"))
    assert found.size == 32
    assert found.class_counts == {"train": [8] * 5, "val": [4, 3, 3, 3, 3]}  # test is not labelled
    assert found.class_names == tuple(f"kind {n}" for n in range(5))
    assert found.image_sizes == {"32x32": 56}


def test_the_cache_spares_decoding(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = stats(tiny_data, cache_dir=tmp_path)
    monkeypatch.setattr("corolla.data.dataset.decode_photo", fail)
    assert stats(tiny_data, cache_dir=tmp_path) == first
    with pytest.raises(AssertionError, match="decoded again"):
        stats(tiny_data, splits=("val",), cache_dir=tmp_path)


def test_other_data_in_the_same_place_is_counted_anew(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = stats(write_data(tmp_path / "data", train=20), cache_dir=cache)
    (tmp_path / "data").rename(tmp_path / "moved")
    other = write_data(tmp_path / "data", train=30)
    assert stats(other, cache_dir=cache).color != first.color
    assert stats(other, cache_dir=cache).color.mean == pytest.approx(pixels(other, ["train"]).mean(0), abs=1e-12)
    assert stats(tmp_path / "moved", cache_dir=cache).color == first.color


def test_a_damaged_cache_is_made_again(tiny_data: Path, tmp_path: Path) -> None:
    first = stats(tiny_data, cache_dir=tmp_path)
    (kept,) = tmp_path.glob("statistics-*.json")
    whole = kept.read_bytes()
    for content in (b"", whole[:100], b"[]", b'{"color": {}}', json.dumps({"color": None, "image_sizes": 3}).encode()):
        kept.write_bytes(content)
        assert stats(tiny_data, cache_dir=tmp_path) == first
        assert kept.read_bytes() == whole


def test_a_flipped_bit_in_the_cache_gives_no_other_statistics(tiny_data: Path, tmp_path: Path) -> None:
    first = stats(tiny_data, cache_dir=tmp_path)
    (kept,) = tmp_path.glob("statistics-*.json")
    whole = kept.read_bytes()
    for position in range(0, len(whole), 7):
        content = bytearray(whole)
        content[position] ^= 1  # of a digit it makes another one
        kept.write_bytes(content)
        assert stats(tiny_data, cache_dir=tmp_path) == first
        assert kept.read_bytes() == whole


def test_labels_of_the_same_length_are_counted_anew(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", train=12)
    assert stats(data, cache_dir=tmp_path).class_counts["train"] == [3, 3, 2, 2, 2]
    path = data / "tfrecords-jpeg-32x32/train/00-32x32-6.tfrec"
    size = path.stat().st_size
    records = [
        encode_example(image=draw(i % 5, i, 32), label=(2, 2, *range(2, 5), 0)[i], id=f"{i:09x}") for i in range(6)
    ]
    write_tfrecord(path, records)
    assert path.stat().st_size == size
    assert stats(data, cache_dir=tmp_path).class_counts["train"] == [2, 2, 4, 2, 2]


def test_a_cache_that_cannot_be_written_is_done_without(tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("where a folder should be")
    assert stats(tiny_data, cache_dir=tmp_path / "file") == stats(tiny_data)


def test_a_split_that_is_not_there_is_named_whatever_is_cached(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", train=10)
    stats(data)
    (data / "tfrecords-jpeg-32x32" / "val").rename(tmp_path / "val")
    stats(data)
    with pytest.raises(UserError, match=r"val: no \.tfrec files"):
        stats(data, splits=("train", "val"))
    with pytest.raises(UserError, match="name at least one split"):
        stats(data, splits=())


def test_a_bad_jpeg_stops_with_one_line(tmp_path: Path) -> None:
    data, line = break_first_jpeg(tmp_path / "data")
    with pytest.raises(UserError) as caught:
        stats(data, cache_dir=tmp_path / "cache")
    assert str(caught.value).startswith(line)
    assert len(str(caught.value).splitlines()) == 1
    assert not list((tmp_path / "cache").glob("statistics-*"))


def test_a_bad_jpeg_may_count_as_grey(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data, line = break_first_jpeg(tmp_path / "data")
    found = data_statistics(load_index(data, None), ("train",), cache_dir=tmp_path / "cache", bad_images="grey")
    photos = TFRecordDataset(load_index(data, None), "train", bad_images="grey")
    values = np.concatenate([photos.image(i).reshape(-1, 3) for i in range(len(photos))]) / 255
    assert found.color.mean == pytest.approx(values.mean(0), abs=1e-12)
    assert line in caplog.text
    with pytest.raises(UserError, match="does not decode"):
        stats(data, cache_dir=tmp_path / "cache")


def test_real_photos(real_photos: Path) -> None:
    data = real_photos / "oxford17"
    found = stats(data, size=224)
    assert found.size == 224
    assert sum(found.class_counts["train"]) == sum(found.image_sizes.values()) == 680
    assert found.image_sizes == {"224x224": 680}
    photos = TFRecordDataset(load_index(data, 224), "train")
    some = np.concatenate([decode_jpeg(photos.jpeg(i)).reshape(-1, 3) for i in range(0, 680, 17)]) / 255
    assert found.color.mean == pytest.approx(some.mean(0), abs=0.05)
    assert found.color.std == pytest.approx(some.std(0), abs=0.05)
    assert found.color.eigenvalues[0] > 5 * found.color.eigenvalues[2]  # most of the variance is brightness
