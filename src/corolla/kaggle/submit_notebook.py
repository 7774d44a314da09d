"""`corolla submit --notebook`: upload runs as a private dataset, run a notebook that predicts with them, submit it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from corolla.data.transforms.tta import TTA
from corolla.ensemble.files import is_file
from corolla.ensemble.rules import Method
from corolla.errors import UserError
from corolla.kaggle.bundle import Bundle
from corolla.kaggle.client import Kaggle, connect
from corolla.kaggle.idempotent import choose_row, record_and_send, submit_once, tagged_description
from corolla.kaggle.ledger import LEDGER, Entry, Ledger, now, text
from corolla.kaggle.manifest import competition_of
from corolla.kaggle.notebook_members import NotebookEnsemble, ensemble_of_csv, ensemble_of_runs
from corolla.kaggle.notebook_version import NotebookNames, finished_version
from corolla.kaggle.pack_runs import pack
from corolla.kaggle.provenance import made_by
from corolla.kaggle.sending import SendingNote
from corolla.kaggle.submissions import await_score, check_limit, get_competition
from corolla.kaggle.submit import Submitted
from corolla.paths import AnyPath, AnyPaths, as_path, as_paths
from corolla.runs.folder import CheckpointName

WAIT_S = 180 * 60.0


def submit_notebook(
    runs: AnyPaths,
    message: str = "",
    *,
    competition: str | None = None,
    data: AnyPath | None = None,
    again: bool = False,
    tta: TTA | None = None,
    method: Method | None = None,
    adjust: bool = False,
    checkpoint: CheckpointName | None = None,
    wheels: AnyPaths = (),
    ledger: AnyPath = LEDGER,
    wait_s: float = WAIT_S,
) -> Submitted:
    """Pack runs, run them on Kaggle as a notebook without internet, and submit what it wrote, once.

    Everything that is sent lies in `notebook-COMPETITION` beside the ledger: dataset, notebook, and the log if it
    fails. Called again after a fault, it goes on: what is uploaded, pushed or submitted already is not sent again.

    Args:
        runs: folders of runs; or a CSV that `corolla.submission_from_runs` made, or what that returned: sent are the
            very checkpoints, views, weights and powers that made it.
        message: what Kaggle shows beside it; default: the CSV's name, or the runs'.
        competition: default: the one that the data came from.
        data: the data folder that says which, and of whose train `adjust` takes the class frequencies; default: the one
            that the CSV was made with, or the first run trained.
        again: submit once more what was submitted before.
        tta: of runs: the views; default: those with which they were predicted already, if these are of one kind.
        method: of runs: how they are joined; default: vote. What is fitted on val is fitted here.
        adjust: of runs: as in `corolla.ensemble`.
        checkpoint: of runs: best (default) or last.
        wheels: further wheels for the notebook, beside those of what Kaggle's image lacks.
        wait_s: how long to wait for the notebook, and then for the score.

    Raises:
        UserError: a run is not fit, nothing says what made the CSV, it was made by a file or by other checkpoints than
            those that are there, the day's submissions are used up, ...
        Failure: an upload or the notebook failed (nothing was submitted), or Kaggle has not scored it.
    """
    paths, data, ledger = as_paths(runs), as_path(data), as_path(ledger)
    if len(paths) == 1 and is_file(paths[0]):
        given = {"tta": tta, "method": method, "adjust": adjust or None, "checkpoint": checkpoint}
        if said := [name for name, value in given.items() if value is not None]:
            raise UserError(
                f"--{said[0]} has no effect with a CSV, whose {made_by(paths[0]).name} says it: leave it out"
            )
        ensemble = ensemble_of_csv(paths[0])
        message = message or paths[0].stem
    else:
        ensemble = ensemble_of_runs(
            paths, method=method or "vote", adjust=adjust, tta=tta, checkpoint=checkpoint or "best", data=data
        )
        message = message or " ".join(path.name for path in paths)
    competition = competition or competition_of(data or ensemble.data)
    folder = ledger.parent / f"notebook-{competition}"
    book = Ledger(ledger)
    with book.exclusive():
        bundle = pack(ensemble, folder, name="corolla", competition=competition, wheels=as_paths(wheels))
        entry = choose_row(book, _row(bundle, ensemble, message), again=again)
        kaggle = connect()
        entry, sent = submit_once(
            kaggle,
            book,
            entry,
            again=again,
            send=lambda entry, note: _send(kaggle, book, note, entry, bundle, folder, wait_s),
        )
    return Submitted(await_score(kaggle, entry, book, wait_s=wait_s), sent=sent)


def _row(bundle: Bundle, ensemble: NotebookEnsemble, message: str) -> Entry:
    """Return a new row for the ledger."""
    return Entry(
        time=now(),
        competition=bundle.competition,
        csv="notebook",  # and its version, when there is one
        sha256=bundle.sha256,
        runs=" ".join(run["name"] for run in bundle.runs),
        val_macro_f1="" if ensemble.val_macro_f1 is None else f"{ensemble.val_macro_f1:.5f}",
        status="sending",
        tag=f"corolla-{bundle.sha256[:12]}",
        message=text(message),
    )


def _send(
    kaggle: Kaggle, book: Ledger, note: SendingNote, entry: Entry, bundle: Bundle, folder: Path, wait_s: float
) -> Entry:
    """Have the notebook run with this bundle, submit what it wrote, and return the ledger's row."""
    about = get_competition(kaggle, entry.competition)
    check_limit(kaggle, entry.competition, has_entered=about.user_has_entered)
    names = NotebookNames(kaggle.username, entry.competition)
    return record_and_send(
        kaggle,
        book,
        note,
        entry,
        prepare=lambda: finished_version(kaggle, bundle, folder, names, wait_s),
        create=_create(names),
    )


def _create(names: NotebookNames) -> Callable[[Kaggle, Entry, Any], Any]:
    """Return the function that submits a version of the notebook."""

    def create(kaggle: Kaggle, entry: Entry, version: int) -> Any:
        return kaggle.api.competition_submit_code(
            "submission.csv", tagged_description(entry), entry.competition, names.kernel, version, quiet=True
        )

    return create
