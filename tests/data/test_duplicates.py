"""Duplicates are found, whatever was done to the copy, and nothing else is taken for one."""

from pathlib import Path

import numpy as np
import pytest
from support import textured, to_jpeg, write_photos

from corolla.audit.self_test import KINDS, alter
from corolla.data.duplicates import find_pairs, within_radius
from corolla.data.index import load_index
from corolla.data.survey import Survey, survey


def surveyed(folder: Path) -> Survey:
    return survey(load_index(folder, None), ("train", "val", "test"))


def test_exact_duplicates_across_splits_and_labels(tmp_path: Path) -> None:
    first, second = to_jpeg(textured(1)), to_jpeg(textured(2))
    splits = {"train": [(first, 0), (second, 1), (first, 1)], "val": [(to_jpeg(textured(3)), 0), (second + b"", 1)]}
    pairs = find_pairs(surveyed(write_photos(tmp_path, splits)))
    found = {(pair.first, pair.second, pair.kind, pair.cross_split, pair.label_conflict) for pair in pairs}
    assert found == {(0, 2, "same file", False, True), (1, 4, "same file", True, False)}
    assert [pair.group for pair in pairs] == [0, 1]


def test_equal_pixels_in_unequal_files(tmp_path: Path) -> None:
    stored = to_jpeg(textured(1))
    commented = stored[:2] + b"\xff\xfe\x00\x05abc" + stored[2:]  # a JPEG comment
    pairs = find_pairs(surveyed(write_photos(tmp_path, {"train": [(stored, 0), (commented, 0)]})))
    assert [pair.kind for pair in pairs] == ["same pixels"]


@pytest.mark.parametrize("kind", KINDS)
def test_near_duplicates(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    originals = [textured(seed) for seed in range(12)]
    copies = [alter(image, kind, rng) for image in originals[:6]]
    train = [(to_jpeg(image), 0) for image in originals]
    test = [(to_jpeg(image, quality=75), -1) for image in copies]
    pairs = find_pairs(surveyed(write_photos(tmp_path, {"train": train, "test": test})))
    assert {(pair.first, pair.second) for pair in pairs} <= {(i, 12 + i) for i in range(6)}
    assert len(pairs) >= 5
    assert all(pair.cross_split and pair.mirrored == ("mirror" in kind) for pair in pairs)


def test_within_radius_agrees_with_counting_one_by_one() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 16, 700).astype(np.uint64)
    mirrored = rng.integers(0, 1 << 20, 700).astype(np.uint64)
    first, second, flips = within_radius(hashes, mirrored, 1)
    expected = {
        (a, b, flip)
        for flip, left in ((False, hashes), (True, mirrored))
        for a in range(700)
        for b in range(a + 1, 700)
        if bin(int(left[a]) ^ int(hashes[b])).count("1") <= 1
    }
    assert set(zip(first.tolist(), second.tolist(), flips.tolist(), strict=True)) == expected
