"""Check that best.pt holds the best epoch of a run, and say where a run has none."""

import functools
import json
import logging
from pathlib import Path

from corolla.config import differing_settings, from_dict
from corolla.errors import UserError
from corolla.runs.folder import CheckpointName, Run
from corolla.runs.length import LONGER, best_row, quality
from corolla.runs.without_torch import read_without_tensors

log = logging.getLogger(__name__)


def counting_checkpoint(run: Run, name: CheckpointName) -> CheckpointName:
    """Return the checkpoint that counts where one is asked for, and say so where that is another one."""
    if (counts := run.counting(name)) != name:
        _say_last(run.folder)
    return counts


@functools.cache
def _say_last(folder: Path) -> None:
    log.info("%s: has learned from train and val, so no score has chosen a best.pt: its last.pt counts", folder)


def best_fault(run: Run) -> str | None:
    """Return how best.pt is not the best epoch of last.pt, or last.pt another run's, as of a folder restored in part.

    None where it is, where one of them is missing or damaged, and while the run trains, which writes best.pt first.
    """
    try:
        content = read_without_tensors(run.last)
        last, best = content["progress"], read_without_tensors(run.best)["progress"]
        config = run.config
        others = differing_settings(from_dict(content.get("config", {}), source=str(run.last)), config)
    except UserError:
        return None
    rows, own, select_by = last["rows"], best["rows"], config.train.select_by
    if not own or run.is_training or config.train.on != "train":
        return None
    others = {key: line for key, line in others.items() if key not in LONGER}  # where a run goes on in a copy
    if others and not last.get("inherited"):
        return f"last.pt is another run's, whose {' and '.join(list(others)[:3])} config.json does not tell"
    epoch = own[-1]["epoch"]
    if json.dumps(rows[: len(own)]) != json.dumps(own):  # by their text: a loss may be NaN, which equals nothing
        return f"best.pt is of an epoch {epoch} that last.pt ({len(rows)} epochs) does not tell of"
    wanted = best_row(rows[last.get("inherited", 0) :] or rows, select_by)
    if quality(own[-1], select_by) < quality(wanted, select_by):
        return f"best.pt is of epoch {epoch}, and by last.pt epoch {wanted['epoch']} is the best"
    return None
