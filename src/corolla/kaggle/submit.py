"""`corolla submit`: a checked CSV to Kaggle, exactly once, and its score into the ledger."""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corolla.data.index import read_class_names
from corolla.errors import Failure, UserError
from corolla.files import sha256 as sha256_of
from corolla.kaggle.client import Kaggle, Unclear, connect
from corolla.kaggle.ledger import LEDGER, Entry, Ledger, now, text
from corolla.kaggle.origin import read_origin
from corolla.kaggle.patience import poll
from corolla.kaggle.submission import check_submission, read_labels
from corolla.kaggle.submissions import (
    await_score,
    find_tagged,
    get_competition,
    refuse_beyond_limit,
    request,
    silent,
    updated,
)

WAIT_S = 300.0
LOOK_S = 30.0  # how long a submission whose answer was lost is looked for
NUM_TRIES = 3
MESSAGE_LENGTH = 400  # the tag stands behind it and must not be cut off


@dataclass(frozen=True)
class Submitted:
    """What came of it."""

    entry: Entry
    sent: bool
    """False where Kaggle had it already."""


def submit(
    csv: Path,
    message: str,
    *,
    competition: str | None = None,
    data: Path | None = None,
    again: bool = False,
    ledger: Path = LEDGER,
    wait_s: float = WAIT_S,
) -> Submitted:
    """Check a CSV, send it once, wait for its score and record it.

    The description on Kaggle carries a tag made of the CSV's hash. Whatever gets lost on the way, a submission with
    that tag is looked for before anything is sent, so the same call can be made again after any fault.

    Args:
        competition: default: the one that the data came from.
        data: the data folder, for its sample_submission.csv and classes; default: what the CSV was made with, or data/.
        again: send once more what was sent before.
        wait_s: how long to wait for the score.

    Raises:
        UserError: the CSV is not fit, the day's submissions are used up, the competition takes notebooks only, ...
        Failure: the upload failed (nothing was submitted), or Kaggle has not scored it.
    """
    book = Ledger(ledger)
    with book.alone():
        entry, made = _checked(csv, message, competition, data)
        entry = begin(book, entry, again=again)
        kaggle = connect()
        entry, found = look(kaggle, book, entry, again=again)
        if found is None:
            about = get_competition(kaggle, entry.competition)
            if about.is_kernels_submissions_only:
                raise _notebooks_only(entry.competition, made)
            left = refuse_beyond_limit(kaggle, entry.competition, has_entered=about.user_has_entered)
            kaggle.say(f"{entry.competition}: sending {csv}; {left} submissions are left today")
            sent = send(kaggle, book, entry, lambda: (_upload(kaggle, csv, entry, made), entry.csv), _create)
        else:
            sent = found
    return Submitted(await_score(kaggle, sent, book, wait_s=wait_s), sent=found is None)


def _checked(csv: Path, message: str, competition: str | None, data: Path | None) -> tuple[Entry, dict[str, Any]]:
    """A new row for the ledger, and what the JSON beside the CSV says."""
    table = read_labels(csv)
    sha256 = sha256_of(csv)
    made = _provenance(csv, sha256)
    folder = data or Path(made.get("data", "data"))
    if not (folder / "sample_submission.csv").exists():
        raise UserError(
            f"{csv}: {folder} has no sample_submission.csv to check it by; name its data folder with --data"
        )
    sample = read_labels(folder / "sample_submission.csv")
    check_submission(table, sample, len(read_class_names(folder / "classes.txt")), source=str(csv))
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


def competition_of(folder: Path) -> str:
    """The competition that a data folder came from.

    Raises:
        UserError: nothing says which.
    """
    origin = read_origin(folder)
    if origin is None:
        raise UserError(
            f"{folder}: nothing here says which competition the data came from (corolla download writes it to "
            "competition.json); name it with --competition"
        )
    return origin.competition


def _provenance(csv: Path, sha256: str) -> dict[str, Any]:
    """What the JSON beside the CSV says, if it is of this very CSV."""
    try:
        made = json.loads(csv.with_suffix(".json").read_text(encoding="utf-8"))
        return made if made.get("csv_sha256") == sha256 else {}
    except (FileNotFoundError, ValueError, AttributeError):
        return {}


def begin(book: Ledger, entry: Entry, *, again: bool) -> Entry:
    """The row to work on: the one of the same content that there is, or `entry` as a new one.

    With `again` it is a new one with a tag of its own, but for an earlier one that was broken off.
    """
    same = [e for e in book.read() if e.competition == entry.competition and e.sha256 == entry.sha256]
    if same and same[-1].status == "not sent":  # nothing of it is at Kaggle, so this call's words count
        return dataclasses.replace(entry, tag=same[-1].tag, status="not sent")
    if same and (not again or same[-1].status == "sending"):
        return same[-1]
    return dataclasses.replace(entry, tag=f"{entry.tag}-{len(same) + 1}") if same else entry


