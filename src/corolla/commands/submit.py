"""corolla submit: a CSV, or runs as a notebook, to Kaggle."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from corolla.commands.common import ViewArguments, next_command, refuse_without, slug
from corolla.data.transforms.tta import ViewOptions
from corolla.errors import DONE, UserError
from corolla.kaggle.ledger import LEDGER
from corolla.runs.folder import CheckpointName

if TYPE_CHECKING:
    from corolla.kaggle.submit import Submitted

NO_VIEWS = ViewOptions()


def submit(
    csv: Annotated[Path | None, tyro.conf.Positional] = None,
    /,
    message: str = "",
    competition: str | None = None,
    data: Path | None = None,
    again: bool = False,
    notebook: tuple[Path, ...] = (),
    method: Literal["vote", "mean"] | None = None,
    checkpoint: CheckpointName | None = None,
    wait: float | None = None,
    wheels: Path | None = None,
    ledger: Path = LEDGER,
    views: ViewArguments = NO_VIEWS,
) -> int:
    """Send a CSV, or with --notebook runs as a notebook, to Kaggle exactly once; wait for the score and record it.

    Two at once send the same content once, from whatever folders, where they share the user's cache (XDG_CACHE_HOME);
    from two machines at the same moment it can go out twice.

    Args:
        csv: the submission, as corolla ensemble writes it.
        message: what Kaggle shows beside it; default: the CSV's name, or the runs'.
        competition: the slug; default: the competition that the data came from.
        data: the data folder; default: what the CSV was made with, or data.
        again: send once more what was sent before.
        notebook: folders of runs, for a competition that takes notebooks: they are packed as a private dataset, and a
            notebook that predicts with them is pushed, run there and submitted.
        method: with --notebook: vote (default) or mean.
        checkpoint: with --notebook: best (default) or last.
        wheels: with --notebook: a folder of wheels to send beside those that Kaggle's image lacks.
        wait: minutes to wait for the score; default 5, for a notebook's run 180.
        ledger: the file that records every submission.
        views: with --notebook: the views that are averaged.
    """
    if (csv is None) == (not notebook):
        raise UserError("name either a CSV to submit, or runs with --notebook RUN...")
    if wheels is not None and not wheels.is_dir():
        raise UserError(f"--wheels {wheels}: there is no such folder")
    competition = slug(competition)
    if csv is not None:
        tta = None if views.is_default else views.name
        refuse_without("--notebook", method=method, checkpoint=checkpoint, wheels=wheels, tta=tta)
        done = _submit_csv(csv, message, competition, data, again=again, wait=wait, ledger=ledger)
    else:
        from corolla.kaggle.submit_notebook import WAIT_S, submit_notebook

        done = submit_notebook(
            notebook,
            message or " ".join(run.name for run in notebook),
            competition=competition,
            data=data,
            again=again,
            tta=views.name,
            method=method or "vote",
            checkpoint=checkpoint or "best",
            wheels=sorted(wheels.glob("*.whl")) if wheels else (),
            ledger=ledger,
            wait_s=WAIT_S if wait is None else wait * 60,
        )
    _print_submitted(done, ledger)
    return DONE


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
    return submit_to_kaggle(
        csv, message or csv.stem, competition=competition, data=data, again=again, ledger=ledger, wait_s=wait_s
    )


def _print_submitted(done: "Submitted", ledger: Path) -> None:
    """Print the score, where it is recorded, and the next command."""
    entry = done.entry
    private = f", private {entry.private_score}" if entry.private_score else ""
    what = "submission" if done.sent else "already there, submission"
    print(f"{entry.competition}: {what} {entry.ref} of {entry.csv}: public score {entry.public_score or '-'}{private}")
    print(f"{ledger} has it, with {entry.runs or 'no runs'} behind it")
    print(next_command("submissions", *([] if ledger == LEDGER else ["--ledger", ledger])))
