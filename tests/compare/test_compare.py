"""Runs against each other: grouped by recipe, tested on the same images, and said with care."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from support import write_data

from corolla.compare.compare import compare
from corolla.compare.convergence import convergences
from corolla.compare.data_efficiency import data_efficiency, data_efficiency_figure, data_efficiency_summary
from corolla.compare.recipes import find_runs
from corolla.compare.tables import all_tables
from corolla.config import Config, ModelConfig, OptimConfig
from corolla.errors import UserError
from corolla.runs.folder import Run
from corolla.training.train import train


def trained(config: Config, name: str, seed: int, **changes: object) -> Path:
    settings = dataclasses.replace(config.train, seed=seed, **changes)  # pyright: ignore[reportArgumentType]
    return train(dataclasses.replace(config, train=settings), experiment=name).folder


@pytest.fixture(scope="module")
def small(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    from corolla.config import AugmentConfig, PipelineConfig, TrainConfig

    return Config(
        data=tiny_data,
        runs=tmp_path_factory.mktemp("runs"),
        device="cpu",
        model=ModelConfig(name="timm:test_resnet"),
        augment=AugmentConfig(crop="random-resized", area=(0.8, 1.0), flip=False),
        optim=OptimConfig(lr=0.02, schedule="constant"),
        train=TrainConfig(epochs=3, batch_size=8),
        pipeline=PipelineConfig(workers=0),
    )


@pytest.fixture(scope="module")
def same(small: Config) -> list[Path]:
    """Three seeds of one recipe."""
    return [trained(small, "same", seed) for seed in range(3)]


@pytest.fixture(scope="module")
def lazy(small: Config) -> list[Path]:
    """Three seeds of one that hardly learns."""
    slow = dataclasses.replace(small, optim=OptimConfig(lr=1e-6, schedule="constant"))
    return [trained(slow, "lazy", seed) for seed in range(3)]


def test_seeds_of_one_recipe_show_no_difference(same: list[Path]) -> None:
    comparison = compare(same, workers=0)
    (recipe,) = comparison.recipes
    assert (recipe.name, len(recipe.members)) == ("same", 3)
    assert comparison.differences == ()
    (sentence,) = comparison.verdict
    assert sentence.startswith("No difference shown: these are 3 seeds of one recipe, same")
    assert len(comparison.pairs) == 3


def test_recipes_are_told_apart_or_not(same: list[Path], lazy: list[Path]) -> None:
    comparison = compare([*lazy, *same], workers=0)
    assert [recipe.name for recipe in comparison.recipes] == ["same", "lazy"]
    (difference,) = comparison.differences
    means = [np.mean([member.scores.macro_f1 for member in recipe.members]) for recipe in comparison.recipes]
    assert difference.effect.value == pytest.approx(means[0] - means[1])
    assert difference.effect.low < difference.effect.value < difference.effect.high
    assert difference.significant == (difference.p_adjusted < 0.05)
    assert ("is better than" in difference.sentence) == difference.significant
    assert len(comparison.pairs) == 15


def test_one_seed_each_is_said_to_be_about_the_networks(same: list[Path], lazy: list[Path]) -> None:
    comparison = compare([same[0], lazy[0]], workers=0, num_resamples=500)
    (difference,) = comparison.differences
    shown = dataclasses.replace(difference, p_adjusted=0.001)
    assert "One seed each" in shown.sentence
    assert "No difference shown between" in dataclasses.replace(difference, p_adjusted=0.5).sentence


def test_scores_are_of_the_last_epoch_and_those_of_training(same: list[Path]) -> None:
    (member, *_) = compare(same, workers=0).members
    last = member.rows[-1]
    assert member.scores.macro_f1 == pytest.approx(last["macro_f1"], abs=1e-6)
    assert member.scores.top1 == pytest.approx(last["top1"])
    # Predictions are of folded weights in the native precision, where training evaluates under autocast.
    assert member.scores.loss == pytest.approx(last["val_loss"], rel=1e-2)
    assert member.best_macro_f1 == max(row["macro_f1"] for row in member.rows)
    assert (member.run.folder / "predictions/val-none-last.npz").exists()


def test_every_table_has_its_rows(same: list[Path], lazy: list[Path]) -> None:
    tables = all_tables(compare([*same, *lazy], workers=0))
    assert {name: len(table) for name, table in tables.items()} == {
        "recipes": 2,
        "differences": 1,
        "runs": 6,
        "pairs": 15,
        "course": 6,
        "cost": 6,
    }
    cost = tables["cost"].set_index("name").loc["same-seed0"]
    assert cost["images"] == 3 * 40
    assert cost["parameters"] > 1000
    assert cost["multiply_adds"] > 1000


def test_how_soon_it_came_how_far(same: list[Path]) -> None:
    comparison = compare(same, workers=0)
    best = max(member.rows[-1]["macro_f1"] for member in comparison.members)
    for member, convergence in zip(comparison.members, convergences(comparison.members), strict=True):
        for fraction, time in zip((0.5, 0.8, 0.9, 0.95), convergence.times, strict=True):
            epochs = [row["epoch"] for row in member.rows if row["macro_f1"] >= fraction * best]
            assert time.epoch == (min(epochs) if epochs else None)
        assert convergence.gap == pytest.approx(member.rows[-1]["val_loss"] - member.rows[-1]["train_loss"])
        assert convergence.lr_drops == ()


def test_runs_of_other_data_are_refused(same: list[Path], small: Config, tmp_path: Path) -> None:
    other = dataclasses.replace(small, data=write_data(tmp_path / "other", val=10), runs=tmp_path / "runs")
    with pytest.raises(UserError, match="its val images are not those of"):
        compare([same[0], trained(other, "other", 0, epochs=1)], workers=0)


def test_mistakes_are_named(same: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name at least one"):
        compare([])
    with pytest.raises(UserError, match="is named twice"):
        compare([same[0], same[0]])
    with pytest.raises(UserError, match="no run is in this folder"):
        compare([tmp_path])
    with pytest.raises(UserError, match="gone: neither a run's folder nor an experiment"):
        find_runs([tmp_path / "gone"], same[0].parent)


def test_experiments_stand_for_all_their_seeds(same: list[Path]) -> None:
    runs = same[0].parent
    (runs / "same-seed9").mkdir()  # a start that failed leaves no config
    assert find_runs([Path("same")], runs) == same
    assert find_runs([Path("same-seed1"), same[0]], runs) == [same[1], same[0]]
    with pytest.raises(UserError, match="other: neither a run's folder nor an experiment"):
        find_runs([Path("other")], runs)


def test_names_that_do_not_differ_stay_apart(same: list[Path], small: Config) -> None:
    twin = dataclasses.replace(small, optim=OptimConfig(lr=0.021, schedule="constant"), run_name="same-seed7")
    comparison = compare([*same, train(twin, experiment="same").folder], workers=0)
    assert len({recipe.name for recipe in comparison.recipes}) == 2


def test_runs_of_one_name_are_told_apart(same: list[Path], lazy: list[Path], tmp_path: Path) -> None:
    """The same folder name in two places: neither is tested against itself."""
    other = shutil.copytree(lazy[0], tmp_path / same[0].name)
    apart, alike = (compare([same[0], run], workers=0, num_resamples=500) for run in (lazy[0], other))
    assert {member.name for member in alike.members} == {str(same[0]), str(other)}
    assert len({recipe.name for recipe in alike.recipes}) == 2
    (pair,), (expected,) = alike.pairs, apart.pairs
    assert (pair.accuracy, pair.mcnemar_p, pair.macro_f1) == (expected.accuracy, expected.mcnemar_p, expected.macro_f1)
    assert pair.accuracy


def test_a_run_that_is_not_finished_is_said(same: list[Path], small: Config) -> None:
    folder = shutil.copytree(same[0], same[0].with_name("short-seed0"))
    rows = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text(rows[0])
    *_, caution = compare([same[1], folder], workers=0, num_resamples=500).verdict
    assert caution == "short-seed0 is not finished (1 of 3 epochs): its score says little."


def test_a_repeated_seed_is_no_new_one(same: list[Path], tmp_path: Path) -> None:
    again = shutil.copytree(same[1], tmp_path / "again")
    *_, caution = compare([*same, again], workers=0, num_resamples=500).verdict
    assert caution == "Seed 1 is there 2 times (same-seed1, again): the spread over seeds is too small."


def test_other_training_photos_are_another_recipe(same: list[Path], small: Config, tmp_path: Path) -> None:
    """The same config, and the same val photos."""
    other = write_data(tmp_path / "other", train=24)
    (other / "val").mkdir(exist_ok=True)
    val = "tfrecords-jpeg-32x32/val"
    shutil.rmtree(other / val)
    shutil.copytree(small.data / val, other / val)
    fewer = trained(dataclasses.replace(small, data=other, runs=tmp_path / "runs"), "same", 5)
    comparison = compare([*same, fewer], workers=0, num_resamples=500)
    assert sorted(len(recipe.members) for recipe in comparison.recipes) == [1, 3]


def test_shares_of_the_data(small: Config, tmp_path: Path) -> None:
    toml = tmp_path / "tiny.toml"
    toml.write_text('[model]\nname = "timm:test_resnet"\n[train]\nbatch_size = 8\n[optim]\nlr = 0.02\n')
    other = tmp_path / "other.toml"
    other.write_text('base = "tiny.toml"\n[optim]\nlr = 0.001\n')
    table = data_efficiency([str(toml), str(other)], [1.0, 0.25], seeds=[0, 1], changes=small, epochs=1)
    assert table[["experiment", "share", "photos"]].drop_duplicates().to_numpy().tolist() == [
        ["tiny", 0.25, 10],
        ["tiny", 1.0, 40],
        ["other", 0.25, 10],
        ["other", 1.0, 40],
    ]
    assert json.loads((small.runs / "tiny-share0.25-seed1/config.json").read_text())["train"]["share"] == 0.25
    assert Run(small.runs / "tiny-share0.25-seed1").metrics[-1]["step"] == 10 // 8
    summary = data_efficiency_summary(table)
    assert summary["share"].tolist() == [0.25, 1.0]
    assert {"tiny", "other", "tiny sd", "other sd"} <= set(summary.columns)
    assert len(data_efficiency_figure(table).axes[0].lines) == 4
    with pytest.raises(UserError, match="fractions above 0 and up to 1"):
        data_efficiency([str(toml)], [0.0])


def test_the_command(same: list[Path], lazy: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from corolla.cli import run_command

    arguments = ["compare", *map(str, [*same, *lazy]), "--out", str(tmp_path / "out/c"), "--workers", "0"]
    assert run_command(arguments) == 0
    said = capsys.readouterr().out
    assert "same" in said
    assert "lazy" in said
    content = json.loads((tmp_path / "out/c.json").read_text())
    assert {"recipes", "differences", "verdict"} <= set(content)
    assert "macro F1" in (tmp_path / "out/c.csv").read_text()
    assert (tmp_path / "out/c.html").read_text().lower().startswith("<!doctype html>")


def test_the_command_trains_shares(small: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from corolla.cli import run_command

    toml = tmp_path / "tiny.toml"
    toml.write_text('[model]\nname = "timm:test_resnet"\n[train]\nbatch_size = 8\n')
    arguments = ["compare", str(toml), "--fractions", "0.5", "1", "--epochs", "1", "--data", str(small.data)]
    arguments += ["--runs", str(tmp_path / "runs"), "--workers", "0", "--device", "cpu"]
    assert run_command(arguments) == 0
    assert "0.500" in capsys.readouterr().out
    assert (tmp_path / "runs/comparison-shares.png").read_bytes().startswith(b"\x89PNG")
    assert len((tmp_path / "runs/comparison-shares.csv").read_text().splitlines()) == 3
