"""A run that is validated on a fold learns the others, and goes on with the folds that it began with."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from state_bits import assert_same_bits
from support import changed, smallest_config, stop_at, write_data

import corolla
from corolla.config import Config
from corolla.data.folds import COPY, find_folds
from corolla.data.index import load_index
from corolla.data.statistics import data_statistics
from corolla.errors import UserError
from corolla.evaluation.out_of_fold import fold_configs
from corolla.evaluation.predictions import Predictions
from corolla.files import sha256
from corolla.runs.checkpoint import load_checkpoint
from corolla.runs.corrections import trained_index
from corolla.runs.data import index_for
from corolla.runs.folder import Run


@pytest.fixture(scope="module")
def config(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """One epoch of a fold."""
    small = smallest_config(tiny_data, tmp_path_factory.mktemp("fold") / "runs")
    return changed(small, "train", epochs=1, fold="2/3")


@pytest.fixture(scope="module")
def fold(config: Config) -> Run:
    """A run that was stopped, and went on."""
    assert corolla.train(config, run_name="fold", on_step=stop_at(2)).state == "stopped"
    return corolla.train(config, run_name="fold")


@pytest.fixture(scope="module")
def plain(config: Config) -> Run:
    return corolla.train(changed(config, "train", fold=None), run_name="plain")


def test_it_learns_the_other_folds_and_is_validated_on_its_own(fold: Run, tiny_data: Path) -> None:
    folds, index = find_folds(load_index(tiny_data), 3), index_for(fold)
    assert fold.config.train.folds_sha256 == folds.sha256 == sha256(fold.folder / COPY)
    assert {folds.of[str(name)] for name in index.splits["val"].id} == {2}
    assert {folds.of[str(name)] for name in index.splits["train"].id} == {1, 3}
    assert len(index.splits["train"]) + len(index.splits["val"]) == 40 + 16
    content = load_checkpoint(fold.last)
    assert content["preprocessing"]["mean"] == pytest.approx(data_statistics(index, ("train",)).color.mean)
    assert fold.metrics[0]["step"] == len(index.splits["train"]) // 8


def test_its_val_is_that_fold_and_says_so(fold: Run) -> None:
    kept = Predictions.load(fold.predictions("val", "none", "last"))
    assert kept.fold == f"2/3 {fold.config.train.folds_sha256}"
    assert np.array_equal(kept.ids, index_for(fold).splits["val"].id)
    made = corolla.predict(fold, split="val", checkpoint="last")
    assert made.made is False
    assert made.macro_f1 == pytest.approx(fold.metrics[-1]["macro_f1"])
    (fold.predictions("val", "none", "last")).unlink()
    again = corolla.predict(fold, split="val", checkpoint="last").predictions
    assert again.fold == kept.fold
    assert np.array_equal(again.probabilities, kept.probabilities)


def test_test_is_predicted_whatever_train_and_val_are_by_now(fold: Run, tmp_path: Path) -> None:
    other = write_data(tmp_path / "other", train=35)
    assert len(corolla.predict(fold, split="test", data=other).predictions.ids) == 11
    with pytest.raises(UserError, match="other: has other photos in train and val than the folds were made of"):
        corolla.predict(fold, split="val", data=other)


def test_a_stopped_one_ends_as_an_undisturbed_one(fold: Run, config: Config) -> None:
    straight = corolla.train(config, run_name="straight")
    assert fold.metrics == straight.metrics
    assert_same_bits(load_checkpoint(fold.last)["model"], load_checkpoint(straight.last)["model"])


def test_its_name_tells_the_fold(config: Config) -> None:
    assert corolla.train(config, experiment="small").name == "small-fold2of3-seed0"


def test_the_copy_of_its_folds_counts_and_is_found_again_where_it_is_lost(config: Config) -> None:
    begun = corolla.train(config, run_name="copy", on_step=stop_at(1))
    copy = begun.folder / COPY
    content = copy.read_bytes()
    copy.unlink()
    assert corolla.train(config, run_name="copy").state == "done"
    assert copy.read_bytes() == content
    copy.write_bytes(content.replace(b'":1', b'":3', 1))
    with pytest.raises(UserError, match=r"folds.json: was changed: the SHA-256 of these folds is"):
        corolla.predict(Run(begun.folder), split="val")


def test_a_longer_copy_of_it_has_its_folds(fold: Run, config: Config) -> None:
    longer = corolla.train(config, run_name="longer", resume=fold.folder, epochs=2)
    assert (longer.folder / COPY).read_bytes() == (fold.folder / COPY).read_bytes()
    assert longer.metrics[0] == fold.metrics[0]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"fold": "4/3"}, "train.fold = .4/3.: value error, a fold and their number are expected, such as 1/5"),
        ({"fold": "0/3"}, "a fold and their number are expected"),
        ({"fold": "1/1"}, "a fold and their number are expected"),
        ({"fold": "1 of 5"}, "a fold and their number are expected"),
        ({"fold": "1\u0665/2\u0665"}, "a fold and their number are expected"),  # digits of another script
        ({"fold": "1/100"}, "different photos are too few for 100 folds"),
        ({"on": "train+val"}, "--train.fold 2/3 leaves photos out to validate on, --train.on train.val none"),
        ({"folds_sha256": 64 * "0"}, "the SHA-256 of these folds is [0-9a-f]{12}, not 000000000000 as asked for"),
        ({"fold": None, "folds_sha256": 64 * "0"}, "--train.folds-sha256 has no effect without --train.fold"),
    ],
)
def test_what_does_not_fit_is_refused(config: Config, settings: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError, match=line):
        corolla.train(config, run_name="refused", **settings)
    assert not (config.runs / "refused").exists()


def test_a_run_of_another_fold_is_not_gone_on_with(fold: Run, config: Config) -> None:
    with pytest.raises(UserError, match=r'fold: holds a run of another config \(train.fold is "2/3", now "1/3"'):
        corolla.train(config, run_name="fold", fold="1/3")


@pytest.mark.parametrize("how", ["teacher", "weights", "init_from"])
def test_folds_are_not_mixed_by_what_a_run_learns_from(fold: Run, plain: Run, config: Config, how: str) -> None:
    def settings(source: Run) -> dict[str, Any]:
        named = {"teacher": {"teacher": str(source.folder)}, "weights": {"model": {"weights": str(source.folder)}}}
        return named.get(how) or {"init_from": source.folder}

    for own, source in ((config, plain), (changed(config, "train", fold="1/3"), fold), (plain.config, fold)):
        own = changed(config, "train", fold=own.train.fold)
        with pytest.raises(UserError, match="has learned from photos that this run is to be validated on"):
            corolla.train(own, run_name="mixed", **settings(source))
    assert corolla.train(config, run_name=f"same-{how}", **settings(fold)).state == "done"


def test_corrections_reach_what_it_learns_and_leave_its_fold_as_it_is(
    fold: Run, config: Config, tmp_path: Path
) -> None:
    index = index_for(fold)
    learned, own = str(index.splits["train"].id[-1]), str(index.splits["val"].id[0])
    csv = tmp_path / "audit.csv"
    csv.write_text(f"id,action\n{learned},drop\n{own},drop\n")
    run = corolla.train(config, run_name="corrected", corrections=csv)
    found = trained_index(run, load_index(config.data))
    assert learned not in found.splits["train"].id
    assert own in found.splits["val"].id
    csv.write_text(f"id,action\n{own},drop\n")  # about its fold alone: in the other runs it counts
    assert corolla.train(config, run_name="untouched", corrections=csv).metrics == fold.metrics


def test_the_configs_of_a_cross_validation(config: Config) -> None:
    base = changed(config, "train", fold=None)
    found = fold_configs(base, 5)
    assert [each.train.fold for each in found] == ["1/5", "2/5", "3/5", "4/5", "5/5"]
    assert {each.run_name for each in found} == {None}
    with pytest.raises(UserError, match=r"--train.fold 2/3: leave it out"):
        fold_configs(config, 5)
    with pytest.raises(UserError, match="1 folds: a cross-validation has at least 2"):
        fold_configs(base, 1)
