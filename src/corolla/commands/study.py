"""runs, report: tables of what was trained."""

from pathlib import Path
from typing import Annotated

import tyro

from corolla.commands.common import DONE, Paths
from corolla.evaluation.predictions import TTA, CheckpointName


def runs(
    folder: Annotated[Path, tyro.conf.Positional] = Path("runs"),
    /,
    experiment: str | None = None,
    state: str | None = None,
    sort: str = "name",
    reverse: bool = False,
    csv: Path | None = None,
    tta: TTA | None = None,
    checkpoint: CheckpointName = "best",
) -> int:
    """All runs in a table: experiment, seed, epochs, macro F1, minutes, state.

    Args:
        folder: the folder of runs.
        experiment: only runs of this experiment.
        state: only running, stopped, done or damaged ones.
        sort: a column, such as "last F1" or minutes.
        reverse: the largest first.
        csv: write the table here as well, each line with the command that trains such a run.
        tta: a column more: macro F1 on val with these views, where the run was predicted with them.
        checkpoint: of best or of last, for --tta.
    """
    from corolla.study.runs import list_runs

    table = list_runs(
        folder, experiment=experiment, state=state, sort=sort, reverse=reverse, tta=tta, checkpoint=checkpoint
    )
    if csv is not None:
        csv.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(csv, index=False)
    shown = table.drop(columns=["command"] if any(table["fault"]) else ["command", "fault"])
    for column in ("seed", "px", "epochs", "of", "at"):
        shown[column] = shown[column].astype("Int64")
    print(shown.to_string(index=False, na_rep="", float_format="{:.4f}".format) if len(shown) else "no runs")
    return DONE


def report(folders: Paths, /, into: Path | None = None) -> int:
    """The README's table of results from run folders: means over seeds, each line with its command.

    Args:
        folders: folders of runs.
        into: a Markdown file with the lines <!-- results:begin --> and <!-- results:end -->, between which it goes.
    """
    from corolla.study.results import results_table, update_readme

    table = results_table(folders)
    print(table)
    if into is not None:
        update_readme(into, table)
        print(f"written into {into}")
    return DONE
