"""`corolla runs`: every run of a folder in a table, damaged ones too; no checkpoint is loaded."""

from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd

from corolla.compare.readme_table import command_of
from corolla.data.transforms.tta import TTA, parse_tta
from corolla.errors import UserError
from corolla.evaluation.metrics import macro_f1
from corolla.evaluation.predictions import StalePredictions, current_predictions
from corolla.runs.folder import CheckpointName, Run, checkpoint_fault
from corolla.runs.length import best_score

RunState = Literal["running", "stopped", "done", "imported", "damaged"]
COLUMNS = ["name", "experiment", "model", "weights", "seed", "px", "epochs", "of", "best F1", "at", "last F1"]
COLUMNS += ["minutes", "state", "stopped early", "fault", "command"]
DAMAGES = (UserError, OSError, ValueError, AttributeError, KeyError, TypeError)
"""Errors of reading a run's files, which may be JSON but not hold what they should."""


def list_runs(
    folder: Path = Path("runs"),
    *,
    experiment: str | None = None,
    state: str | None = None,
    sort: str = "name",
    reverse: bool = False,
    tta: TTA | None = None,
    checkpoint: CheckpointName = "best",
) -> pd.DataFrame:
    """Return a row per run in `folder`; `best F1` is that of epoch `at`, chosen on the val it is scored on.

    `stopped early` is the epoch after which --train.stop-early has ended it, if it has. `command` trains it again, with
    another `--train.seed` if need be.

    Args:
        experiment: only runs of this one.
        state: only running, stopped, done, imported or damaged ones.
        sort: a column.
        reverse: falling order.
        tta: with a column of this name: macro F1 on val with these views, where `checkpoint` was predicted with them.

    Raises:
        UserError: there is no such folder, column or state.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder; runs are made by corolla train")
    columns = list(COLUMNS)
    if tta is not None:
        tta = parse_tta(tta).name
        columns.insert(columns.index("minutes"), tta)
    if sort not in columns:
        raise UserError(f"--sort {sort}: the columns are {', '.join(columns)}")
    if state not in (None, *get_args(RunState)):
        raise UserError(f"--state {state}: running, stopped, done, imported or damaged is expected")
    folders = {path.parent for name in ("config.json", "last.pt") for path in folder.glob(f"*/{name}")}
    runs = [Run(path) for path in sorted(folders)]
    table = pd.DataFrame([_row(run) for run in runs], columns=columns)
    if tta is not None:
        table[tta] = [_score(run, tta, checkpoint) for run in runs]
    if experiment is not None:
        table = table.loc[table["experiment"] == experiment]
    if state is not None:
        table = table.loc[table["state"] == state]
    return table.sort_values(sort, ascending=not reverse, kind="stable", ignore_index=True)


def _row(run: Run) -> dict[str, Any]:
    row: dict[str, Any] = {"name": run.name, "fault": ""}
    try:
        row |= _facts(run)
        for path in (run.last, run.best):
            if fault := checkpoint_fault(path):
                return row | {"state": "damaged", "fault": f"{path.name} {fault}; corolla doctor says how to fix it"}
        return row | {"state": _state(run)}
    except DAMAGES as error:
        return row | {"state": "damaged", "fault": " ".join(str(error).split())}


def _score(run: Run, tta: TTA, checkpoint: CheckpointName) -> float | None:
    """Return the macro F1 of the predictions of val, if they are there and the checkpoint has not changed since."""
    try:
        predictions = current_predictions(run, "val", tta, checkpoint)
    except StalePredictions:
        return None
    if predictions.labels is None or not run.checkpoint(checkpoint).exists():
        return None
    trained = (run.environment.get("fingerprint") or {}).get("val", "")
    if trained and predictions.fingerprint not in ("", trained):  # of another val than the other columns
        return None
    return macro_f1(predictions.labels, predictions.probabilities.argmax(1))


def _facts(run: Run) -> dict[str, Any]:
    config, environment, metrics = run.config, run.environment, run.metrics
    if run.imported:  # whatever is missing here is unknown
        known = {"experiment": "", "model": config.model.name, "weights": "imported", "px": config.input_size}
        return {**known, "command": command_of(run)}
    timing = run.timing
    row: dict[str, Any] = {}
    row |= {
        "experiment": environment.get("experiment", ""),
        "model": config.model.name,
        "weights": "checkpoint" if config.init_sha256 else config.model.weights,
        "seed": config.train.seed,
        "px": config.input_size,
        "epochs": len(metrics),
        "of": config.train.epochs,
        "minutes": round(timing[-1]["total_seconds"] / 60, 1) if timing else 0.0,
        "stopped early": run.stopped_early,
        "command": command_of(run),
    }
    if best := best_score(metrics):
        row |= {"best F1": best["macro_f1"], "at": best["epoch"], "last F1": metrics[-1]["macro_f1"]}
    return row


def _state(run: Run) -> RunState:
    if run.is_training:
        return "running"
    state = run.state
    return "stopped" if state == "new" else state
