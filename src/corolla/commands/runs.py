"""corolla runs: all runs in a table."""

from pathlib import Path
from typing import Annotated, Any

import tyro

from corolla.commands.common import ViewArguments, text_table
from corolla.data.transforms.tta import ViewOptions
from corolla.errors import DONE
from corolla.files import write_atomically
from corolla.runs.folder import CheckpointName

NO_VIEWS = ViewOptions()
LEAST = ("weights", "px", "at", "model", "seed", "minutes", "experiment", "of", "best F1")
"""Columns that a narrow terminal goes without, the first first; --csv has them all."""


def runs(
    folder: Annotated[Path, tyro.conf.Positional] = Path("runs"),
    /,
    experiment: str | None = None,
    state: str | None = None,
    sort: str = "name",
    reverse: bool = False,
    csv: Path | None = None,
    checkpoint: CheckpointName = "best",
    views: ViewArguments = NO_VIEWS,
) -> int:
    """List all runs in a table: experiment, seed, epochs, macro F1, minutes, state.

    Args:
        folder: the folder of runs.
        experiment: only runs of this experiment.
        state: only running, stopped, done, imported or damaged ones.
        sort: a column, such as "last F1" or minutes.
        reverse: the largest first.
        csv: write the table here as well, each line with the command that trains such a run.
        checkpoint: whose predictions the column of views takes: best or last.
        views: a column more: macro F1 on val with these views, where the run was predicted with them.
    """
    from corolla.compare.run_table import list_runs

    table = list_runs(
        folder,
        experiment=experiment,
        state=state,
        sort=sort,
        reverse=reverse,
        tta=None if views.is_default else views.name,
        checkpoint=checkpoint,
    )
    if csv is not None:
        write_atomically(csv, table.to_csv(index=False).encode())
    empty = [name for name in ("fault", "stopped early") if not any(table[name].notna() & (table[name] != ""))]
    shown = table.drop(columns=["command", *empty])
    titles = [str(title) for title in shown]
    rows = [[_text(title, value) for title, value in zip(titles, row, strict=True)] for row in shown.to_numpy()]
    numeric = [title not in ("name", "experiment", "model", "weights", "state", "fault") for title in titles]
    print(text_table(titles, rows, numeric=numeric, least=LEAST) if rows else "no runs")
    return DONE


def _text(title: str, value: Any) -> str:
    """Return a value as people read it."""
    if value is None or value == "" or value != value:  # the last is NaN
        return ""
    if title in ("seed", "px", "epochs", "of", "at", "stopped early"):
        return f"{value:.0f}"
    return f"{value:.1f}" if title == "minutes" else f"{value:.4f}" if isinstance(value, float) else str(value)
