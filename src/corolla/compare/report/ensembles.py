"""Ensembles of the runs compared: what averaging their probabilities is worth."""

import itertools

import numpy as np

from corolla.compare.compare import Comparison
from corolla.compare.recipes import Member, Recipe
from corolla.compare.report.tables import Cell, Table, cell, make_table
from corolla.ensemble.rules import aggregate
from corolla.evaluation.metrics import macro_f1

MAX_PAIRED = 3
"""Recipes that are paired: a table of dozens of pairs is not read."""


def ensembles_view(comparison: Comparison) -> Table | None:
    """Return the macro F1 of averaged probabilities: all seeds of a recipe, and several recipes; None for one run."""
    columns: dict[str, list[Cell]] = {"members": [], "number": [], "single, mean": [], "single, best": []}
    columns |= {"together": [], "gain over the best": []}
    done = set[tuple[str, ...]]()
    for title, team in _teams(comparison):
        key = tuple(sorted(str(member.run.folder) for member in team))
        if key in done:  # two recipes of one run each: the best runs are all runs
            continue
        done.add(key)
        alone = [member.scores.macro_f1 for member in team]
        together = macro_f1(team[0].labels, aggregate([member.probabilities for member in team], "mean"))
        columns["members"].append(cell(title))
        columns["number"].append(cell(len(team), ".0f"))
        for name, value in (("single, mean", np.mean(alone)), ("single, best", max(alone)), ("together", together)):
            columns[name].append(cell(float(value), ".3f"))
        columns["gain over the best"].append(cell(together - max(alone), "+.3f"))
    return make_table("Macro F1 of ensembles", columns) if done else None


def _teams(comparison: Comparison) -> list[tuple[str, list[Member]]]:
    recipes = comparison.recipes
    teams = [
        (f"all {len(recipe.members)} seeds of {recipe.name}", list(recipe.members))
        for recipe in recipes
        if len(recipe.members) > 1
    ]
    if len(recipes) > 1:
        pairs = itertools.combinations(recipes[:MAX_PAIRED], 2)
        teams += [(f"best run of {a.name} + {b.name}", [_best(a), _best(b)]) for a, b in pairs]
        if len(recipes) > 2:
            teams.append(("best run of every recipe", [_best(recipe) for recipe in recipes]))
        teams.append(("all runs", comparison.members))
    return teams


def _best(recipe: Recipe) -> Member:
    return max(recipe.members, key=lambda member: member.scores.macro_f1)
