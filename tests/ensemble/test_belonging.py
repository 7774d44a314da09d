"""Predictions are not joined where data, classes or checkpoints have changed since they were made."""

import dataclasses
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from support import changed, draw, smallest_config, write_data

from corolla.cli import run_command
from corolla.compare.compare import compare
from corolla.compare.run_table import list_runs
from corolla.data.competition import SplitName
from corolla.data.tfrecord import encode_example, write_tfrecord
from corolla.ensemble.ensemble import ensemble
from corolla.ensemble.rules import Method
from corolla.errors import UserError
from corolla.evaluation.predict import predict
from corolla.evaluation.predictions import Predictions
from corolla.runs.folder import Run
from corolla.training.train import train

SPLITS: tuple[SplitName, ...] = ("val", "test")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data and a run that has predicted val and test."""
    folder = tmp_path_factory.mktemp("made")
    config = changed(smallest_config(write_data(folder / "data"), folder / "runs"), "train", epochs=1)
    for name in ("first", "second"):
        train(dataclasses.replace(config, run_name=name))
        for split in SPLITS:
            predict(folder / "runs" / name, split=split, device="cpu", workers=0)
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, in which everything may change; the runs name its data."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = Path(shutil.copytree(made, tmp_path / "made"))
    for environment in folder.glob("runs/*/environment.json"):
        environment.write_text(environment.read_text().replace(str(made / "data"), str(folder / "data")))
    return folder


def rewrite(data: Path, split: SplitName, rows: Sequence[tuple[int, int, str]]) -> None:
    """Write the first file of a split anew: photos by class and number, with their ids; the class is the label."""
    path = data / "tfrecords-jpeg-32x32" / split
    (path,) = path.glob(f"00-32x32-{len(rows)}.tfrec")
    records = [
        encode_example(image=draw(kind, number, 32), label=None if split == "test" else kind, id=name)
        for kind, number, name in rows
    ]
    write_tfrecord(path, records)


def other_test_photos(data: Path) -> None:
    """The same ids, of other photos."""
    rewrite(data, "test", [(1, 5000 + n, f"{2000 + n:09x}") for n in range(5)])


def ids_in_another_order(data: Path) -> None:
    """The same photos, of other ids: the file has as many bytes as before."""
    path = data / "tfrecords-jpeg-32x32/test/00-32x32-5.tfrec"
    size = path.stat().st_size
    rewrite(data, "test", [(n % 5, 2000 + n, f"{2000 + (n + 1) % 5:09x}") for n in range(5)])
    assert path.stat().st_size == size


@pytest.mark.parametrize("change", [other_test_photos, ids_in_another_order])
def test_predictions_of_replaced_test_photos_are_not_joined(place: Path, change: Callable[[Path], None]) -> None:
    runs = [place / "runs/first", place / "runs/second"]
    before = ensemble(runs)
    change(place / "data")
    command = f"corolla predict {runs[0]} --split test --tta none"
    with pytest.raises(UserError, match=rf"is of other data than .*data holds now; run: {re.escape(command)}$"):
        ensemble(runs)
    for run in runs:
        assert predict(run, split="test", device="cpu", workers=0).made
    after = ensemble(runs)
    assert after.ids.tolist() == before.ids.tolist()
    first, second = (each.members.probabilities[0] for each in (before, after))
    assert not np.array_equal(first, second)


def test_the_command_writes_nothing_from_older_predictions(place: Path) -> None:
    other_test_photos(place / "data")
    out = place / "out.csv"
    with pytest.raises(UserError, match="is of other data than"):
        run_command(["ensemble", str(place / "runs/first"), "--out", str(out)])
    assert not out.exists()
    shutil.move(place / "data", place / "moved")
    with pytest.raises(UserError, match=rf"other data than .*--tta none --data {re.escape(str(place / 'moved'))}$"):
        run_command(["ensemble", str(place / "runs/first"), "--data", str(place / "moved"), "--out", str(out)])
    assert not out.with_suffix(".json").exists()


def test_a_file_of_predictions_that_is_named_itself_is_of_the_data_as_they_are(place: Path) -> None:
    """In its run's folder or copied elsewhere; and of the checkpoint that lies beside it."""
    data, given = place / "data", Run(place / "runs/first").predictions("test", "none")
    copied = Path(shutil.copy(given, place / "copied.npz"))
    expected = ensemble([place / "runs/first"]).predicted.tolist()
    for path in (given, copied):
        assert ensemble([path], data=data).predicted.tolist() == expected
    other_test_photos(data)
    with pytest.raises(
        UserError, match=r"test-none\.npz: is of other data than .*data holds now; run: corolla predict"
    ):
        ensemble([given], data=data)
    with pytest.raises(UserError, match=r"copied\.npz: is of other photos than .*data holds now, though the ids are"):
        ensemble([copied], data=data)
    predict(place / "runs/second", split="test", device="cpu", workers=0)
    with pytest.raises(UserError, match=r"copied\.npz: is of other photos than"):
        ensemble([place / "runs/second", copied])
    with (place / "runs/first/best.pt").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(UserError, match=r"test-none\.npz: is older than .*best\.pt; run: corolla predict"):
        ensemble([given], data=data)


