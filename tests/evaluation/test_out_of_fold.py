"""Every photo of train and val is predicted once, by the run that has not learned it; what takes val takes that."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import changed, smallest_config

import corolla
from corolla.cli import run_command
from corolla.config import Config
from corolla.data.index import load_index
from corolla.errors import DONE, UserError
from corolla.evaluation.compute import PredictOptions
from corolla.evaluation.out_of_fold import fold_configs
from corolla.evaluation.predict import PredictResult, predict_split
from corolla.evaluation.predictions import Predictions
from corolla.kaggle.notebook_members import ensemble_of_runs
from corolla.runs.folder import Run


def joined(runs: list[Run], **options: Any) -> PredictResult:
    return corolla.predict(runs, split="oof", device="cpu", workers=0, **options)


@pytest.fixture(scope="module")
def config(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    small = smallest_config(tiny_data, tmp_path_factory.mktemp("oof") / "runs")
    return changed(small, "train", epochs=1)


def cross_validation(config: Config, name: str) -> list[Run]:
    """Three runs, predicted on their folds and on test."""
    runs = [corolla.train(each, experiment=name) for each in fold_configs(config, 3)]
    predict_split(runs, PredictOptions(split="val", device="cpu", workers=0))
    predict_split(runs, PredictOptions(split="test", device="cpu", workers=0))
    return runs


@pytest.fixture(scope="module")
def first(config: Config) -> list[Run]:
    return cross_validation(config, "first")


@pytest.fixture(scope="module")
def second(config: Config) -> list[Run]:
    return cross_validation(changed(config, "optim", lr=0.002), "second")


@pytest.fixture(scope="module")
def plain(config: Config) -> Run:
    run = corolla.train(config, run_name="plain")
    for split in ("val", "test"):
        corolla.predict(run, split=split, device="cpu", workers=0)
    return run


def test_every_photo_is_there_once_by_the_run_that_has_not_learned_it(first: list[Run], tiny_data: Path) -> None:
    made = joined([first[1], first[2], first[0]])
    assert made.path == first[0].folder / "predictions" / "oof-none.npz"
    found, splits = Predictions.load(made.path), load_index(tiny_data).splits
    ids = np.concatenate([splits["train"].id, splits["val"].id])
    assert np.array_equal(found.ids, np.sort(ids))
    labels = np.concatenate([splits["train"].label, splits["val"].label])[np.argsort(ids)]
    assert found.labels is not None
    assert np.array_equal(found.labels, labels)
    for run in first:
        own = corolla.predict(run, split="val", device="cpu", workers=0).predictions
        rows = np.searchsorted(found.ids, own.ids)
        assert np.array_equal(found.probabilities[rows], own.probabilities)
    assert found.fold == f"oof 3 {first[0].config.train.folds_sha256}"
    assert joined(first).made is False


def test_it_is_made_again_when_a_run_has_changed(config: Config) -> None:
    runs = cross_validation(config, "changed")
    assert joined(runs).made is True
    corolla.train(
        runs[1].config, data=config.data, runs=config.runs, run_name="longer", resume=runs[1].folder, epochs=2
    )
    runs[1].best.write_bytes((config.runs / "longer" / "last.pt").read_bytes())
    assert joined(runs).made is True


def test_what_is_no_cross_validation_is_refused(
    first: list[Run], second: list[Run], plain: Run, config: Config
) -> None:
    other = corolla.train(changed(config, "train", fold="1/4"), run_name="of-four")
    for runs, line in (
        (first[:2], "fold 3/3 of the cross-validation of .*first-fold1of3-seed0 is missing"),
        ([*first, first[0]], "first-fold1of3-seed0: is named twice"),
        ([*first[:2], second[2]], "fold 3/3 of the cross-validation of .*first-fold1of3-seed0 is missing.*2 recipes"),
        ([*first, *second], "second-fold1of3-seed0: has other settings than .*first-fold1of3-seed0, not only another"),
        ([*first[:2], plain], "plain: has no fold"),
        ([*first[:2], other], "of-four: is validated on other folds"),
    ):
        with pytest.raises(UserError, match=line):
            joined(runs)


def test_an_ensemble_of_cross_validations_is_fitted_and_scored_out_of_fold(
    first: list[Run], second: list[Run], plain: Run
) -> None:
    scores = {run[0].name: joined(run).macro_f1 for run in (first, second)}
    together = corolla.ensemble([*first, *second], method="weighted")
    assert together.rule.weights is not None
    assert together.rule.weights.sum() == pytest.approx(1)
    assert np.ptp(together.rule.weights[:3]) == np.ptp(together.rule.weights[3:]) == 0  # folds weigh alike
    assert together.on_val is not None
    assert together.on_val.members["run"].tolist() == ["first-seed0", "second-seed0"]
    assert together.on_val.members["alone"].tolist() == list(scores.values())
    adjusted = corolla.ensemble(first, method="mean", adjust=True)
    assert adjusted.rule.prior is not None
    assert "out of fold" in adjusted.summary
    notebook = ensemble_of_runs([run.folder for run in (*first, *second)], method="weighted")
    assert notebook.rule.weights is not None
    assert np.array_equal(notebook.rule.weights, together.rule.weights)
    with pytest.raises(UserError, match="plain: is validated on val, not on fold 1/3 as"):
        corolla.ensemble([*first, plain], method="weighted")
    with pytest.raises(UserError, match=r"fold 3/3 of the cross-validation of .* is missing"):
        corolla.ensemble(first[:2], method="mean", adjust=True)
    for runs in (first[:2], [*first, plain]):
        assert corolla.ensemble(runs).on_val is None  # together they have no score


def test_cross_validations_are_compared_out_of_fold(first: list[Run], second: list[Run], plain: Run) -> None:
    found = corolla.compare([*first, *second], num_resamples=50, device="cpu", workers=0)
    assert found.split == "oof"
    scores = {recipe.name: recipe.mean for recipe in found.recipes}
    wanted = {name: joined(runs, checkpoint="last") for name, runs in (("first", first), ("second", second))}
    assert scores == {name: pytest.approx(each.macro_f1) for name, each in wanted.items()}
    assert "first-seed0 is a cross-validation of 3 runs, scored out of fold" in " ".join(found.verdict)
    assert (
        corolla.compare([first[0], second[0]], num_resamples=50, device="cpu", workers=0).split == "val"
    )  # of the same fold
    with pytest.raises(UserError, match="plain: is validated on val, not on fold 1/3 as"):
        corolla.compare([first[0], plain])
    with pytest.raises(UserError, match="fold 3/3 of the cross-validation of"):
        corolla.compare(first[:2])


def test_the_audit_judges_all_labels_by_them(first: list[Run], plain: Run, tiny_data: Path) -> None:
    found = corolla.audit(tiny_data, runs=[run.folder for run in first])
    assert found.source.num_photos == 40 + 16
    assert found.source.text.startswith("out-of-fold probabilities of first-fold1of3-seed0, ")
    own = joined(first)
    assert own.predictions.labels is not None
    right = (own.predictions.probabilities.argmax(1) == own.predictions.labels).mean()
    assert found.source.accuracy == pytest.approx(right)
    with pytest.raises(UserError, match="plain: is validated on val, not on fold 1/3 as"):
        corolla.audit(tiny_data, runs=[first[0].folder, plain.folder])


def test_by_commands(first: list[Run], second: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [str(run.folder) for run in (*first, *second)]
    assert run_command(["predict", *runs[:3], "--split", "oof", "--device", "cpu", "--workers", "0"]) == DONE
    assert "  out of fold: macro F1 " in capsys.readouterr().out
    out = tmp_path / "joined.csv"
    assert run_command(["ensemble", *runs, "--method", "mean", "--adjust", "--out", str(out)]) == DONE
    assert "the same ensemble out of fold: macro F1" in capsys.readouterr().out
    described = json.loads(out.with_suffix(".json").read_text())
    assert described["val_is_out_of_fold"] is True
    assert described["val_macro_f1"] is not None
    with pytest.raises(UserError, match=r"oof-none.npz: is of train and val, out of fold; name the runs"):
        corolla.ensemble([str(first[0].folder / "predictions" / "oof-none.npz")])


@pytest.mark.parametrize(("named", "goes_on"), [([0, 1], "predict"), ([0, 1, 2], "compare")])
def test_report_goes_on_with_what_takes_its_folds(
    first: list[Run], named: list[int], goes_on: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [str(first[number].folder) for number in named]
    assert run_command(["report", *runs, "--device", "cpu", "--workers", "0"]) == DONE
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"next: corolla {goes_on} {runs[0]} ")
