"""`corolla submit --notebook`: upload runs as a private dataset, run a notebook that predicts with them, submit it."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corolla.data.transforms.tta import TTA
from corolla.ensemble.ensemble import ensemble
from corolla.ensemble.members import all_predicted
from corolla.ensemble.rules import PlainMethod
from corolla.errors import Failure
from corolla.evaluation.metrics import macro_f1
from corolla.files import write_atomically
from corolla.kaggle.bundle import Bundle, pack
from corolla.kaggle.client import Kaggle, connect
from corolla.kaggle.errors import SITE
from corolla.kaggle.idempotent import choose_row, record_and_send, submit_once, tagged_description
from corolla.kaggle.ledger import LEDGER, Entry, Ledger, now, text
from corolla.kaggle.manifest import competition_of
from corolla.kaggle.notebook import write_notebook
from corolla.kaggle.remote_notebook import log_tail, push, run_state
from corolla.kaggle.retry import poll
from corolla.kaggle.sending import SendingNote
from corolla.kaggle.submissions import await_score, check_limit, get_competition
from corolla.kaggle.submit import Submitted
from corolla.kaggle.upload_dataset import upload_dataset
from corolla.paths import AnyPath, AnyPaths, as_path, as_paths
from corolla.runs.folder import CheckpointName, data_of, open_run
from corolla.text_files import read_json

log = logging.getLogger(__name__)

WAIT_S = 180 * 60.0
SLUG_LENGTH = 50  # the most that Kaggle takes


@dataclass(frozen=True)
class _Names:
    """Names on Kaggle: always the same for a competition, so that dataset and notebook get versions, not siblings."""

    owner: str
    competition: str

    @property
    def dataset(self) -> str:
        return f"{self.owner}/{f'corolla-{self.competition}'[:SLUG_LENGTH].strip('-')}"

    @property
    def slug(self) -> str:
        return f"corolla-inference-{self.competition}"[:SLUG_LENGTH].strip("-")

    @property
    def title(self) -> str:
        return self.slug.replace("-", " ")

    @property
    def kernel(self) -> str:
        return f"{self.owner}/{self.slug}"


def submit_notebook(
    runs: AnyPaths,
    message: str,
    *,
    competition: str | None = None,
    data: AnyPath | None = None,
    again: bool = False,
    tta: TTA = "none",
    method: PlainMethod = "vote",
    checkpoint: CheckpointName = "best",
    wheels: AnyPaths = (),
    ledger: AnyPath = LEDGER,
    wait_s: float = WAIT_S,
) -> Submitted:
    """Pack runs, run them on Kaggle as a notebook without internet, and submit what it wrote, once.

    Everything that is sent lies in `notebook-COMPETITION` beside the ledger: dataset, notebook, and the log if it
    fails. Called again after a fault, it goes on: what is uploaded, pushed or submitted already is not sent again.

    Args:
        competition: default: the one that the data came from.
        data: the data folder that says which; default: the one that the first run was trained with.
        wheels: further wheels for the notebook, beside those of what Kaggle's image lacks.
        again: submit once more what was submitted before.
        wait_s: how long to wait for the notebook, and then for the score.

    Raises:
        UserError: a run is not fit, the day's submissions are used up, ...
        Failure: an upload or the notebook failed (nothing was submitted), or Kaggle has not scored it.
    """
    folders, data, ledger = as_paths(runs), as_path(data), as_path(ledger)
    opened = [open_run(folder) for folder in folders]
    competition = competition or competition_of(data or data_of(opened[0]))
    folder = ledger.parent / f"notebook-{competition}"
    book = Ledger(ledger)
    with book.exclusive():
        bundle = pack(
            folders,
            folder,
            checkpoint=checkpoint,
            tta=tta,
            method=method,
            name="corolla",
            competition=competition,
            wheels=as_paths(wheels),
        )
        entry = choose_row(book, _row(bundle, folders, message), again=again)
        kaggle = connect()
        entry, sent = submit_once(
            kaggle,
            book,
            entry,
            again=again,
            send=lambda entry, note: _send(kaggle, book, note, entry, bundle, folder, wait_s),
        )
    return Submitted(await_score(kaggle, entry, book, wait_s=wait_s), sent=sent)


def _row(bundle: Bundle, runs: Sequence[Path], message: str) -> Entry:
    """Return a new row for the ledger, with the ensemble's val macro F1 where val was predicted in the same way."""
    score = None
    if all_predicted(runs, "val", tta=bundle.tta, checkpoint=bundle.checkpoint):
        joined = ensemble(runs, split="val", tta=bundle.tta, method=bundle.method, checkpoint=bundle.checkpoint)
        score = macro_f1(joined.labels, joined.predicted) if joined.labels is not None else None
    return Entry(
        time=now(),
        competition=bundle.competition,
        csv="notebook",  # and its version, when there is one
        sha256=bundle.sha256,
        runs=" ".join(run["name"] for run in bundle.runs),
        val_macro_f1="" if score is None else f"{score:.5f}",
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
    names = _Names(kaggle.username, entry.competition)
    return record_and_send(
        kaggle,
        book,
        note,
        entry,
        prepare=lambda: _finished_version(kaggle, bundle, folder, names, wait_s),
        create=_create(names),
    )


def _create(names: _Names) -> Callable[[Kaggle, Entry, Any], Any]:
    """Return the function that submits a version of the notebook."""

    def create(kaggle: Kaggle, entry: Entry, version: int) -> Any:
        return kaggle.api.competition_submit_code(
            "submission.csv", tagged_description(entry), entry.competition, names.kernel, version, quiet=True
        )

    return create


def _finished_version(kaggle: Kaggle, bundle: Bundle, folder: Path, names: _Names, wait_s: float) -> tuple[int, str]:
    """Return the number of a version of the notebook that has run to its end with this bundle, and its name."""
    done = _StepsDone(folder / "state.json", f"{bundle.sha256} {names.kernel}")
    version = _pushed_version(kaggle, bundle, folder, names, done)
    log.info("waiting for version %d of %s/code/%s to run", version, SITE, names.kernel)
    state = poll(lambda: _ended(kaggle, names.kernel), wait_s=wait_s, first_s=10, longest_s=60)
    if state is None:
        raise Failure(
            f"{names.kernel}: version {version} has not ended within {wait_s / 60:.0f} min; nothing was submitted; the "
            "same command goes on waiting"
        )
    if state != "complete":
        done.set("version", 0)  # the next try is a new one
        tail = log_tail(kaggle, names.kernel, folder / "notebook.log")
        raise Failure(f"{names.kernel}: version {version} ended with {state}, nothing was submitted; its log:\n{tail}")
    return version, f"{names.kernel}/{version}"


def _pushed_version(kaggle: Kaggle, bundle: Bundle, folder: Path, names: _Names, done: "_StepsDone") -> int:
    """Upload the dataset and push the notebook, each where that is not done yet, and return the notebook's version."""
    kernel = write_notebook(
        folder,
        bundle,
        owner=names.owner,
        slug=names.slug,
        title=names.title,
        dataset=names.dataset,
        competition=names.competition,
    )
    if done.get("version") and run_state(kaggle, names.kernel) == "missing":  # deleted on Kaggle meanwhile
        done.forget()
    if not done.get("dataset"):
        how = f"{len(bundle.runs)} runs, {bundle.checkpoint}, {bundle.tta}, {bundle.method}"
        log.info("%s: uploading %.0f MB (%s)", names.dataset, bundle.num_bytes / 1e6, how)
        upload_dataset(kaggle, bundle.folder, names.dataset, notes=f"bundle {bundle.sha256[:12]}")
        done.set("dataset", 1)
    if version := done.get("version"):
        return version
    try:
        version = push(kaggle, kernel, names.kernel)
    except Failure:
        done.forget()  # the dataset may be what it lacks
        raise
    done.set("version", version)
    return version


def _ended(kaggle: Kaggle, kernel: str) -> str | None:
    """Return the state in which the notebook has ended; None while it runs."""
    state = run_state(kaggle, kernel)
    return None if state == "running" else state


class _StepsDone:
    """Steps that are done of a bundle in an account, kept in a file; another bundle or account begins anew."""

    def __init__(self, path: Path, key: str) -> None:
        self._path, self._key = path, key
        self._values: dict[str, Any] = {}
        if path.exists():
            self._values = read_json(path, {str: (str, int)}, remedy="remove it: the steps begin anew")
        if self._values.get("of") != key:
            self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self._values = {"of": self._key}

    def get(self, name: str) -> int:
        """Return the value of a step, 0 where it is not done."""
        return int(self._values.get(name, 0))

    def set(self, name: str, value: int) -> None:
        """Record a step."""
        self._values[name] = value
        write_atomically(self._path, (json.dumps(self._values, indent=1) + "\n").encode())
