"""The tables of the report: what a cell says, and what it is sorted by."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from corolla.compare.compare import Comparison
from corolla.compare.convergence import SHARES
from corolla.compare.tables import cost_table, course_table, difference_table, pair_table, recipe_table, run_table

MISSING = "–"


@dataclass(frozen=True)
class Cell:
    """`sort` None of a cell with text: it is sorted by that; of an empty one: it comes last."""

    text: str
    sort: float | None = None


@dataclass(frozen=True)
class Table:
    """As the template draws it."""

    caption: str
    titles: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[Cell, ...], ...]
    searchable: bool = False


def cell(value: Any, form: str = "") -> Cell:
    """A value, `form` being how a number is written."""
    if value is None or (isinstance(value, float | np.floating) and math.isnan(value)):
        return Cell(MISSING)
    if isinstance(value, bool | np.bool_):
        return Cell("yes" if value else "no")
    if isinstance(value, int | float | np.number):
        return Cell(format(float(value), form), float(value))
    return Cell(str(value) or MISSING)


def spread(mean: float, sd: float | None) -> Cell:
    """`0.591 ± 0.004`."""
    around = "" if sd is None or math.isnan(sd) else f" ± {sd:.3f}"
    return Cell(f"{mean:.3f}{around}", float(mean))


def span(low: float, high: float, form: str = ".3f") -> Cell:
    """An interval, sorted by its middle."""
    return Cell(f"{low:{form}} to {high:{form}}", float(low + high) / 2)


def p_value(p: float) -> Cell:
    return Cell("< 0.001" if p < 0.001 else f"{p:.3f}", float(p))


def make_table(caption: str, columns: Mapping[str, Sequence[Cell]], *, searchable: bool = False) -> Table:
    """From the cells of every column, by its title."""
    numeric = tuple(any(c.sort is not None for c in cells) for cells in columns.values())
    return Table(caption, tuple(columns), numeric, tuple(zip(*columns.values(), strict=True)), searchable)


def _table(caption: str, frame: pd.DataFrame, columns: Mapping[str, tuple[str, str]]) -> Table:
    """Columns of a frame, by their name there: title and how numbers are written."""
    cells = {title: [cell(v, form) for v in frame[name].tolist()] for name, (title, form) in columns.items()}
    return make_table(caption, cells)


def recipes_view(comparison: Comparison) -> Table:
    """Mean ± standard deviation over seeds, and the interval over images."""
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
    return [spread(float(m), None if pd.isna(s) else float(s)) for m, s in zip(frame[mean], frame[sd], strict=True)]


def _spans(frame: pd.DataFrame, form: str) -> list[Cell]:
    low, high = ("95 % low", "95 % high") if "95 % low" in frame else ("low", "high")
    return [span(a, b, form) for a, b in zip(frame[low], frame[high], strict=True)]


def differences_view(comparison: Comparison) -> Table | None:
    """None of one recipe alone."""
    if not comparison.differences:
        return None
    frame = difference_table(comparison)
    columns = {
        "first": [cell(name) for name in frame["first"]],
        "second": [cell(name) for name in frame["second"]],
        "first − second": [cell(value, "+.3f") for value in frame["macro F1"]],
        "95 % interval": _spans(frame, "+.3f"),
        "p": [p_value(p) for p in frame["p"]],
        "p adjusted": [p_value(p) for p in frame["p adjusted"]],
        "difference shown": [cell(bool(shown)) for shown in frame["shown"]],
    }
    return make_table("Differences in macro F1 between recipes", columns)


def runs_view(comparison: Comparison) -> Table:
    """A row per run."""
    frame = run_table(comparison)
    columns = {name: (name, "") for name in ("run", "recipe")} | {name: (name, ".0f") for name in ("seed", "epochs")}
    scores = ("macro F1", "top-1", "top-5", "loss", "best epoch (chosen on val)")
    return _table("Single runs", frame, columns | {name: (name, ".3f") for name in scores})


def pairs_view(comparison: Comparison) -> Table | None:
    """A row per pair of runs; None of one run alone."""
    if not comparison.pairs:
        return None
    frame = pair_table(comparison)
    columns = {
        "first": [cell(name) for name in frame["first"]],
        "second": [cell(name) for name in frame["second"]],
        "accuracy": [cell(value, "+.3f") for value in frame["accuracy"]],
        "p (McNemar)": [p_value(p) for p in frame["mcnemar_p"]],
        "adjusted": [p_value(p) for p in frame["mcnemar_p_adjusted"]],
        "macro F1": [cell(value, "+.3f") for value in frame["macro_f1"]],
        "95 % interval": _spans(frame, "+.3f"),
        "p (bootstrap)": [p_value(p) for p in frame["bootstrap_p"]],
        "p adjusted": [p_value(p) for p in frame["bootstrap_p_adjusted"]],
    }
    return make_table("Pairs of runs, first minus second", columns)


def course_view(comparison: Comparison) -> Table:
    """When each run came how far."""
    frame = course_table(comparison)
    columns = {"run": [cell(name) for name in frame["run"]]}
    for share in (f"{share:.0%}" for share in SHARES):
        pairs = zip(frame[f"epochs to {share}"], frame[f"minutes to {share}"], strict=True)
        columns[f"epoch (min) of {share}"] = [_reached(epoch, minutes) for epoch, minutes in pairs]
    columns["lr drops"] = [cell(drops) for drops in frame["lr drops"]]
    for name, form in (("train loss", ".3f"), ("val loss", ".3f"), ("gap", "+.3f")):
        columns[name] = [cell(value, form) for value in frame[name]]
    return make_table("Epoch (and minutes) of reaching a share of the best macro F1", columns)


def _reached(epoch: float | None, minutes: float | None) -> Cell:
    if epoch is None or math.isnan(epoch):
        return Cell(MISSING)
    time = "" if minutes is None or math.isnan(minutes) else f" ({minutes:.1f})"
    return Cell(f"{epoch:.0f}{time}", float(epoch))


def cost_view(comparison: Comparison) -> Table:
    """What each run took."""
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
