"""The experiments' docstrings promise the figures of the kept measurements."""

import csv
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
