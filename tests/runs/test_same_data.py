"""A checkpoint may know photos of val where neither train nor val is what it was trained with."""

from pathlib import Path

import pytest

from corolla.config import TrainConfig
from corolla.data.corrections import run_index
from corolla.data.index import load_index
from corolla.data.subset import subset_index
from corolla.errors import UserError
from corolla.runs.same_data import may_have_learned_val, notes_on_val


@pytest.mark.parametrize(
    ("others", "is_told"),
    [((), False), (("train",), False), (("val",), False), (("train", "val"), True)],
)
def test_where_both_are_others(others: tuple[str, ...], is_told: bool, tiny_data: Path) -> None:
    index = load_index(tiny_data, None)
    trained = {split: "0" * 64 if split in others else value for split, value in index.fingerprint.items()}
    assert may_have_learned_val(trained, index) == is_told
    content = {"config": {"size": index.size}, "fingerprint": trained}
    notes = notes_on_val(content, index, Path("best.pt"), TrainConfig())
    assert [note.partition(" was ")[0] for note in notes] == ["note: best.pt"] * is_told
    assert notes_on_val({**content, "config": {"size": 48}}, index, Path("best.pt"), TrainConfig()) == []


def test_a_share_of_the_training_photos_is_no_reason(tiny_data: Path) -> None:
    index = load_index(tiny_data, None)
    assert not may_have_learned_val(index.fingerprint, subset_index(index, 0.5, 0))
    assert not may_have_learned_val({}, index)


@pytest.mark.parametrize("content", [{}, {"config": "resnet18"}, {"config": {}, "fingerprint": ["train"]}])
def test_checkpoints_of_others_tell_nothing(content: dict[str, object], tiny_data: Path) -> None:
    assert notes_on_val(content, load_index(tiny_data, None), Path("x.pt"), TrainConfig()) == []


def test_folds_tell_also_where_the_photos_were_of_another_size(tiny_data: Path) -> None:
    own = TrainConfig(fold="1/3", folds_sha256="a" * 64)
    index = run_index(load_index(tiny_data, None), own)

    def notes(size: int, **train: object) -> list[str]:
        content = {"config": {"size": size, "train": train}, "fingerprint": {"train": "0" * 64, "val": "1" * 64}}
        return notes_on_val(content, index, Path("x.pt"), own)

    with pytest.raises(UserError, match=r"x.pt: has learned from photos that this run is to be validated on"):
        notes(48, fold="2/3", folds_sha256="a" * 64)
    assert notes(48, fold="1/3", folds_sha256="a" * 64) == []
    for other in ({"fold": "1/3", "folds_sha256": "b" * 64}, {"on": "train+val"}, {}):
        assert [note.partition(" was ")[0] for note in notes(48, **other)] == ["note: x.pt"]
