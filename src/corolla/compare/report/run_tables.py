"""The tables of one run's report."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from corolla.compare.compare import Comparison
from corolla.compare.recipes import Member
from corolla.compare.report.tables import Cell, Table, cell, interval_cell, make_table
from corolla.evaluation.metrics import class_f1
from corolla.plots.confusion import confusion_matrix
from corolla.runs.folder import Run
from corolla.runs.length import best_row
from corolla.runs.settings import telling_settings

SCORES = {"macro F1": "macro_f1", "top-1": "top1", "top-5": "top5"}


def scores_view(comparison: Comparison) -> Table:
    """Return the scores of the checkpoint, last or best, with their interval; below them those of the other one."""
    (recipe,), (member,) = comparison.recipes, comparison.members
    scores = {"loss": member.scores.loss} | {name: getattr(member.scores, key) for name, key in SCORES.items()}
    found, spans, names, epochs = [scores], [interval_cell(*recipe.interval)], ["imported"], [None]
    if member.rows:
        best, last = best_row(member.rows, member.run.config.train.select_by), member.rows[-1]
        shown, other = (last, best) if comparison.checkpoint == "last" else (best, last)
        found.append({"loss": other["val_loss"]} | {name: other[key] for name, key in SCORES.items()})
        spans.append(cell(None))
        names = (
            ["last", "best (chosen on val)"] if comparison.checkpoint == "last" else ["best (chosen on val)", "last"]
        )
        epochs = [shown["epoch"], other["epoch"]]
    columns = {
        "epoch": [cell(name) for name in names],
        "number": [cell(epoch, ".0f") for epoch in epochs],
        "macro F1": [cell(each["macro F1"], ".3f") for each in found],
        "95 % interval": spans,
    }
    columns |= {name: [cell(each[name], ".3f") for each in found] for name in ("top-1", "top-5", "loss")}
    return make_table("Scores on val", columns)


def epochs_view(member: Member) -> Table:
    """Return a row per epoch: what the curves show."""
    rows, minutes = member.rows, {line["epoch"]: line["total_seconds"] / 60 for line in member.run.timing}
    columns = {"epoch": [cell(row["epoch"], ".0f") for row in rows]}
    for title, key, form in (
        ("learning rate", "lr", ".2e"),
        ("train loss", "train_loss", ".3f"),
        ("val loss", "val_loss", ".3f"),
        ("train top-1", "train_top1", ".3f"),
        ("top-1", "top1", ".3f"),
        ("top-5", "top5", ".3f"),
        ("macro F1", "macro_f1", ".3f"),
    ):
        columns[title] = [cell(row[key], form) for row in rows]
    columns["minutes"] = [cell(minutes.get(row["epoch"]), ".1f") for row in rows]
    return make_table("Epoch by epoch; minutes since the start", columns, tall=True)


def class_view(member: Member, names: Sequence[str], num_train: Mapping[int, int] | None) -> Table:
    """Return a row per class that val has photos of, searchable, the worst first."""
    counts = confusion_matrix(member.labels, member.predicted, len(names))
    f1 = class_f1(member.labels, member.predicted)
    numbers = sorted(f1, key=lambda number: f1[number])
    right, said = counts.diagonal(), counts.sum(0)
    columns: dict[str, list[Cell]] = {
        "class": [cell(number, ".0f") for number in numbers],
        "name": [cell(names[number]) for number in numbers],
        "train": [cell(None if num_train is None else num_train.get(number, 0), ".0f") for number in numbers],
        "val": [cell(counts[number].sum(), ".0f") for number in numbers],
        "F1": [cell(f1[number], ".3f") for number in numbers],
        "precision": [cell(right[n] / said[n] if said[n] else None, ".3f") for n in numbers],
        "recall": [cell(right[n] / counts[n].sum(), ".3f") for n in numbers],
        "most often taken for": [cell(_rival(counts[number], number, names)) for number in numbers],
    }
    return make_table("Scores of every class, the worst first", columns, searchable=True)


def _rival(row: np.ndarray, number: int, names: Sequence[str]) -> str | None:
    """Return the class that a class's photos are most often wrongly taken for, and how many of them."""
    wrong = row.copy()
    wrong[number] = 0
    return f"{names[int(wrong.argmax())]} ({wrong.max()})" if wrong.any() else None


def settings_view(run: Run) -> Table:
    """Return the settings that tell the run from others."""
    settings: dict[str, Any] = telling_settings(run)
    columns = {"setting": [cell(name) for name in settings], "value": [Cell(_words(v)) for v in settings.values()]}
    return make_table("Settings, and what differs from the experiment's own", columns)


def _words(value: Any) -> str:
    return (
        ", ".join(map(str, value))
        if isinstance(value, list)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
