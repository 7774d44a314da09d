"""`corolla submit`: a checked CSV to Kaggle, exactly once, and its score into the ledger."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corolla.data.class_names import read_class_names
from corolla.data.competition import SAMPLE_SUBMISSION
from corolla.errors import Failure, UserError
from corolla.kaggle.client import Kaggle, connect
from corolla.kaggle.idempotent import choose_row, record_and_send, submit_once, tagged_description
from corolla.kaggle.ledger import LEDGER, Entry, Ledger, now, text
from corolla.kaggle.manifest import competition_of
from corolla.kaggle.provenance import can_run_again, check_same_data, found_from, read_provenance, sha256_of
from corolla.kaggle.sending import SendingNote
from corolla.kaggle.submission import check_submission, read_labels
from corolla.kaggle.submissions import await_score, check_limit, get_competition, request, silent
from corolla.paths import AnyPath, as_path
from corolla.results import Result
from corolla.text_files import shell_words

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

WAIT_S = 300.0


@dataclass(frozen=True, repr=False)
class Submitted(Result):
    """A submission that Kaggle has scored."""

    entry: Entry
    sent: bool
    """False where Kaggle had it already."""

    @property
    def summary(self) -> str:
        """The submission and its public score."""
        entry = self.entry
        what = "submission" if self.sent else "already there, submission"
        return f"{entry.competition}: {what} {entry.ref} of {entry.csv}, public score {entry.public_score or '-'}"

    def to_pandas(self) -> "pd.DataFrame":
        """Return the ledger's row."""
        import pandas as pd

        return pd.DataFrame([asdict(self.entry)])


def submit(
    csv: AnyPath,
    message: str = "",
    *,
    competition: str | None = None,
    data: AnyPath | None = None,
    again: bool = False,
    ledger: AnyPath = LEDGER,
    wait_s: float = WAIT_S,
) -> Submitted:
    """Check a CSV, send it once, wait for its score and record it.

    The description on Kaggle carries a tag made of the CSV's hash. Whatever gets lost on the way, a submission with
    that tag is looked for before anything is sent, so the same call can be made again after any fault. Two calls at
    once make one submission, also with two ledgers, where they share the user's cache: not on two machines.

    Args:
        csv: the file, or what `corolla.submission_from_runs` returned.
        message: what Kaggle shows beside it; default: the CSV's name.
        competition: default: the one that the data came from.
        data: the data folder, for its sample_submission.csv and classes; default: what the CSV was made with, or data/.
        again: send once more what was sent before.
        wait_s: how long to wait for the score.

    Raises:
        UserError: the CSV is not fit, or of other records than the data folder holds now, the day's submissions are
            used up, the competition takes notebooks only, ...
        Failure: the upload failed (nothing was submitted), or Kaggle has not scored it.
    """
    csv, data, book = as_path(csv), as_path(data), Ledger(as_path(ledger))
    with book.exclusive():
        entry, made = _checked(csv, message or csv.stem, competition, data)
        entry = choose_row(book, entry, again=again)
        kaggle = connect()
        entry, sent = submit_once(
            kaggle, book, entry, again=again, send=lambda entry, note: _send(kaggle, book, note, entry, csv, made)
        )
    return Submitted(await_score(kaggle, entry, book, wait_s=wait_s), sent=sent)


def _checked(csv: Path, message: str, competition: str | None, data: Path | None) -> tuple[Entry, dict[str, Any]]:
    """Check the CSV and return a new row for the ledger, and what the JSON beside the CSV says."""
    table = read_labels(csv)
    sha256 = sha256_of(csv)
    made = read_provenance(csv, sha256)
    folder = data or found_from(csv, made.get("data", "data"))
    if not (folder / SAMPLE_SUBMISSION).exists():
        raise UserError(
            f"{csv}: {folder} has no sample_submission.csv to check it by; name its data folder with --data"
        )
    sample = read_labels(folder / SAMPLE_SUBMISSION)
    check_submission(table, sample, len(read_class_names(folder / "classes.txt")), source=str(csv))
    check_same_data(csv, made, folder)
    entry = Entry(
        time=now(),
        competition=competition or competition_of(folder),
        csv=text(csv),
        sha256=sha256,
        runs=" ".join(run["run"] for run in made.get("runs", [])),
        val_macro_f1="" if made.get("val_macro_f1") is None else f"{made['val_macro_f1']:.5f}",
        status="sending",
        tag=f"corolla-{sha256[:12]}",
        message=text(message),
    )
    return entry, made


