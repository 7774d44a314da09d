"""`corolla runs`: every run of a folder in a table, damaged ones too; no checkpoint is loaded."""

import errno
import fcntl
import zipfile
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from corolla.errors import UserError
from corolla.evaluation.metrics import macro_f1
from corolla.evaluation.predictions import TTA, CheckpointName, Predictions
from corolla.evaluation.tta import parse_tta
from corolla.files import sha256
from corolla.study.results import command_of
from corolla.training.run import Run, is_held_here

RunState = Literal["running", "stopped", "done", "damaged"]
COLUMNS = ["name", "experiment", "model", "weights", "seed", "px", "epochs", "of", "best F1", "at", "last F1"]
COLUMNS += ["minutes", "state", "fault", "command"]


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
    """A row per run in `folder`; `best F1` is that of epoch `at`, chosen on the val it is scored on.

    `command` trains it again, with another `--train.seed` if need be.

    Args:
        experiment: only runs of this one.
        state: only running, stopped, done or damaged ones.
        sort: a column.
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
    if state not in (None, "running", "stopped", "done", "damaged"):
        raise UserError(f"--state {state}: running, stopped, done or damaged is expected")
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
    except (ValueError, OSError, AttributeError, KeyError, TypeError) as error:  # JSON, but not what it should hold
        return row | {"state": "damaged", "fault": " ".join(str(error).split())}
    broken = [path.name for path in (run.last, run.best) if path.exists() and not zipfile.is_zipfile(path)]
    if broken:
        return row | {"state": "damaged", "fault": f"{broken[0]} is empty or cut; corolla doctor says what mends it"}
    return row | {"state": _state(run)}


def _score(run: Run, tta: TTA, checkpoint: CheckpointName) -> float | None:
    """Macro F1 of the predictions of val, if they are there and the checkpoint has not changed since."""
    path, source = run.predictions("val", tta, checkpoint), run.best if checkpoint == "best" else run.last
    if not path.exists() or not source.exists():
        return None
    try:
        predictions = Predictions.load(path)
    except UserError:  # cut or foreign: corolla predict makes it anew
        return None
    if predictions.labels is None or predictions.checkpoint != sha256(source):
        return None
    return macro_f1(predictions.labels, predictions.probabilities.argmax(1))


def _facts(run: Run) -> dict[str, Any]:
    config, environment, metrics = run.config, run.environment, run.metrics
    timing = run.timing
    row: dict[str, Any] = {}
    row |= {
        "experiment": environment.get("experiment", ""),
        "model": config.model.name,
        "weights": config.model.weights,
        "seed": config.train.seed,
        "px": config.input_size,
        "epochs": len(metrics),
        "of": config.train.epochs,
        "minutes": round(timing[-1]["total_seconds"] / 60, 1) if timing else 0.0,
        "command": command_of(run),
    }
    if metrics:
        best = max(metrics, key=lambda line: line["macro_f1"])
        row |= {"best F1": best["macro_f1"], "at": best["epoch"], "last F1": metrics[-1]["macro_f1"]}
    return row


def _state(run: Run) -> RunState:
    if _is_locked(run.folder / ".lock"):
        return "running"
    return "done" if run.state == "done" else "stopped"


def _is_locked(path: Path) -> bool:
    """Whether a process trains into the folder; asked by trying a lock that would not shut it out."""
    if is_held_here(path.parent):  # to open and close the file would drop our own lock
        return True
    try:
        with path.open("r") as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except OSError as error:
        return error.errno in (errno.EACCES, errno.EAGAIN)
