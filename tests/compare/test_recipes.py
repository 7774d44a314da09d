"""Runs are found by their experiment, and grouped by all that decides a result but the seed."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support import write_data

from corolla.compare.compare import compare
from corolla.compare.recipes import find_runs, without_seed
from corolla.config import Config
from corolla.errors import UserError
from corolla.training.train import train


def test_experiments_stand_for_all_their_seeds(copy_run: Callable[..., Path]) -> None:
    found = [copy_run("same", right=8, seed=seed) for seed in (0, 2, 10)]
    runs = found[0].parent
    (runs / "same-seed9").mkdir()  # a start that failed leaves no config
    assert find_runs([Path("same")], runs) == found
    assert find_runs([Path("same-seed2"), found[0]], runs) == [found[1], found[0]]
    with pytest.raises(UserError, match="other: neither a run's folder nor an experiment"):
        find_runs([Path("other")], runs)
    with pytest.raises(UserError, match=r"gone: no run is in this folder; in .* there are: same"):
        find_runs([runs / "gone"], runs)


def test_names_that_do_not_differ_stay_apart(copy_run: Callable[..., Path]) -> None:
    runs = [copy_run("same", right=8), copy_run("same", right=8, seed=7, lr=0.021)]
    comparison = compare(runs, workers=0, num_resamples=100)
    assert {recipe.name for recipe in comparison.recipes} == {"same-seed0", "same-seed7"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("resnet34-seed0", "resnet34"), ("seed3_wide", "_wide"), ("a-seed2-again", "a-again"), ("seed1", "seed1")],
)
def test_a_name_without_its_seed(name: str, expected: str) -> None:
    assert without_seed(name) == expected


def test_other_training_photos_are_another_recipe(copy_run: Callable[..., Path], small: Config, tmp_path: Path) -> None:
    """The same config, and the same val photos."""
    other = write_data(tmp_path / "other", train=24)
    val = "tfrecords-jpeg-32x32/val"
    shutil.rmtree(other / val)
    shutil.copytree(small.data / val, other / val)
    changes = dataclasses.replace(small, data=other, runs=tmp_path / "fewer")
    fewer = train(dataclasses.replace(changes, train=dataclasses.replace(small.train, seed=5))).folder
    same = [copy_run("same", right=8, seed=seed) for seed in range(2)]
    comparison = compare([*same, fewer], workers=0, num_resamples=100)
    assert sorted(len(recipe.members) for recipe in comparison.recipes) == [1, 2]
