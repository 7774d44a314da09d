"""Runs against each other: grouped by recipe, tested on the same images, and said with care."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from support import changed, set_history, write_data

from corolla.compare.compare import compare
from corolla.compare.tables import all_tables
from corolla.config import Config, ModelConfig
from corolla.errors import UserError
from corolla.evaluation.compute import PredictOptions
from corolla.runs.folder import Run
from corolla.temporary import is_temporary
from corolla.training.train import train


@pytest.fixture
def good(copy_run: Callable[..., Path]) -> list[Path]:
    """Three seeds of one recipe."""
    return [copy_run("good", right=right, seed=seed) for seed, right in enumerate((16, 15, 16))]


@pytest.fixture
def poor(copy_run: Callable[..., Path]) -> list[Path]:
    """Three seeds of another."""
    return [copy_run("poor", right=right, seed=seed, lr=1e-6) for seed, right in enumerate((4, 5, 4))]


def test_seeds_of_one_recipe_show_no_difference(good: list[Path]) -> None:
    comparison = compare(good, workers=0)
    (recipe,) = comparison.recipes
    assert (recipe.name, len(recipe.members)) == ("good", 3)
    assert comparison.differences == ()
    (sentence,) = comparison.verdict
    assert sentence.startswith("No difference shown: these are 3 seeds of one recipe, good, with macro F1 0.9")
    assert " ± 0.0" in sentence
    assert len(comparison.pairs) == 3


def test_recipes_are_told_apart(good: list[Path], poor: list[Path]) -> None:
    comparison = compare([*poor, *good], workers=0)
    assert [recipe.name for recipe in comparison.recipes] == ["good", "poor"]
    (difference,) = comparison.differences
    assert difference.effect.value == pytest.approx(comparison.recipes[0].mean - comparison.recipes[1].mean)
    assert difference.effect.low < difference.effect.value < difference.effect.high
    assert difference.significant
    assert difference.sentence.startswith("good is better than poor: macro F1 +0.")
    assert difference.sentence.endswith("p < 0.001).")
    assert len(comparison.pairs) == 15
    same = dataclasses.replace(difference, p_adjusted=0.0512)
    assert not same.significant
    assert same.sentence.startswith("No difference shown between good and poor: macro F1 +0.")
    assert same.sentence.endswith("p = 0.051).")


def test_recipes_that_are_equally_good_are_not(copy_run: Callable[..., Path]) -> None:
    runs = [copy_run(name, right=12, lr=lr) for name, lr in (("a", 0.1), ("b", 0.2))]
    (difference,) = compare(runs, workers=0).differences
    assert (difference.effect.value, difference.significant) == (0, False)


def test_one_seed_each_is_said_to_be_about_the_networks(good: list[Path], poor: list[Path]) -> None:
    (difference,) = compare([good[0], poor[0]], workers=0).differences
    assert "One seed each" in difference.sentence
    assert "One seed each" not in compare([*good[:2], poor[0]], workers=0).verdict[0]


def test_scores_are_of_the_last_epoch_and_those_of_training(trained: Path) -> None:
    (member,) = compare([trained], workers=0).members
    last = member.rows[-1]
    assert member.scores.macro_f1 == pytest.approx(last["macro_f1"], abs=1e-6)
    assert member.scores.top1 == pytest.approx(last["top1"])
    assert member.scores.loss == pytest.approx(last["val_loss"], rel=1e-12)
    assert member.best_macro_f1 == max(row["macro_f1"] for row in member.rows)
    assert (member.run.folder / "predictions/val-none-last.npz").exists()


def test_a_run_has_one_loss_even_where_float32_has_a_probability_as_0(small: Config, tmp_path: Path) -> None:
    config = dataclasses.replace(small, runs=tmp_path, model=ModelConfig(name="resnet18", width=0.1))
    run = train(changed(changed(config, "optim", lr=5.0), "train", epochs=1))
    comparison = compare([run.folder], workers=0, num_resamples=10)
    assert (comparison.members[0].probabilities == 0).any(), "it must have gone astray for this test"
    tables = all_tables(comparison)
    columns = (("recipes", "loss"), ("runs", "loss"), ("course", "val loss"))
    for name, column in columns:
        assert tables[name][column].tolist() == pytest.approx([run.metrics[-1]["val_loss"]], rel=1e-12), name


def test_options_decide_what_is_predicted(trained: Path) -> None:
    options = PredictOptions(split="test", checkpoint="best", device="cpu", workers=0)
    comparison = compare([trained], options, tta="flip")
    assert (comparison.split, comparison.checkpoint, comparison.tta) == ("val", "best", "flip")
    assert (trained / "predictions/val-flip.npz").exists()
    again = compare([trained], checkpoint="best", num_resamples=10, workers=0)
    assert again.tta == "flip", "the views that are there"


def test_every_table_has_its_rows(good: list[Path], poor: list[Path]) -> None:
    tables = all_tables(compare([*good, *poor], workers=0))
    assert {name: len(table) for name, table in tables.items()} == {
        "recipes": 2,
        "differences": 1,
        "runs": 6,
        "pairs": 15,
        "course": 6,
        "sooner": 1,
        "cost": 6,
    }
    assert tables["differences"]["shown"].tolist() == [True]
    cost = tables["cost"].set_index("name").loc["good-seed0"]
    assert cost["images"] == 3 * 40
    assert cost["parameters"] > 1000
    assert cost["multiply_adds"] > 1000


def test_runs_of_other_data_are_refused(trained: Path, small: Config, tmp_path: Path) -> None:
    other = dataclasses.replace(small, data=write_data(tmp_path / "other", val=10), runs=tmp_path / "runs")
    other = dataclasses.replace(other, train=dataclasses.replace(small.train, epochs=1))
    with pytest.raises(UserError, match="its val images are not those of"):
        compare([trained, train(other).folder], workers=0)


def test_another_val_than_a_run_was_trained_beside_is_said(good: list[Path]) -> None:
    path = good[0] / "environment.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps(facts | {"fingerprint": {**facts["fingerprint"], "val": "0" * 64}}))
    comparison = compare(good[:2], workers=0, num_resamples=10)
    (caution,) = comparison.recipes[0].cautions
    assert caution.startswith("good-seed0 was trained beside another val than this one, ")
    assert caution in comparison.verdict


def test_corrected_training_photos_are_said(good: list[Path]) -> None:
    path = good[0] / "config.json"
    settings = json.loads(path.read_text())
    path.write_text(
        json.dumps(settings | {"train": {**settings["train"], "corrections_sha256": "0123456789abcdef" * 4}})
    )
    caution = (
        "good-seed0 has learned from corrected training photos (corrections.csv in its folder, SHA-256 0123456789ab)."
    )
    assert caution in compare(good[:2], workers=0, num_resamples=10).verdict


def test_mistakes_are_named(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name at least one"):
        compare([])
    with pytest.raises(UserError, match="is named twice"):
        compare([trained, trained])
    with pytest.raises(UserError, match="no run is in this folder"):
        compare([tmp_path])


def test_runs_of_one_name_are_told_apart(copy_run: Callable[..., Path], tmp_path: Path) -> None:
    """The same folder name in two places: neither is tested against itself."""
    first, other = (
        copy_run("same", right=16),
        copy_run("same", right=2, lr=1e-6, runs=tmp_path / "elsewhere"),
    )
    comparison = compare([first, other], workers=0, num_resamples=500)
    assert {member.name for member in comparison.members} == {str(first), str(other)}
    assert len({recipe.name for recipe in comparison.recipes}) == 2
    (pair,) = comparison.pairs
    assert (pair.first, pair.accuracy) == (str(first), 14 / 16)
    assert pair.mcnemar_p == pytest.approx(2 / 2**14)


def test_a_run_that_is_not_finished_is_said(good: list[Path]) -> None:
    run = Run(good[0])
    set_history(run, run.metrics[:1])
    *_, caution = compare(good[:2], workers=0, num_resamples=500).verdict
    assert caution == "good-seed0 is not finished (1 of 3 epochs): its score says little."


def test_a_repeated_seed_is_no_new_one(good: list[Path], tmp_path: Path) -> None:
    again = shutil.copytree(good[1], tmp_path / "again")
    *_, caution = compare([*good, again], workers=0, num_resamples=500).verdict
    assert caution == "Seed 1 is there 2 times (good-seed1, again): the spread over seeds is too small."


def test_the_command(
    good: list[Path],
    poor: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from corolla.cli import run_command

    savefig, files = Figure.savefig, list[str]()

    def save(figure: Figure, place: Any, **how: Any) -> None:
        if isinstance(place, Path | str):
            files.append(Path(place).name)
        savefig(figure, place, **how)

    monkeypatch.setattr(Figure, "savefig", save)
    arguments = ["compare", *map(str, [*good, *poor]), "--out", str(tmp_path / "out/c"), "--workers", "0"]
    assert run_command(arguments) == 0
    assert "good is better than poor" in capsys.readouterr().out
    content = json.loads((tmp_path / "out/c.json").read_text())
    assert {"recipes", "differences", "verdict"} <= set(content)
    assert "macro F1" in (tmp_path / "out/c.csv").read_text()
    assert (tmp_path / "out/c.html").read_text().lower().startswith("<!doctype html>")
    assert (tmp_path / "out/c.png").read_bytes().startswith(b"\x89PNG")
    assert all(map(is_temporary, files)), "a kill would leave half a figure under its name"
    assert len(files) == 1
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_the_command_tells_how_a_run_from_a_checkpoint_is_trained_again(good: list[Path], tmp_path: Path) -> None:
    from corolla.cli import run_command

    for name, key, value in (("config", "init_sha256", "ab" * 32), ("environment", "init_from", "my runs/last.pt")):
        content = json.loads((good[0] / f"{name}.json").read_text())
        (good[0] / f"{name}.json").write_text(json.dumps(content | {key: value}))
    assert run_command(["compare", str(good[0]), "--out", str(tmp_path / "c"), "--workers", "0"]) == 0
    assert "--run-name good-seed0 --init-from &#39;my runs/last.pt&#39;" in (tmp_path / "c.html").read_text()
