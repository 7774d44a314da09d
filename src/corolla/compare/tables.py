"""The tables of a comparison, for the terminal, CSV, JSON and the report."""

from dataclasses import asdict
from typing import Any

import pandas as pd

from corolla.compare.compare import Comparison
from corolla.compare.convergence import FRACTIONS, OWN_FRACTION, convergences, cost, sooner

OWN_PLATEAU = f"epochs to {OWN_FRACTION:.0%} of its own plateau"


def recipe_table(comparison: Comparison) -> pd.DataFrame:
    """Return a row per recipe: seeds, means and sds of the scores, interval over images, and the best epoch's score."""
    return comparison.to_pandas()


def run_table(comparison: Comparison) -> pd.DataFrame:
    """Return a row per run: its recipe, seed, epochs and scores."""
    rows = [
        {
            "run": member.name,
            "recipe": recipe.name,
            "seed": member.seed,
            "epochs": None if member.is_imported else len(member.rows),
            "macro F1": member.scores.macro_f1,
            "top-1": member.scores.top1,
            "top-5": member.scores.top5,
            "loss": member.scores.loss,
            "best epoch (chosen on val)": member.best_macro_f1,
        }
        for recipe in comparison.recipes
        for member in recipe.members
    ]
    return pd.DataFrame(rows)


def difference_table(comparison: Comparison) -> pd.DataFrame:
    """Return a row per pair of recipes: the difference in macro F1, its interval and its p values."""
    rows = [
        {
            "first": d.first,
            "second": d.second,
            "macro F1": d.effect.value,
            "95 % low": d.effect.low,
            "95 % high": d.effect.high,
            "p": d.effect.p,
            "p adjusted": d.p_adjusted,
            "shown": d.significant,
        }
        for d in comparison.differences
    ]
    return pd.DataFrame(rows)


def pair_table(comparison: Comparison) -> pd.DataFrame:
    """Return a row per pair of runs: McNemar for accuracy, paired bootstrap for macro F1."""
    return pd.DataFrame([asdict(pair) for pair in comparison.pairs])


def convergence_table(comparison: Comparison) -> pd.DataFrame:
    """Return a row per run: epochs and minutes to fractions of the best macro F1, lr drops, losses, its own plateau."""
    rows = []
    for convergence in convergences(comparison.members):
        row: dict[str, Any] = {"run": convergence.name}
        for fraction, time in zip(FRACTIONS, convergence.times, strict=True):
            row |= {f"epochs to {fraction:.0%}": time.epoch, f"minutes to {fraction:.0%}": time.minutes}
        row |= {
            "lr drops": " ".join(map(str, convergence.lr_drops)),
            "train loss": convergence.train_loss,
            "val loss": convergence.val_loss,
            "gap": convergence.gap,
            "train top-1": convergence.train_top1,
            "plateau": convergence.plateau,
            OWN_PLATEAU: convergence.epochs_to_plateau,
            "epoch of the lowest val loss": convergence.lowest_loss,
        }
        rows.append(row)
    return pd.DataFrame(rows)


def sooner_table(comparison: Comparison) -> pd.DataFrame:
    """Return a row per pair of recipes: by how many epochs the first is ahead, mean over the seeds."""
    rows = []
    for pair in sooner(comparison.recipes):
        (own, other), (lowest, others_lowest) = pair.epochs_to_plateau, pair.lowest_loss
        rows.append(
            {
                "first": pair.first,
                "second": pair.second,
                f"first, {OWN_PLATEAU}": own,
                f"second, {OWN_PLATEAU}": other,
                "first sooner by": pair.by[0],
                "first, lowest val loss": lowest,
                "second, lowest val loss": others_lowest,
                "first's lowest sooner by": pair.by[1],
            }
        )
    return pd.DataFrame(rows)


def cost_table(comparison: Comparison) -> pd.DataFrame:
    """Return a row per run: epochs, time, images, size of the network, memory."""
    return pd.DataFrame([asdict(cost(member)) for member in comparison.members])


def all_tables(comparison: Comparison) -> dict[str, pd.DataFrame]:
    """Return the tables by their names in the JSON file, in the order in which they are read."""
    return {
        "recipes": recipe_table(comparison),
        "differences": difference_table(comparison),
        "runs": run_table(comparison),
        "pairs": pair_table(comparison),
        "course": convergence_table(comparison),
        "sooner": sooner_table(comparison),
        "cost": cost_table(comparison),
    }
