"""The calibration of recipes: is a network right as often as it is confident?"""

import numpy as np

from corolla.compare.compare import Comparison
from corolla.compare.report.tables import Cell, Table, cell, make_table, spread_cell
from corolla.compare.statistics import Calibration, calibration


def calibrations(comparison: Comparison) -> dict[str, Calibration]:
    """Return the calibration of every recipe, its seeds' predictions pooled."""
    return {
        recipe.name: calibration(
            np.concatenate([member.probabilities for member in recipe.members]),
            np.concatenate([member.labels for member in recipe.members]),
        )
        for recipe in comparison.recipes
    }


def calibration_table(comparison: Comparison) -> Table:
    """Return the expected calibration error of every recipe, mean over its seeds."""
    columns: dict[str, list[Cell]] = {"recipe": [], "ECE": [], "mean confidence": [], "accuracy": []}
    for recipe in comparison.recipes:
        errors = [calibration(member.probabilities, member.labels).ece for member in recipe.members]
        sd = float(np.std(errors, ddof=1)) if len(errors) > 1 else None
        confidence = np.mean([member.probabilities.max(1).mean() for member in recipe.members])
        accuracy = np.mean([member.scores.top1 for member in recipe.members])
        columns["recipe"].append(cell(recipe.name))
        columns["ECE"].append(spread_cell(float(np.mean(errors)), sd))
        columns["mean confidence"].append(cell(float(confidence), ".3f"))
        columns["accuracy"].append(cell(float(accuracy), ".3f"))
    return make_table("Expected calibration error (15 bins)", columns)
