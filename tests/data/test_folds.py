"""Folds are a function of ids, labels and groups of near duplicates, and nothing else."""

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from support import textured, to_jpeg, write_data, write_photos

from corolla.audit.self_test import plant_faults
from corolla.config.fields import TrainConfig
from corolla.data.corrections import run_index
from corolla.data.folds import assign_folds, find_folds, read_folds, with_fold
from corolla.data.index import load_index
from corolla.errors import UserError

IDS = [f"photo{number}" for number in range(103)]
LABELS = [number * number % 7 for number in range(103)]
GROUPS = [["photo3", "photo50", "photo51"], ["photo7", "photo9"]]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of two classes, no two of which are alike."""
    splits = {"train": range(24), "val": range(24, 36), "test": range(36, 40)}
    jpegs = {name: [(to_jpeg(textured(seed)), seed % 2) for seed in seeds] for name, seeds in splits.items()}
    return write_photos(tmp_path_factory.mktemp("folds") / "data", jpegs)


def test_they_do_not_depend_on_the_order_of_photos_and_groups() -> None:
    found = assign_folds(IDS, LABELS, 5, GROUPS)
    order = list(range(len(IDS)))
    random.Random(1).shuffle(order)
    groups = [list(reversed(group)) for group in reversed(GROUPS)]
    again = assign_folds([IDS[i] for i in order], [LABELS[i] for i in order], 5, groups)
    assert again.sha256 == found.sha256
    assert (
        found.sha256 == "b9a23d93f00dbc1926657342e2c7cd89a9bd611ca9146b7c2c652dbd55d494f1"
    )  # of these very folds, whatever the versions of libraries


def test_each_class_and_all_photos_are_spread_evenly() -> None:
    found = assign_folds(IDS, LABELS, 5)
    totals = Counter(found.of.values())
    assert set(found.of) == set(IDS)
    assert max(totals.values()) - min(totals.values()) <= 1
    for label in set(LABELS):
        counts = Counter(found.of[name] for name, own in zip(IDS, LABELS, strict=True) if own == label)
        assert max(counts.values()) - min(counts[fold] for fold in range(1, 6)) <= 1


def test_a_group_is_in_one_fold_and_the_rest_makes_up_for_it() -> None:
    group = IDS[:15]
    found = assign_folds(IDS, [0] * len(IDS), 5, [group])
    assert len({found.of[name] for name in group}) == 1
    assert sorted(Counter(found.of.values()).values()) == [20, 20, 21, 21, 21]


def test_too_few_photos_are_refused() -> None:
    with pytest.raises(UserError, match="3 different photos are too few for 4 folds"):
        assign_folds(IDS[:5], LABELS[:5], 4, [IDS[:3]])


def test_copies_that_the_self_test_plants_are_in_the_fold_of_their_photos(photos: Path, tmp_path: Path) -> None:
    faults = plant_faults(photos, tmp_path / "planted", duplicates=15, wrong_labels=0)
    folds = find_folds(load_index(faults.folder), 3, tmp_path / "cache")
    pairs = [(a, b) for a, b in faults.copies.items() if a in folds.of and b in folds.of]
    assert len(pairs) > 8
    assert [folds.of[copy] for copy, _ in pairs] == [folds.of[source] for _, source in pairs]
    assert any(assign_folds([*folds.of], [0] * len(folds.of), 3).of[a] != folds.of[a] for a, _ in pairs)


def test_every_photo_is_validated_on_once(photos: Path, tmp_path: Path) -> None:
    index = load_index(photos)
    folds = find_folds(index, 3, tmp_path)
    whole = {str(name) for split in ("train", "val") for name in index.splits[split].id}
    vals = []
    for number in (1, 2, 3):
        own = with_fold(index, folds, f"{number}/3")
        train, val = (set(map(str, own.splits[name].id)) for name in ("train", "val"))
        assert train | val == whole
        assert not train & val
        assert own.splits["test"] is index.splits["test"]
        assert own.splits["val"].name == "val"
        vals += val
    assert sorted(vals) == sorted(whole)


def test_photos_keep_their_bytes_and_labels(photos: Path, tmp_path: Path) -> None:
    index = load_index(photos)
    labels = {
        str(name): int(label)
        for split in ("train", "val")
        for name, label in zip(index.splits[split].id, index.splits[split].label, strict=True)
    }
    own = run_index(index, TrainConfig(fold="2/3"), cache_dir=tmp_path)
    for split in (own.splits["train"], own.splits["val"]):
        assert [labels[str(name)] for name in split.id] == split.label.tolist()
        assert all(split.files[number].split("/")[1] in ("train", "val") for number in np.unique(split.file))


def test_all_sizes_of_a_folder_have_the_same_folds(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", size=32)
    small = find_folds(load_index(data, 32), 3, tmp_path / "first")
    other = write_data(tmp_path / "other", size=48)
    (other / "tfrecords-jpeg-48x48").rename(data / "tfrecords-jpeg-48x48")
    assert find_folds(load_index(data, 48), 3, tmp_path / "second") == small


def test_groups_are_kept_and_a_damaged_file_of_them_is_made_again(photos: Path, tmp_path: Path) -> None:
    index = load_index(photos, cache_dir=tmp_path)
    found = find_folds(index, 3, tmp_path)
    (kept,) = tmp_path.glob("duplicates-*.json")
    content = kept.read_bytes()
    kept.write_bytes(content.replace(b"groups", b"gr0ups"))
    assert find_folds(index, 3, tmp_path) == found
    assert kept.read_bytes() == content


def test_the_file_of_folds_is_read_again(tmp_path: Path) -> None:
    found = assign_folds(IDS, LABELS, 5, GROUPS)
    (tmp_path / "folds.json").write_bytes(found.content)
    assert read_folds(tmp_path / "folds.json") == found
    (tmp_path / "folds.json").write_text('{"folds": 5}')
    with pytest.raises(UserError, match=r"folds.json: of is missing"):
        read_folds(tmp_path / "folds.json")


def test_folds_of_other_photos_are_refused(photos: Path, tiny_data: Path, tmp_path: Path) -> None:
    folds = find_folds(load_index(photos), 3, tmp_path)
    with pytest.raises(UserError, match="has other photos in train and val than the folds were made of, such as"):
        with_fold(load_index(tiny_data), folds, "1/3")
