"""corolla submit: a CSV, or runs as a notebook, to Kaggle."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from corolla.commands.common import Paths, ViewArguments, next_command, refuse_without, slug
from corolla.data.transforms.tta import ViewOptions
from corolla.ensemble.rules import Method
from corolla.errors import DONE, UserError
from corolla.kaggle.ledger import LEDGER
from corolla.runs.folder import CheckpointName
from corolla.text_files import shell_words

if TYPE_CHECKING:
    from corolla.kaggle.submit import Submitted

NO_VIEWS = ViewOptions()


def submit(
    csv_or_runs: Paths,
    /,
    notebook: bool = False,
    message: str = "",
    competition: str | None = None,
    data: Path | None = None,
    again: bool = False,
    method: Method | None = None,
    adjust: bool = False,
    checkpoint: CheckpointName | None = None,
    wait: float | None = None,
    wheels: Path | None = None,
    ledger: Path = LEDGER,
    views: ViewArguments = NO_VIEWS,
) -> int:
    """Send a CSV, or with --notebook what made it or runs, to Kaggle exactly once; wait for the score and record it.

    Two at once send the same content once, from whatever folders, where they share the user's cache (XDG_CACHE_HOME);
    from two machines at the same moment it can go out twice.

    Args:
        csv_or_runs: the submission, as corolla ensemble writes it; with --notebook it or folders of runs.
        notebook: for a competition that takes notebooks: pack the checkpoints as a private dataset, push a notebook
            that predicts with them, have it run there and submit what it writes. Of a CSV it is what made it, as its
            JSON says: checkpoints, views, method, fitted weights and power.
        message: what Kaggle shows beside it; default: the CSV's name, or the runs'.
        competition: the slug; default: the competition that the data came from.
        data: the data folder; default: what the CSV was made with, or the first run trained, or data.
        again: send once more what was sent before.
        method: with runs: as in corolla ensemble; default: vote. What is fitted on val is fitted here.
        adjust: with runs: as in corolla ensemble.
        checkpoint: with runs: best (default) or last.
        wheels: with --notebook: a folder of wheels to send beside those that Kaggle's image lacks.
        wait: minutes to wait for the score; default 5, for a notebook's run 180.
        ledger: the file that records every submission.
        views: with runs: the views that are averaged.
    """
    if wheels is not None and not wheels.is_dir():
        raise UserError(f"--wheels {wheels}: there is no such folder")
    if wait is not None and not 0 <= wait < math.inf:
        raise UserError(f"--wait {wait:g}: a number of minutes is expected")
    competition = slug(competition)
    tta = None if views.is_default else views.name
    if not notebook:
        csv = _only_csv(csv_or_runs)
        refuse_without(
            "--notebook", method=method, adjust=adjust or None, checkpoint=checkpoint, wheels=wheels, tta=tta
        )
        done = _submit_csv(csv, message, competition, data, again=again, wait=wait, ledger=ledger)
    else:
        from corolla.kaggle.submit_notebook import WAIT_S, submit_notebook

        _check_one_kind(csv_or_runs)
        done = submit_notebook(
            csv_or_runs,
            message,
            competition=competition,
            data=data,
            again=again,
            tta=tta,
            method=method,
            adjust=adjust,
            checkpoint=checkpoint,
            wheels=sorted(wheels.glob("*.whl")) if wheels else (),
            ledger=ledger,
            wait_s=WAIT_S if wait is None else wait * 60,
        )
    _print_submitted(done, ledger)
    return DONE


def _only_csv(paths: Sequence[Path]) -> Path:
    """Return the CSV to send.

    Raises:
        UserError: there is none, several, or a run.
    """
    if runs := [path for path in paths if path.is_dir()]:
        command = shell_words("corolla", "submit", "--notebook", *runs)
        raise UserError(f"{runs[0]}: is no CSV; runs are sent as a notebook: {command}")
    if len(paths) != 1:
        raise UserError("name either a CSV to submit, or with --notebook a CSV or runs: --notebook RUN...")
    return paths[0]


def _check_one_kind(paths: Sequence[Path]) -> None:
    """Check that what becomes a notebook is one CSV, or runs alone."""
    if not paths:
        raise UserError("name what the notebook is made of: corolla submit CSV --notebook, or --notebook RUN...")
    if len(paths) > 1 and (files := [path for path in paths if not path.is_dir()]):
        raise UserError(f"{files[0]}: is no folder of a run; a notebook is made of one CSV, or of runs alone")


def _submit_csv(
    csv: Path,
    message: str,
    competition: str | None,
    data: Path | None,
    *,
    again: bool,
    wait: float | None,
    ledger: Path,
) -> "Submitted":
    from corolla.kaggle.submit import WAIT_S
    from corolla.kaggle.submit import submit as submit_to_kaggle

    wait_s = WAIT_S if wait is None else wait * 60
    return submit_to_kaggle(csv, message, competition=competition, data=data, again=again, ledger=ledger, wait_s=wait_s)


def _print_submitted(done: "Submitted", ledger: Path) -> None:
    """Print the score, where it is recorded, and the next command."""
    entry = done.entry
    private = f", private {entry.private_score}" if entry.private_score else ""
    what = "submission" if done.sent else "already there, submission"
    print(f"{entry.competition}: {what} {entry.ref} of {entry.csv}: public score {entry.public_score or '-'}{private}")
    print(f"{ledger} has it, with {entry.runs or 'no runs'} behind it")
    print(next_command("submissions", *([] if ledger == LEDGER else ["--ledger", ledger])))