@pytest.mark.parametrize("method", ["weighted", "greedy"])
def test_nothing_is_fitted_on_an_older_val(place: Path, method: Method) -> None:
    """Labels may be corrected: two of them here."""
    rewrite(place / "data", "val", [((n + (n < 2)) % 5, 1000 + n, f"{1000 + n:09x}") for n in range(8)])
    with pytest.raises(UserError, match=r"val-none\.npz: is of other data than .*--split val"):
        ensemble([place / "runs/first", place / "runs/second"], method=method)


def test_a_val_that_may_have_been_learned_is_told(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Another split of the same photos; where train is the same, none of its photos can be in val."""
    data, run = place / "data", place / "runs/first"
    rewrite(data, "val", [(n % 5, n, f"{7000 + n:09x}") for n in range(8)])
    predict(run, split="val", device="cpu", workers=0)
    assert ensemble([run]).on_val is not None
    assert "too good" not in caplog.text
    rewrite(data, "train", [((n + 2) % 5, n + 2, f"{5000 + n:09x}") for n in range(20)])
    assert ensemble([run], method="weighted").on_val is not None
    assert re.search(
        r"first: was trained with other photos, in train and in val, than .*data holds now; .* are too good",
        caplog.text,
    )


def test_nothing_is_adjusted_by_other_training_photos(place: Path) -> None:
    runs = [place / "runs/first", place / "runs/second"]
    assert ensemble(runs, adjust=True).rule.prior is not None
    rewrite(place / "data", "train", [(1, n, f"{n:09x}") for n in range(20)])
    with pytest.raises(UserError, match=r"--adjust: .*data has other training photos than .*first had; name the data"):
        ensemble(runs, adjust=True)


def test_classes_that_were_renamed_are_seen(place: Path) -> None:
    names = place / "data/classes.txt"
    kinds = names.read_text().splitlines()
    names.write_text("\n".join([*kinds[:3], kinds[4], kinds[3]]) + "\n")
    with pytest.raises(UserError, match=r"test-none\.npz: is of other classes than .*data has \(classes\.txt\)"):
        ensemble([place / "runs/first"])
    with pytest.raises(UserError, match="its classes are not those that"):
        predict(place / "runs/first", split="test", device="cpu", workers=0)


def without_names(path: Path) -> None:
    """Leave out of a file of predictions what earlier versions did not write."""
    dataclasses.replace(Predictions.load(path), class_names=()).save(path)


@pytest.mark.parametrize("earlier", [False, True])
def test_runs_of_as_many_other_classes_are_not_joined(place: Path, earlier: bool) -> None:
    data, run = place / "other", Run(place / "runs/other")
    shutil.copytree(place / "data", data)
    names = (data / "classes.txt").read_text().splitlines()
    (data / "classes.txt").write_text("\n".join([*names[:1], *names[2:], "kind z"]) + "\n")
    config = dataclasses.replace(Run(place / "runs/first").config, data=data, runs=place / "runs", run_name="other")
    train(dataclasses.replace(config, device="cpu"))
    for split in SPLITS:
        predict(run.folder, split=split, device="cpu", workers=0)
    if earlier:
        for path in place.glob("runs/*/predictions/*.npz"):
            without_names(path)
    with pytest.raises(UserError, match=r"other: was trained for other classes than .*first$"):
        ensemble([place / "runs/first", run.folder])
    with pytest.raises(UserError, match=r"other: was trained for other classes than .*first$"):
        compare([place / "runs/first", run.folder], device="cpu", workers=0, checkpoint="best")


def test_predictions_of_earlier_versions_are_joined(place: Path) -> None:
    runs = [place / "runs/first", place / "runs/second"]
    before = ensemble(runs, method="weighted")
    for path in place.glob("runs/*/predictions/*.npz"):
        without_names(path)
    assert ensemble(runs, method="weighted").predicted.tolist() == before.predicted.tolist()


def test_without_its_data_an_ensemble_is_made_of_what_was_predicted(place: Path) -> None:
    runs = [place / "runs/first", place / "runs/second"]
    before = ensemble(runs)
    shutil.rmtree(place / "data")
    assert ensemble(runs).predicted.tolist() == before.predicted.tolist()
    (place / "data").mkdir()
    assert ensemble(runs).predicted.tolist() == before.predicted.tolist()


def test_predictions_of_several_checkpoints_are_not_joined(place: Path) -> None:
    """Where the checkpoint is gone, nothing else tells."""
    path = Run(place / "runs/first").predictions("val", "none")
    dataclasses.replace(Predictions.load(path), checkpoint="0" * 64).save(path)
    (place / "runs/first/best.pt").unlink()
    with pytest.raises(UserError, match="first: its predictions are of several checkpoints"):
        ensemble([place / "runs/first", place / "runs/second"], method="weighted")


def test_the_table_has_no_score_on_another_val(place: Path) -> None:
    assert not list_runs(place / "runs", tta="none")["none"].isna().to_list().count(True)
    rewrite(place / "data", "val", [((n + 1) % 5, 1000 + n, f"{1000 + n:09x}") for n in range(8)])
    assert predict(place / "runs/first", split="val", device="cpu", workers=0).made
    table = list_runs(place / "runs", tta="none").set_index("name")
    assert table["none"].notna().to_dict() == {"first": False, "second": True}