def _send(kaggle: Kaggle, book: Ledger, note: SendingNote, entry: Entry, csv: Path, made: dict[str, Any]) -> Entry:
    """Upload the CSV, submit it and return the ledger's row."""
    about = get_competition(kaggle, entry.competition)
    if about.is_kernels_submissions_only:
        raise _notebooks_only(entry, csv, made, book.path)
    left = check_limit(kaggle, entry.competition, has_entered=about.user_has_entered)
    log.info("%s: sending %s; %d submissions are left today", entry.competition, csv, left)
    return record_and_send(
        kaggle,
        book,
        note,
        entry,
        prepare=lambda: (_upload(kaggle, csv, entry, made, book.path), entry.csv),
        create=_create,
    )


def _upload(kaggle: Kaggle, csv: Path, entry: Entry, made: dict[str, Any], ledger: Path) -> str:
    """Upload the CSV and return its token."""
    if sha256_of(csv) != entry.sha256:
        raise UserError(f"{csv}: was changed while it was being submitted; nothing was sent")
    competition = entry.competition
    from kagglesdk.competitions.types.competition_api_service import ApiStartSubmissionUploadRequest

    asked = ApiStartSubmissionUploadRequest()
    asked.competition_name, asked.file_name = competition, text(csv.name)
    asked.content_length, asked.last_modified_epoch_seconds = csv.stat().st_size, int(csv.stat().st_mtime)
    try:
        started = request(kaggle, lambda client: client.start_submission_upload(asked), competition)
    except UserError as error:
        if "notebook" in str(error).lower() or "kernel" in str(error).lower():
            raise _notebooks_only(entry, csv, made, ledger) from None
        raise
    with silent():  # the client prints why it failed, with the secret address
        complete = kaggle.api.upload_file(csv, started.create_url)
    if not complete:
        raise Failure(f"{csv}: the upload failed, so nothing was submitted; the same command tries again")
    return started.token


def _create(kaggle: Kaggle, entry: Entry, token: str) -> Any:
    """Make the submission of an uploaded CSV."""
    from kagglesdk.competitions.types.competition_api_service import ApiCreateSubmissionRequest

    asked = ApiCreateSubmissionRequest()
    asked.competition_name, asked.blob_file_tokens = entry.competition, token
    asked.submission_description = tagged_description(entry)
    with kaggle.api.build_kaggle_client() as client:
        return client.competitions.competition_api_client.create_submission(asked)


def _notebooks_only(entry: Entry, csv: Path, made: dict[str, Any], ledger: Path) -> UserError:
    """Return the error for a competition that takes no CSV files, with the command that does work."""
    runs, members = made.get("runs", []), made.get("members", [])
    can_run = can_run_again(made)
    words: list[object] = [csv, "--notebook"]
    if not can_run:  # nothing says what made it, or an early version, or files of others did
        named = [f"runs/{run['run']}" for run in runs] if runs and not members else ["RUN..."]
        words = ["--notebook", *named]
    words += ["--competition", entry.competition]
    words += ["--message", entry.message] if entry.message != csv.stem else []
    words += ["--ledger", ledger] if ledger != LEDGER else []
    what = "the same predictions as a notebook" if can_run else "runs as a notebook"
    return UserError(
        f"{entry.competition}: takes notebooks only, no CSV files; nothing was sent. This sends {what}: "
        f"{shell_words('corolla', 'submit', *words)}"
    )
