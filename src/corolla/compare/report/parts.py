"""Parts of the report that are computed here: calibration, ensembles, and what the runs were made with."""

import itertools

import numpy as np

from corolla.compare.compare import Comparison
from corolla.compare.recipes import Member, Recipe
from corolla.compare.report.tables import Cell, Table, cell, make_table, spread
from corolla.compare.statistics import Calibration, calibration
from corolla.ensemble.rules import aggregate
from corolla.evaluation.metrics import macro_f1

DIGITS = 12  # of a commit or a fingerprint: enough to tell them apart


def calibrations(comparison: Comparison) -> dict[str, Calibration]:
    """Of every recipe, its seeds' predictions pooled."""
    return {
        recipe.name: calibration(
            np.concatenate([member.probabilities for member in recipe.members]),
            np.concatenate([member.labels for member in recipe.members]),
        )
        for recipe in comparison.recipes
    }


def calibration_table(comparison: Comparison) -> Table:
    """Expected calibration error of every recipe, mean over its seeds."""
    columns: dict[str, list[Cell]] = {"recipe": [], "ECE": [], "mean confidence": [], "accuracy": []}
    for recipe in comparison.recipes:
        errors = [calibration(member.probabilities, member.labels).ece for member in recipe.members]
        sure = np.mean([member.probabilities.max(1).mean() for member in recipe.members])
        right = np.mean([member.scores.top1 for member in recipe.members])
        columns["recipe"].append(cell(recipe.name))
        columns["ECE"].append(_spread(errors))
        columns["mean confidence"].append(cell(float(sure), ".3f"))
        columns["accuracy"].append(cell(float(right), ".3f"))
    return make_table("Expected calibration error (15 bins)", columns)


def _spread(values: list[float]) -> Cell:
    return spread(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)


def ensemble_table(comparison: Comparison) -> Table | None:
    """Mean of the probabilities: of all seeds of a recipe, and of several recipes; None of one run alone."""
    teams: list[tuple[str, list[Member]]] = [
        (f"all {len(recipe.members)} seeds of {recipe.name}", list(recipe.members))
        for recipe in comparison.recipes
        if len(recipe.members) > 1
    ]
    if len(comparison.recipes) > 1:
        teams += [(f"best run of {a.name} + {b.name}", [_best(a), _best(b)]) for a, b in _pairs(comparison)]
        if len(comparison.recipes) > 2:
            teams.append(("best run of every recipe", [_best(recipe) for recipe in comparison.recipes]))
        teams.append(("all runs", comparison.members))
    columns: dict[str, list[Cell]] = {"members": [], "number": [], "single, mean": [], "single, best": []}
    columns |= {"together": [], "gain over the best": []}
    done = set[tuple[str, ...]]()
    for title, team in teams:
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


def _best(recipe: Recipe) -> Member:
    return max(recipe.members, key=lambda member: member.scores.macro_f1)


def _pairs(comparison: Comparison) -> list[tuple[Recipe, Recipe]]:
    """Of three recipes at most: a table of dozens of pairs is not read."""
    return list(itertools.combinations(comparison.recipes[:3], 2))


def environment_table(comparison: Comparison) -> Table:
    """What every run was made with, from its environment.json."""
    columns: dict[str, list[Cell]] = {}
    for member in comparison.members:
        known = member.run.environment
        versions = known.get("versions", {})
        facts = {"run": member.name, "experiment": known.get("experiment"), "commit": _short(known.get("git_commit"))}
        facts |= {name: versions.get(name) for name in ("corolla", "torch", "torchvision", "timm")}
        facts |= {name: known.get(name) for name in ("python", "device", "precision")}
        prints = known.get("fingerprint") or {}
        facts |= {f"{split} data": _short(prints.get(split)) for split in ("train", comparison.split)}
        for title, value in facts.items():
            columns.setdefault(title, []).append(cell(value))
    return make_table("What the runs were made with", columns)


def _short(text: str | None) -> str | None:
    if not text or len(text) < DIGITS:
        return text
    return text[:DIGITS] + ("-dirty" if text.endswith("-dirty") else "")
