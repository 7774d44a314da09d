"""The tables of the report: the texts of their cells, and the values these are sorted by."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from corolla.compare.compare import Comparison
from corolla.compare.convergence import FRACTIONS
from corolla.compare.formatting import p_value, spread
from corolla.compare.statistics import calibration
from corolla.compare.tables import (
    OWN_PLATEAU,
    convergence_table,
    cost_table,
    difference_table,
    pair_table,
    recipe_table,
    run_table,
    sooner_table,
)

MISSING = "–"
NUM_DIGITS = 12  # of a commit or a fingerprint: enough to tell them apart


@dataclass(frozen=True)
class Cell:
    """A cell of a table."""

    text: str
    sort: float | None = None
    """Number that it is sorted by. None: it is sorted by its text, and comes last in a column of numbers."""


@dataclass(frozen=True)
class Table:
    """A table as the template and the terminal write it."""

    caption: str
    titles: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[Cell, ...], ...]
    searchable: bool = False
    tall: bool = False
    """True where it scrolls inside a box of its own, its titles staying in sight."""


def cell(value: Any, form: str = "") -> Cell:
    """Return a cell with a value; `form` is the format of numbers, as in f-strings."""
    if value is None or (isinstance(value, float | np.floating) and math.isnan(value)):
        return Cell(MISSING)
    if isinstance(value, bool | np.bool_):
        return Cell("yes" if value else "no")
    if isinstance(value, int | float | np.number):
        return Cell(format(float(value), form), float(value))
    return Cell(str(value) or MISSING)


def spread_cell(mean: float, sd: float | None) -> Cell:
    """Return a mean and its standard deviation, sorted by the mean."""
    return Cell(spread(mean, sd), float(mean))


def interval_cell(low: float, high: float, form: str = ".3f") -> Cell:
    """Return an interval, sorted by its middle."""
    return Cell(f"{low:{form}} to {high:{form}}", float(low + high) / 2)


def p_cell(p: float) -> Cell:
    """Return a p value: `0.012`, or `< 0.001`."""
    return Cell(p_value(p).removeprefix("= "), float(p))


def make_table(
    caption: str, columns: Mapping[str, Sequence[Cell]], *, searchable: bool = False, tall: bool = False
) -> Table:
    """Return a table with the cells of every column, by its title."""
    numeric = tuple(any(c.sort is not None for c in cells) for cells in columns.values())
    return Table(
        caption, tuple(columns), numeric, tuple(zip(*columns.values(), strict=True)), searchable, searchable or tall
    )


def _table(caption: str, frame: pd.DataFrame, columns: Mapping[str, tuple[str, str]]) -> Table:
    """Return a table of columns of `frame`: from a column's name to its title and the format of its numbers."""
    cells = {title: [cell(v, form) for v in frame[name].tolist()] for name, (title, form) in columns.items()}
    return make_table(caption, cells)


def recipes_view(comparison: Comparison) -> Table:
    """Return the recipes: mean ± standard deviation over seeds, and the interval over images."""
    frame = recipe_table(comparison)
    columns = {
        "recipe": [cell(name) for name in frame["recipe"]],
        "seeds": [cell(n, ".0f") for n in frame["seeds"]],
        "macro F1": _spreads(frame, "macro F1", "sd"),
        "95 % interval": _spans(frame, ".3f"),
    }
    columns |= {title: _spreads(frame, title, f"{title} sd") for title in ("top-1", "top-5", "loss")}
    best = "best epoch (chosen on val)"
    columns[best] = [cell(value, ".3f") for value in frame[best]]
    return make_table("Recipes by falling macro F1", columns)


def _spreads(frame: pd.DataFrame, mean: str, sd: str) -> list[Cell]:
    return [
        spread_cell(float(m), None if pd.isna(s) else float(s)) for m, s in zip(frame[mean], frame[sd], strict=True)
    ]


def _spans(frame: pd.DataFrame, form: str) -> list[Cell]:
    low, high = ("95 % low", "95 % high") if "95 % low" in frame else ("low", "high")
    return [interval_cell(a, b, form) for a, b in zip(frame[low], frame[high], strict=True)]


def differences_view(comparison: Comparison) -> Table | None:
    """Return a row per pair of recipes; None for one recipe alone."""
    if not comparison.differences:
        return None
    frame = difference_table(comparison)
    columns = {
        "first": [cell(name) for name in frame["first"]],
        "second": [cell(name) for name in frame["second"]],
        "first − second": [cell(value, "+.3f") for value in frame["macro F1"]],
        "95 % interval": _spans(frame, "+.3f"),
        "p": [p_cell(p) for p in frame["p"]],
        "p adjusted": [p_cell(p) for p in frame["p adjusted"]],
        "significant": [cell(bool(significant)) for significant in frame["shown"]],
    }
    return make_table("Differences in macro F1 between recipes", columns)


def runs_view(comparison: Comparison) -> Table:
    """Return a row per run."""
    frame = run_table(comparison)
    columns = {name: (name, "") for name in ("run", "recipe")} | {name: (name, ".0f") for name in ("seed", "epochs")}
    scores = ("macro F1", "top-1", "top-5", "loss", "best epoch (chosen on val)")
    return _table("Single runs", frame, columns | {name: (name, ".3f") for name in scores})


