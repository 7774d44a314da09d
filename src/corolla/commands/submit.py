"""submit, submissions, leaderboard, doctor: what passes between this machine and Kaggle."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from corolla.commands.common import DONE, FAILED, next_command, slug
from corolla.errors import UserError
from corolla.evaluation.predictions import TTA, CheckpointName
from corolla.kaggle.ledger import LEDGER

if TYPE_CHECKING:
    from corolla.kaggle.submit import Submitted


def submit(
    csv: Annotated[Path | None, tyro.conf.Positional] = None,
    /,
    message: str = "",
    competition: str | None = None,
    data: Path | None = None,
    again: bool = False,
    notebook: tuple[Path, ...] = (),
    tta: TTA = "none",
    method: Literal["vote", "mean"] = "vote",
    checkpoint: CheckpointName = "best",
    wait: float | None = None,
    wheels: Path | None = None,
    ledger: Path = LEDGER,
) -> int:
    """Send a CSV, or with --notebook runs as a notebook, to Kaggle exactly once; wait for the score and record it.

    Args:
        csv: the submission, as corolla ensemble writes it.
        message: what Kaggle shows beside it; default: the CSV's name, or the runs'.
        competition: the slug; default: the competition that the data came from.
        data: the data folder; default: what the CSV was made with, or data.
        again: send once more what was sent before.
        notebook: folders of runs, for a competition that takes notebooks: they are packed as a private dataset, and a
            notebook that predicts with them is pushed, run there and submitted.
        tta: with --notebook: the views that are averaged.
        method: with --notebook: vote or mean.
        checkpoint: with --notebook: best or last.
        wheels: with --notebook: a folder of further wheels that the notebook may need.
        wait: minutes to wait for the score; default 5, for a notebook's run 180.
        ledger: the file that records every submission.
    """
    if (csv is None) == (not notebook):
        raise UserError("name either a CSV to submit, or runs with --notebook RUN...")
    if wheels is not None and not wheels.is_dir():
        raise UserError(f"--wheels {wheels}: there is no such folder")
    common: dict[str, Any] = {"competition": slug(competition), "data": data, "again": again, "ledger": ledger}
    if wait is not None:
        common["wait_s"] = wait * 60
    if notebook:
        from corolla.kaggle.submit_notebook import submit_notebook

        done = submit_notebook(
            notebook,
            message or " ".join(run.name for run in notebook),
            **common,
            tta=tta,
            method=method,
            checkpoint=checkpoint,
            wheels=sorted(wheels.glob("*.whl")) if wheels else (),
        )
    else:
        assert csv is not None
        from corolla.kaggle.submit import submit as submit_csv

        done = submit_csv(csv, message or csv.stem, **common)
    _print_submitted(done, ledger)
    return DONE


def _print_submitted(done: "Submitted", ledger: Path) -> None:
    entry = done.entry
    private = f", private {entry.private_score}" if entry.private_score else ""
    what = "submission" if done.sent else "already there, submission"
    print(f"{entry.competition}: {what} {entry.ref} of {entry.csv}: public score {entry.public_score or '-'}{private}")
    print(f"{ledger} has it, with {entry.runs or 'no runs'} behind it")
    print(next_command("submissions", *([] if ledger == LEDGER else ["--ledger", ledger])))


def submissions(competition: str | None = None, ledger: Path = LEDGER) -> int:
    """The ledger beside what Kaggle lists; scores that came later are filled in.

    Args:
        competition: the slug; default: every competition in the ledger.
        ledger: the file that records every submission.
    """
    import pandas as pd

    from corolla.kaggle.ledger import Ledger
    from corolla.kaggle.submissions import Listed
    from corolla.kaggle.submissions import submissions as list_all

    def show(lines: list[Listed]) -> None:
        rows = [
            {
                "time": line.entry.time[:16],
                "file": line.entry.csv,
                "runs": line.entry.runs,
                "val F1": line.entry.val_macro_f1,
                "public": line.entry.public_score,
                "private": line.entry.private_score,
                "status": line.entry.status,
                "ref": line.entry.ref,
                "here": "yes" if line.in_ledger else "-",
                "Kaggle": "yes" if line.on_kaggle else "-",
                "message": line.entry.message,
            }
            for line in lines
        ]
        print(pd.DataFrame(rows).to_string(index=False) if rows else "no submissions yet")

    try:
        show(list_all(slug(competition), ledger=ledger))
    except UserError:
        raise
    except RuntimeError:
        show([Listed(entry, True, False) for entry in Ledger(ledger).read()])  # all that is known without Kaggle
        raise
    return DONE


def leaderboard(competition: str | None = None, data: Path = Path("data"), top: int = 10) -> int:
    """The top of the leaderboard, where your best submission stands, and how the scores are spread.

    Args:
        competition: the slug; default: the competition that the data came from.
        data: the data folder that says which competition.
        top: how many teams to show.
    """
    from corolla.kaggle.leaderboard import leaderboard as fetch
    from corolla.kaggle.submit import competition_of

    board = fetch(slug(competition) or competition_of(data))
    shown = list(board.standings[:top])
    if board.own is not None and board.own not in shown:
        shown.append(board.own)
    width = max((len(standing.team) for standing in shown), default=4)
    print(f"{'rank':>5}  {'team':{width}}  {'score':>8}  date")
    for standing in shown:
        mark = "  ← you" if standing == board.own else ""
        print(f"{standing.rank:5d}  {standing.team:{width}}  {standing.score:8.5f}  {standing.date}{mark}")
    if board.own is None:
        best = "nothing scored yet" if board.own_best is None else f"best score {board.own_best:.5f}"
        print(f"your team is not on the board ({best})")
    print("", *board.plot(), sep="\n")
    return DONE


def doctor(
    data: Path = Path("data"),
    runs: Path = Path("runs"),
    competition: str = "tpu-getting-started",
    offline: bool = False,
) -> int:
    """What this machine offers, which data and credentials are there, what is wrong, and what mends it.

    Args:
        data: the data folder to look at.
        runs: the folder of runs to look at.
        competition: the slug, for what Kaggle mounts and whether its rules are accepted.
        offline: do not ask Kaggle whether it takes the credentials.
    """
    from corolla.doctor import doctor as examine

    report = examine(data=data, runs=runs, competition=competition, online=not offline)
    print(*report.lines(), sep="\n")
    print(f"faults: {len(report.faults)}" if report.faults else "no faults")
    return FAILED if report.faults else DONE
