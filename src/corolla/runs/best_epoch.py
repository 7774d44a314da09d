"""The best epoch of a run, and whether best.pt holds it."""

import json
import math
from typing import Any

from corolla.errors import UserError
from corolla.runs.folder import Run
from corolla.runs.without_torch import read_without_tensors


def best_row(rows: list[dict[str, Any]], select_by: str) -> dict[str, Any]:
    """Return the epoch that best.pt holds: the first with the highest macro F1, or the lowest val loss."""
    return max(rows, key=lambda row: _quality(row, select_by))


def _quality(row: dict[str, Any], select_by: str) -> float:
    value = row["macro_f1"] if select_by == "macro_f1" else -row["val_loss"]
    return -math.inf if math.isnan(value) else value


def best_fault(run: Run) -> str | None:
    """Return how best.pt is not the best epoch of last.pt, as where a folder was restored in part.

    None where it is, where one of them is missing or damaged, and while the run trains, which writes best.pt first.
    """
    try:
        last, best = (read_without_tensors(path)["progress"] for path in (run.last, run.best))
        select_by = run.config.train.select_by
    except UserError:
        return None
    rows, own = last["rows"], best["rows"]
    if not own or run.is_training:
        return None
    epoch = own[-1]["epoch"]
    if json.dumps(rows[: len(own)]) != json.dumps(own):  # by their text: a loss may be NaN, which equals nothing
        return f"best.pt is of an epoch {epoch} that last.pt ({len(rows)} epochs) does not tell of"
    wanted = best_row(rows[last.get("inherited", 0) :] or rows, select_by)
    if _quality(own[-1], select_by) < _quality(wanted, select_by):
        return f"best.pt is of epoch {epoch}, and by last.pt epoch {wanted['epoch']} is the best"
    return None