def look(kaggle: Kaggle, book: Ledger, entry: Entry, *, again: bool) -> tuple[Entry, Entry | None]:
    """The row to work on, and how Kaggle has it, if it has it.

    Raises:
        UserError: the ledger has it as sent, and Kaggle does not list it.
    """
    known = any((e.competition, e.tag) == (entry.competition, entry.tag) for e in book.read())
    # One that was being sent when its process died may still be on its way.
    wait_s = LOOK_S if known and entry.status == "sending" else 0
    tagged = poll(lambda: find_tagged(kaggle, entry.competition, entry.tag), wait_s=wait_s)
    number = 1
    while again and not known and tagged is not None:  # sent from another ledger: this one needs a tag of its own
        number += 1
        entry = dataclasses.replace(entry, tag=f"corolla-{entry.sha256[:12]}-{number}")
        tagged = find_tagged(kaggle, entry.competition, entry.tag)
    if tagged is not None:
        found = updated(entry, tagged)
        book.write(found)
        advice = "" if again else " (--again would)"
        kaggle.say(f"{entry.competition} has this content already: submission {found.ref}; nothing is sent{advice}")
        return entry, found
    if entry.ref:
        raise UserError(
            f"{book.path}: has {entry.csv} as sent ({entry.ref} of {entry.time}), but Kaggle does not list it: is this "
            "another account? --again sends it"
        )
    return entry, None


def send(
    kaggle: Kaggle,
    book: Ledger,
    entry: Entry,
    prepare: Callable[[], tuple[Any, str]],
    create: Callable[[Kaggle, Entry, Any], Any],
) -> Entry:
    """Make the submission exactly once.

    Args:
        prepare: uploads; may be repeated. Gives what `create` needs, and what the ledger calls it.
        create: must not be repeated blindly.

    Raises:
        UserError, Failure: the row says `not sent` where that is certain, else `sending`.
    """
    book.write(dataclasses.replace(entry, status="not sent"))
    prepared, name = prepare()
    entry = dataclasses.replace(entry, status="sending", time=now(), csv=name)
    book.write(entry)  # before it is sent: if this process dies now, the next one knows where to look
    try:
        ref = _create_once(kaggle, entry, lambda: create(kaggle, entry, prepared))
    except _Refused as refused:
        book.write(dataclasses.replace(entry, status="not sent", note=text(refused.reason)))
        raise refused.reason from None
    entry = dataclasses.replace(entry, status="pending", ref=str(ref))
    book.write(entry)
    return entry


class _Refused(Exception):
    """It is certain that nothing was submitted."""

    def __init__(self, reason: UserError | Failure) -> None:
        self.reason = reason


def _create_once(kaggle: Kaggle, entry: Entry, create: Callable[[], Any]) -> int:
    """Kaggle's number of the submission.

    Raises:
        _Refused: nothing was submitted, for certain. UserError, Failure: it is not known.
    """
    before, said = _num_today(kaggle, entry.competition), ""
    for number in range(NUM_TRIES):
        try:
            answer = kaggle.call_once(create, subject=entry.competition)
            if answer.ref:
                return answer.ref
            reason = Failure(
                f"{entry.competition}: no submission was made of {entry.csv}: {answer.message or 'no reason'}"
            )
        except Unclear as error:
            reason, said = None, str(error)
            kaggle.say(f"{error}; looking whether the submission has arrived")
        except (UserError, Failure) as error:
            reason = error
        if reason is not None and number == 0 and not isinstance(reason, Failure):
            raise _Refused(reason)
        found = poll(lambda: find_tagged(kaggle, entry.competition, entry.tag), wait_s=LOOK_S)
        if found is not None:
            return found.ref
        if reason is not None and number == 0:
            raise _Refused(reason)
        if reason is not None:  # an earlier try may have had its effect, and this one was refused because of it
            raise reason
        if _num_today(kaggle, entry.competition) > before:
            said = f"{said}, though Kaggle counts one submission more"
            break
    raise Failure(
        f"{said}; Kaggle does not list the submission, so whether it has it is not known; look at corolla submissions, "
        "and in a while the same command goes on"
    )


def _num_today(kaggle: Kaggle, competition: str) -> int:
    limits = kaggle.call(lambda: kaggle.api.competition_get_submission_limits(competition), subject=competition)
    return limits.num_today


def description(entry: Entry) -> str:
    """What Kaggle shows: the message and the tag."""
    return f"{entry.message[:MESSAGE_LENGTH]} [{entry.tag}]".strip()


def _upload(kaggle: Kaggle, csv: Path, entry: Entry, made: dict[str, Any]) -> str:
    """The token of the uploaded CSV."""
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
            raise _notebooks_only(competition, made) from None
        raise
    with silent():  # the client prints why it failed, with the secret address
        complete = kaggle.api.uploads(csv, started.create_url)
    if not complete:
        raise Failure(f"{csv}: the upload failed, so nothing was submitted; the same command tries again")
    return started.token


def _create(kaggle: Kaggle, entry: Entry, token: str) -> Any:
    from kagglesdk.competitions.types.competition_api_service import ApiCreateSubmissionRequest

    asked = ApiCreateSubmissionRequest()
    asked.competition_name, asked.blob_file_tokens = entry.competition, token
    asked.submission_description = description(entry)
    with kaggle.api.build_kaggle_client() as client:
        return client.competitions.competition_api_client.create_submission(asked)


def _notebooks_only(competition: str, made: dict[str, Any]) -> UserError:
    runs = " ".join(f"runs/{run['run']}" for run in made.get("runs", [])) or "RUN..."
    return UserError(
        f"{competition}: takes notebooks only, no CSV files; nothing was sent. This makes and submits one: "
        f"corolla submit --notebook {runs} --competition {competition}"
    )