def pairs_view(comparison: Comparison) -> Table | None:
    """Return a row per pair of runs; None for one run alone."""
    if not comparison.pairs:
        return None
    frame = pair_table(comparison)
    columns = {
        "first": [cell(name) for name in frame["first"]],
        "second": [cell(name) for name in frame["second"]],
        "accuracy": [cell(value, "+.3f") for value in frame["accuracy"]],
        "p (McNemar)": [p_cell(p) for p in frame["mcnemar_p"]],
        "adjusted": [p_cell(p) for p in frame["mcnemar_p_adjusted"]],
        "macro F1": [cell(value, "+.3f") for value in frame["macro_f1"]],
        "95 % interval": _spans(frame, "+.3f"),
        "p (bootstrap)": [p_cell(p) for p in frame["bootstrap_p"]],
        "p adjusted": [p_cell(p) for p in frame["bootstrap_p_adjusted"]],
    }
    return make_table("Pairs of runs, first minus second", columns)


def convergence_view(comparison: Comparison) -> Table:
    """Return a row per run: the epochs and minutes in which it reached fractions of the best macro F1."""
    frame = convergence_table(comparison)
    columns = {"run": [cell(name) for name in frame["run"]]}
    for percent in (f"{fraction:.0%}" for fraction in FRACTIONS):
        pairs = zip(frame[f"epochs to {percent}"], frame[f"minutes to {percent}"], strict=True)
        columns[f"epoch (min) of {percent}"] = [_time_cell(epoch, minutes) for epoch, minutes in pairs]
    columns["lr drops"] = [cell(drops) for drops in frame["lr drops"]]
    for name, form in (("train loss", ".3f"), ("val loss", ".3f"), ("gap", "+.3f"), ("train top-1", ".3f")):
        columns[name] = [cell(value, form) for value in frame[name]]
    for name, form in (("plateau", ".3f"), (OWN_PLATEAU, ".0f"), ("epoch of the lowest val loss", ".0f")):
        columns[name] = [cell(value, form) for value in frame[name]]
    return make_table("Epoch (and minutes) in which a run reached a fraction of the best macro F1", columns)


def sooner_view(comparison: Comparison) -> Table | None:
    """Return a row per pair of recipes: how many epochs the first is ahead; None for one recipe alone."""
    frame = sooner_table(comparison)
    if frame.empty:
        return None
    columns = {name: (name, "+.1f" if "sooner" in name else ".1f") for name in frame}
    return _table("Epochs in which recipes reach their own plateaus, means of the seeds", frame, columns)


def _time_cell(epoch: float | None, minutes: float | None) -> Cell:
    if epoch is None or math.isnan(epoch):
        return Cell(MISSING)
    time = "" if minutes is None or math.isnan(minutes) else f" ({minutes:.1f})"
    return Cell(f"{epoch:.0f}{time}", float(epoch))


def cost_view(comparison: Comparison) -> Table:
    """Return a row per run: time, images, size of the network, memory."""
    frame = cost_table(comparison)
    frame = frame.assign(parameters=frame["parameters"] / 1e6, multiply_adds=frame["multiply_adds"] / 1e9)
    columns = {
        "name": ("run", ""),
        "epochs": ("epochs", ".0f"),
        "minutes": ("minutes", ".1f"),
        "images": ("images", ",.0f"),
        "images_per_s": ("images/s", ".0f"),
        "parameters": ("parameters (millions)", ".2f"),
        "multiply_adds": ("multiply-adds (billions)", ".3f"),
        "memory_mib": ("memory (MiB)", ",.0f"),
    }
    return _table("Cost of training", frame, columns)


def calibration_view(comparison: Comparison) -> Table:
    """Return the expected calibration error of every recipe, mean over its seeds."""
    columns: dict[str, list[Cell]] = {"recipe": [], "ECE": [], "mean confidence": [], "accuracy": []}
    for recipe in comparison.recipes:
        errors = [calibration(member.probabilities, member.labels).ece for member in recipe.members]
        confidence = np.mean([member.probabilities.max(1).mean() for member in recipe.members])
        accuracy = np.mean([member.scores.top1 for member in recipe.members])
        columns["recipe"].append(cell(recipe.name))
        sd = float(np.std(errors, ddof=1)) if len(errors) > 1 else None
        columns["ECE"].append(spread_cell(float(np.mean(errors)), sd))
        columns["mean confidence"].append(cell(float(confidence), ".3f"))
        columns["accuracy"].append(cell(float(accuracy), ".3f"))
    return make_table("Expected calibration error (15 bins)", columns)


def environment_view(comparison: Comparison) -> Table:
    """Return a row per run: the versions, device and data that it was trained with."""
    corrected = {member.name: member.run.config.train.corrections_sha256 for member in comparison.members}
    columns: dict[str, list[Cell]] = {}
    for member in comparison.members:
        known = member.run.environment
        if member.is_imported:  # it tells of the import, not of the training
            known = dict[str, Any](experiment="imported")
        versions = known.get("versions", {})
        facts = {"run": member.name, "experiment": known.get("experiment"), "commit": _short(known.get("git_commit"))}
        facts |= {name: versions.get(name) for name in ("corolla", "torch", "torchvision", "timm")}
        facts |= {name: known.get(name) for name in ("python", "device", "precision")}
        fingerprints = known.get("fingerprint") or {}
        facts |= {f"{split} data": _short(fingerprints.get(split)) for split in ("train", comparison.split)}
        if any(corrected.values()):
            facts["corrections"] = _short(corrected[member.name])
        for title, value in facts.items():
            columns.setdefault(title, []).append(cell(value))
    return make_table("What the runs were made with", columns)


def _short(text: str | None) -> str | None:
    if not text or len(text) < NUM_DIGITS:
        return text
    return text[:NUM_DIGITS] + ("-dirty" if text.endswith("-dirty") else "")
