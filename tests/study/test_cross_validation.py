"""Cross-validation as a study: a run per fold, every photo once, and the same files whoever makes them."""

from pathlib import Path

import numpy as np
import pytest

import corolla
from corolla.cli import run_command
from corolla.data.index import load_index
from corolla.errors import UserError
from corolla.evaluation.predictions import Predictions
from corolla.runs.folder import Run
from corolla.study.plan import StudyOptions

EXPERIMENT = """
base = "lite0_scratch"
[model]
name = "timm:test_efficientnet"
[optim]
lr = 0.005
[train]
epochs = 1
batch_size = 8
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "small.toml"
    path.write_text(EXPERIMENT)
    return path


def test_every_photo_is_predicted_once_by_a_run_that_has_not_learned_it(
    file: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(tiny_data), "--device", "cpu", "--workers", "0"]
    assert run_command(["cv", str(file), "--folds", "3", "--tta", "flip", *options]) == 0
    printed = capsys.readouterr().out
    result = corolla.cv(file, 3, data=tiny_data, device="cpu", workers=0, tta="flip")
    assert result.summary in printed
    assert {len(fold.run.environment["started"]) for fold in result.by_fold} == {1}  # taken, not trained again
    assert [fold.fold for fold in result.by_fold] == ["1/3", "2/3", "3/3"]

    index = load_index(tiny_data, None)
    everything = sorted(str(name) for split in ("train", "val") for name in index.splits[split].id)
    (path,) = result.out_of_fold
    joined = Predictions.load(path)
    assert joined.ids.tolist() == everything
    (row,) = result.study.results.rows
    assert row.records[0].predicted["flip"].tolist() == joined.probabilities.argmax(1).tolist()
    for fold in result.by_fold:
        own = Predictions.load(Run(fold.run.folder).predictions("val", "flip", "last"))
        places = np.searchsorted(joined.ids, own.ids)
        assert np.array_equal(joined.probabilities[places], own.probabilities)
    table = (result.study.folder / "table.md").read_text()
    assert f"    corolla cv {file} --folds 3 --tta flip\n" in table
    assert "Scores of the last epoch on train and val, out of fold:" in (result.study.folder / "study.html").read_text()

    two = [str(fold.run.folder) for fold in result.by_fold[:2]]
    assert run_command(["predict", *two, "--checkpoint", "last", *options]) == 0
    capsys.readouterr()
    assert run_command(["ensemble", *two, "--checkpoint", "last", "--out", "two.csv"]) == 0
    assert "its val macro F1 is not known: fold 3/3 of the cross-validation of" in capsys.readouterr().out

    study = file.with_name("folds.toml")
    study.write_text('question = "?"\nbase = "small.toml"\nfolds = 3\nseeds = [0]\nviews = ["flip"]\n')
    told = corolla.study_status(study, StudyOptions(data=tiny_data, device="cpu", workers=0))
    assert [run.state for run in told.runs] == ["done"] * 3
    assert list(told.to_pandas()["fold"]) == ["1/3", "2/3", "3/3"]
    assert run_command(["study", "commands", str(study), "--epochs-factor", "2", *options]) == 0
    assert "--only base --seeds 0 --only-folds 2" in capsys.readouterr().out.splitlines()[1]


def test_a_job_that_trains_one_fold_has_done_its_work(
    file: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though there is nothing to show as long as a fold is missing; with a fold that fails the status tells it."""
    options = ["--data", str(tiny_data), "--device", "cpu", "--workers", "0"]
    assert run_command(["cv", str(file), "--folds", "2", "--only-folds", "1", *options]) == 0
    assert "no cross-validation has all its folds yet, runs that are done: 1" in capsys.readouterr().out
    assert run_command(["cv", str(file), "--folds", "2", "--only-folds", "2", *options]) == 0
    (second,) = Path("runs").glob("*fold2of2*")
    (second / "last.pt").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"fold 2/2: .*last\.pt: not a readable checkpoint"):
        run_command(["cv", str(file), "--folds", "2", *options])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--folds", "1"], "--folds 1: at least 2 are expected"),
        (["--folds", "3", "--only-folds", "4"], "--only-folds 4: folds are 1 to 3"),
        (["--folds", "1000"], "photos"),
    ],
)
def test_what_cannot_be(words: list[str], line: str, file: Path, tiny_data: Path) -> None:
    with pytest.raises(UserError, match=line):
        run_command(["cv", str(file), "--data", str(tiny_data), "--device", "cpu", *words])
