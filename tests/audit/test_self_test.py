"""The self test: known faults go into a copy that is otherwise the same, and what the audit reports is scored."""

from pathlib import Path

import pytest
from support import textured, to_jpeg, write_data, write_photos

from corolla.audit.audit import Audit, audit
from corolla.audit.label_errors import LabelIssue, Source
from corolla.audit.outliers import class_balance
from corolla.audit.self_test import existing_duplicates, plant_faults, recall_and_precision, self_test
from corolla.data.duplicates import Pair
from corolla.data.index import load_index
from corolla.data.survey import survey
from corolla.errors import UserError


def test_the_copy_is_otherwise_the_same(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", train=60, val=30)
    faults = plant_faults(data, tmp_path / "out", duplicates=6, wrong_labels=9, seed=3)
    before, after = load_index(data, None), load_index(faults.folder, None)
    assert sum(map(len, after.splits.values())) == sum(map(len, before.splits.values())) + 6
    labels = {
        str(name): int(label)
        for split in after.splits.values()
        for name, label in zip(split.id, split.label, strict=True)
    }
    for split in before.splits.values():
        for name, label in zip(split.id.tolist(), split.label.tolist(), strict=True):
            assert (labels[name] != label) == (name in faults.wrong_labels)
            assert faults.wrong_labels.get(name, label) == label
    assert not faults.wrong_labels.keys() & set(faults.copies.values())
    asked = {line.split(",")[0] for line in (faults.folder / "sample_submission.csv").read_text().splitlines()[1:]}
    assert asked == set(after.splits["test"].id.tolist())
    with pytest.raises(UserError, match="not empty"):
        plant_faults(data, faults.folder, duplicates=1, wrong_labels=1)
    with pytest.raises(UserError, match="too few"):
        plant_faults(data, tmp_path / "none", duplicates=100)


def test_scores(tmp_path: Path) -> None:
    twice = to_jpeg(textured(0))
    train = [(twice, 0), (twice, 0), *((to_jpeg(textured(seed)), seed % 2) for seed in range(1, 9))]
    data = write_photos(tmp_path / "data", {"train": train})
    existing = existing_duplicates(data)
    assert existing == {frozenset(("train0", "train1"))}

    faults = plant_faults(data, tmp_path / "out", duplicates=3, wrong_labels=2)
    photos = survey(load_index(faults.folder, None), ("train",))
    numbers = {photos.id(i): i for i in range(len(photos))}
    copies = list(faults.copies.items())
    right = next(name for name in numbers if name not in faults.wrong_labels)
    reported = [*copies[:2], ("train0", "train1"), (copies[0][0], copies[1][0])]
    pairs = [Pair(numbers[a], numbers[b], "near", 0.99, False, False, False, 0) for a, b in reported]
    issues = [LabelIssue(numbers[name], 0, 1, -0.9) for name in (right, next(iter(faults.wrong_labels)))]
    found = Audit(photos, pairs, issues, Source("a test", len(photos), 1.0), [], class_balance(photos))
    duplicates, labels, worst = recall_and_precision(found, faults, existing)
    assert (duplicates.recall, duplicates.precision, duplicates.existing) == (2 / 3, 2 / 3, 1)
    assert (labels.recall, labels.precision, labels.existing) == (1 / 2, 1 / 2, 0)
    assert (worst.recall, worst.precision) == (1 / 2, 1 / 2)
    assert recall_and_precision(found, faults)[0].precision == 2 / 4


def test_self_test_leaves_the_data_alone(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", train=60, val=30)
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    result = self_test(data, folds=2)
    assert [score.num_faults for score in result.scores] == [20, 50, 50]
    assert all(0 <= score.recall <= 1 and score.found <= score.reported for score in result.scores)
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_recall_and_precision_on_real_photos(real_photos: Path, tmp_path: Path) -> None:
    """Floors below what was measured: recall, precision of duplicates 0.95, 1.00, of wrong labels 0.64, 0.82."""
    data = real_photos / "oxford17"
    faults = plant_faults(data, tmp_path / "out", size=224)
    found = audit(faults.folder, progress=False)
    duplicates, labels, _ = recall_and_precision(found, faults, existing_duplicates(data, size=224))
    assert duplicates.recall >= 0.85
    assert duplicates.precision >= 0.9
    assert labels.recall >= 0.5
    assert labels.precision >= 0.7
