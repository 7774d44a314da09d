"""The audit finds what was planted: copies, wrong labels, odd photos, imbalance; and shows it without harm."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support import draw, write_data

from corolla.audit.audit import COLUMNS, Audit, audit
from corolla.audit.confident import confident_joint, find_suspects, thresholds
from corolla.audit.html import MOST
from corolla.audit.label_errors import LabelSuspect, Source
from corolla.audit.outliers import balance, find_odd
from corolla.audit.self_test import KINDS, alter, plant, recall_and_precision, standing_pairs
from corolla.data.duplicates import Pair, find_pairs, within_radius
from corolla.data.index import load_index
from corolla.data.survey import Survey, survey
from corolla.data.tfrecord import encode_example, write_tfrecord
from corolla.errors import UserError

SPLITS = ("train", "val", "test")


def blobs(seed: int, size: int = 64) -> np.ndarray:
    """A photo with structure at all scales, so that no two are alike."""
    rng = np.random.default_rng(seed)
    image = np.zeros((size, size, 3), np.float32)
    for cells in (3, 6, 12):
        image += cv2.resize(rng.uniform(0, 80, (cells, cells, 3)).astype(np.float32), (size, size))
    return np.clip(image, 0, 255).astype(np.uint8)


def jpeg(image: np.ndarray, quality: int = 95) -> bytes:
    return simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=quality, colorspace="RGB")


def folder_of(root: Path, splits: dict[str, list[tuple[bytes, int]]], names: str = "rose\ntulip\n") -> Path:
    for split, photos in splits.items():
        inside = root / "tfrecords-jpeg-64x64" / split
        inside.mkdir(parents=True)
        examples = [
            encode_example(image=image, label=None if label < 0 else label, id=f"{split}{number}")
            for number, (image, label) in enumerate(photos)
        ]
        write_tfrecord(inside / f"00-64x64-{len(photos)}.tfrec", examples)
    (root / "classes.txt").write_text(names)
    return root


def surveyed(root: Path) -> Survey:
    return survey(load_index(root, None), SPLITS)


def bare(photos: Survey, pairs: list[Pair], suspects: list[LabelSuspect]) -> Audit:
    return Audit(photos, pairs, suspects, Source("a test", len(photos), 1.0), find_odd(photos), balance(photos))


def test_exact_duplicates_across_splits_and_labels(tmp_path: Path) -> None:
    first, second = jpeg(blobs(1)), jpeg(blobs(2))
    splits = {"train": [(first, 0), (second, 1), (first, 1)], "val": [(jpeg(blobs(3)), 0), (second + b"", 1)]}
    pairs = find_pairs(surveyed(folder_of(tmp_path, splits)))
    found = {(pair.first, pair.second, pair.kind, pair.across, pair.conflict) for pair in pairs}
    assert found == {(0, 2, "same file", False, True), (1, 4, "same file", True, False)}
    assert [pair.group for pair in pairs] == [0, 1]


def test_equal_pixels_in_unequal_files(tmp_path: Path) -> None:
    stored = jpeg(blobs(1))
    commented = stored[:2] + b"\xff\xfe\x00\x05abc" + stored[2:]  # a JPEG comment
    pairs = find_pairs(surveyed(folder_of(tmp_path, {"train": [(stored, 0), (commented, 0)]})))
    assert [pair.kind for pair in pairs] == ["same pixels"]


@pytest.mark.parametrize("kind", KINDS)
def test_near_duplicates(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    originals = [blobs(seed) for seed in range(12)]
    copies = [alter(image, kind, rng) for image in originals[:6]]
    train, test = (
        [(jpeg(image, quality), 0) for image in images] for images, quality in ((originals, 95), (copies, 75))
    )
    photos = surveyed(folder_of(tmp_path, {"train": train, "test": [(image, -1) for image, _ in test]}))
    pairs = find_pairs(photos)
    assert {(pair.first, pair.second) for pair in pairs} <= {(i, 12 + i) for i in range(6)}
    assert len(pairs) >= 5
    assert all(pair.across and pair.mirrored == ("mirror" in kind) for pair in pairs)


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


def test_confident_joint_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.4, 0.6], [0.1, 0.9], [0.7, 0.3]])
    labels = np.array([0, 0, 0, 1, 1, 1])
    # Means of the own class: (0.9 + 0.7 + 0.2) / 3 = 0.6 and (0.6 + 0.9 + 0.3) / 3 = 0.6.
    assert thresholds(probabilities, labels) == pytest.approx([0.6, 0.6])
    # 0.6 of row 3 meets class 1's threshold only up to rounding, so it is put clear of it.
    probabilities[3] = 0.38, 0.62
    joint = confident_joint(probabilities, labels)
    assert joint.tolist() == [[2, 1], [1, 2]]
    suspects = find_suspects(probabilities, labels)
    assert [(one.row, one.suggested) for one in suspects] == [(2, 1), (5, 0)]
    assert [one.margin for one in suspects] == pytest.approx([-0.6, -0.4])


@settings(max_examples=50)
@given(arrays(np.float64, (30, 4), elements=st.floats(0.01, 1)), arrays(np.int64, 30, elements=st.integers(0, 3)))
def test_confident_learning_on_any_probabilities(weights: np.ndarray, labels: np.ndarray) -> None:
    probabilities = weights / weights.sum(1, keepdims=True)
    joint, suspects = confident_joint(probabilities, labels), find_suspects(probabilities, labels)
    assert (joint >= 0).all()
    assert (joint.sum(1) <= np.bincount(labels, minlength=4)).all()
    assert len(suspects) == joint.sum() - np.trace(joint)
    assert all(one.suggested != one.label == labels[one.row] for one in suspects)
    assert [one.margin for one in suspects] == sorted(one.margin for one in suspects)
    assert all(-1 <= one.margin <= 1 for one in suspects)


def test_a_class_without_photos_is_never_suggested() -> None:
    probabilities = np.array([[0.1, 0.2, 0.7], [0.3, 0.2, 0.5]])
    assert confident_joint(probabilities, np.array([0, 1]))[:, 2].sum() == 0


def test_odd_photos_and_imbalance(tmp_path: Path) -> None:
    grey = np.repeat(blobs(1)[:, :, :1], 3, 2)
    odd = [blobs(2)[:40], cv2.resize(blobs(3), (24, 24)), grey, np.full((64, 64, 3), 5, np.uint8)]
    train = [(jpeg(blobs(9)), 0), *((jpeg(np.asarray(image)), 0) for image in odd), (jpeg(blobs(8)), 1)]
    photos = surveyed(folder_of(tmp_path, {"train": train, "val": [(jpeg(blobs(7)), 1)]}))
    reasons = {odd.photo: odd.reasons for odd in find_odd(photos)}
    expected = {1: ("not square",), 2: ("tiny",), 3: ("grey",), 4: ("nearly constant", "very dark")}
    assert reasons == expected
    found = balance(photos)
    assert found.ratio == 5
    assert found.few == [0, 1]
    assert found.val_shares.tolist() == [0, 0.5]
    assert found.divergence > 0


def test_plant_keeps_everything_else(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", train=60, val=30)
    planted = plant(data, tmp_path / "out", duplicates=6, wrong_labels=9, seed=3)
    before, after = load_index(data, None), load_index(planted.folder, None)
    assert sum(map(len, after.splits.values())) == sum(map(len, before.splits.values())) + 6
    labels = {
        str(name): int(label)
        for split in after.splits.values()
        for name, label in zip(split.id, split.label, strict=True)
    }
    for split in before.splits.values():
        for name, label in zip(split.id.tolist(), split.label.tolist(), strict=True):
            assert (labels[name] != label) == (name in planted.wrong_labels)
            assert planted.wrong_labels.get(name, label) == label
    assert not planted.wrong_labels.keys() & set(planted.copies.values())
    asked = {line.split(",")[0] for line in (planted.folder / "sample_submission.csv").read_text().splitlines()[1:]}
    assert asked == set(after.splits["test"].id.tolist())
    with pytest.raises(UserError, match="not empty"):
        plant(data, planted.folder, duplicates=1, wrong_labels=1)
    with pytest.raises(UserError, match="too few"):
        plant(data, tmp_path / "none", duplicates=100)


def test_table_csv_and_html(tmp_path: Path) -> None:
    same = jpeg(blobs(1))
    names = '<script>alert(1)</script>\ntulip & "co"\n'
    data = folder_of(tmp_path / "<b>", {"train": [(same, 0), (jpeg(blobs(2)), 1)], "val": [(same, 1)]}, names)
    photos = surveyed(data)
    found = bare(photos, find_pairs(photos), [LabelSuspect(1, 1, 0, -0.5)])
    table = found.table()
    assert tuple(table.columns) == COLUMNS
    pair = table[table["kind"] == "same file"].iloc[0]
    assert (pair["id"], pair["partner"], pair["partner_split"], pair["record"]) == ("train0", "val0", "val", 0)
    assert "across splits, different labels" in pair["note"]
    found.write_csv(tmp_path / "a.csv")
    assert len((tmp_path / "a.csv").read_text().splitlines()) == len(table) + 1
    found.write_html(tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    assert "<script" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "prefers-color-scheme" in page
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)


def test_html_is_capped(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = [(jpeg(rng.integers(0, 255, (112, 112, 3), dtype=np.uint8)), 0) for _ in range(3)]  # the largest JPEGs
    photos = surveyed(folder_of(tmp_path, {"train": noise}))
    pairs = [Pair(0, 1, "near", 0.99, False, False, False, 0)] * (MOST + 7)
    bare(photos, pairs, [LabelSuspect(2, 0, 1, -0.1)] * 500).write_html(tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    assert len(page) < 5_000_000
    assert "7 are left out" in page
    assert "300 are left out" in page


def test_audit_of_easy_flowers(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", train=150, val=40)
    found = audit(plant(data, tmp_path / "out", duplicates=0, wrong_labels=10).folder, progress=False)
    assert found.source.num_photos == 190
    assert found.sentences()
    with pytest.raises(UserError, match="--folds 1"):
        audit(data, folds=1)
    with pytest.raises(UserError, match="no run is in this folder"):
        audit(data, runs=[tmp_path / "no-run"], progress=False)


def test_a_photo_that_does_not_decode_is_named(tmp_path: Path) -> None:
    data = folder_of(tmp_path, {"train": [(draw(0, 0, 64), 0), (b"no jpeg", 0)]})
    with pytest.raises(UserError, match=r"00-64x64-2\.tfrec:\d+ record 1"):
        surveyed(data)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_recall_and_precision_on_real_photos(real_photos: Path, tmp_path: Path) -> None:
    """Floors below what was measured: recall, precision of duplicates 0.95, 1.00, of wrong labels 0.64, 0.82."""
    data = real_photos / "oxford17"
    planted = plant(data, tmp_path / "out", size=224)
    found = audit(planted.folder, progress=False)
    duplicates, labels, _ = recall_and_precision(found, planted, standing_pairs(data, size=224))
    assert duplicates.recall >= 0.85
    assert duplicates.precision >= 0.9
    assert labels.recall >= 0.5
    assert labels.precision >= 0.7
