"""The experiments' docstrings promise the figures of the kept measurements, and nothing else."""

import csv
import re
import statistics
from pathlib import Path

import pytest

from corolla.config.experiments import EXPERIMENTS

RUNS = Path(__file__).parents[2] / "docs" / "results" / "recipes.csv"


@pytest.mark.parametrize(
    ("experiment", "runs"),
    [
        ("scratch_best", "flowers-scratch"),
        ("transfer_best", "flowers-transfer"),
        ("transfer_best", "flowers-transfer17"),
    ],
)
def test_an_experiments_figures_are_those_of_three_seeds(experiment: str, runs: str) -> None:
    with RUNS.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["name"].rpartition("-")[0] == runs]
    assert [row["seed"] for row in rows] == ["0", "1", "2"]
    assert {row["state"] for row in rows} == {"done"}
    scores = [float(row["last F1"]) for row in rows]
    promised = " ".join((EXPERIMENTS[experiment].__doc__ or "").split())
    assert f"{statistics.mean(scores):.3f} ± {statistics.stdev(scores):.3f}" in promised


@pytest.mark.parametrize("experiment", ["plain34", "resnet34", "resnet50", "resnet50_pretrained"])
def test_the_reports_presets_promise_nothing_and_say_what_it_did(experiment: str) -> None:
    """It trained four times as long, and evaluated in another way."""
    text = " ".join((EXPERIMENTS[experiment].__doc__ or "").split())
    assert "Expect" not in text
    assert not re.search(r"0\.[6-9]\d", text)
    assert "four times as long" in text
    assert "plain centre crop" in text
    assert "--train.repeat 4 --augment.crop-fraction 1" in text
    config = EXPERIMENTS[experiment]()
    assert (config.train.repeat, config.augment.crop_fraction) == (1, None), "the presets stay"
