"""Submissions as Kaggle lists them; `corolla submissions` brings the ledger up to date."""

import contextlib
import dataclasses
import io
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import requests

from corolla.errors import Failure, UserError
from corolla.kaggle.client import Kaggle, connect
from corolla.kaggle.errors import SITE, status_of
from corolla.kaggle.ledger import LEDGER, Entry, Ledger
from corolla.kaggle.retry import pages, poll
from corolla.kaggle.waiting import Waiting

log = logging.getLogger(__name__)

PAGE_SIZE = 100
T = TypeVar("T")


def request(kaggle: Kaggle, ask: Callable[[Any], T], subject: str) -> T:
    """Return `ask(client)` of the client's competition service, retried, for calls that its Python API lacks."""

    def call() -> T:
        with kaggle.api.build_kaggle_client() as client:
            return ask(client.competitions.competition_api_client)

    return kaggle.call(call, subject=subject)


def list_submissions(kaggle: Kaggle, competition: str) -> list[Any]:
    """Return every ApiSubmission to a competition, newest first; the client's own method returns one page."""
    from kagglesdk.competitions.types.competition_api_service import ApiListSubmissionsRequest

    def page(token: str) -> Any:
        asked = ApiListSubmissionsRequest()
        asked.competition_name, asked.page_size, asked.page_token = competition, PAGE_SIZE, token
        if not token:
            asked.page = 1
        return request(kaggle, lambda client: client.list_submissions(asked), competition)

    return [submission for found in pages(page) for submission in found.submissions or []]


def find_tagged(kaggle: Kaggle, competition: str, tag: str) -> Any | None:
    """Return the submission whose description carries the tag."""
    marked = [s for s in list_submissions(kaggle, competition) if f"[{tag}]" in (s.description or "")]
    return marked[0] if marked else None


def get_competition(kaggle: Kaggle, competition: str) -> Any:
    """Return the facts of a competition (ApiCompetition)."""
    from kagglesdk.competitions.types.competition_api_service import ApiGetCompetitionRequest

    asked = ApiGetCompetitionRequest()
    asked.competition_name = competition
    return request(kaggle, lambda client: client.get_competition(asked), competition)


def check_limit(kaggle: Kaggle, competition: str, *, has_entered: bool) -> int:
    """Check that a submission is allowed now, and return how many are left today.

    Raises:
        UserError: none is left, or the competition was never entered.
    """
    limits = kaggle.call(lambda: kaggle.api.competition_get_submission_limits(competition), subject=competition)
    if limits.num_allowed_now > 0:
        return limits.num_allowed_now
    if not limits.num_total and not limits.num_today:  # Kaggle answers zeros to who is in no team
        if has_entered:
            return 0
        raise UserError(
            f"{competition}: you have not joined; accept its rules at {SITE}/competitions/{competition}/rules"
        )
    which = "the competition's limit in all" if limits.limited_by_total else "today's limit"
    raise UserError(
        f"{competition}: {which} is used up ({limits.num_today} submissions today, {limits.num_total} in all); the day "
        "begins at 00:00 UTC; nothing was sent"
    )


def await_score(kaggle: Kaggle, entry: Entry, ledger: Ledger, *, wait_s: float) -> Entry:
    """Wait until Kaggle has scored a submission, record it in the ledger and return its row.

    Raises:
        Failure: Kaggle could not score it, or has not within `wait_s`.
    """
    from kagglesdk.competitions.types.competition_api_service import ApiGetSubmissionRequest

    asked = ApiGetSubmissionRequest()
    asked.ref = int(entry.ref)

    def get(client: Any) -> Any | None:
        try:
            return client.get_submission(asked)
        except requests.HTTPError as error:
            if status_of(error) == 404:  # it is not everywhere yet
                return None
            raise

    def scored() -> Entry | None:
        submission = request(kaggle, get, entry.competition)
        waiting.show("PENDING" if submission is None else submission.status.name)
        now = entry if submission is None else updated(entry, submission)
        return now if now.status in ("complete", "error") else None

    if entry.status == "pending":
        log.info("%s: sent as submission %s", entry.competition, entry.ref)
    try:
        with Waiting(f"the score of submission {entry.ref}") as waiting:
            result = poll(scored, wait_s=wait_s)
    except (UserError, Failure) as error:
        raise Failure(f"submission {entry.ref} is sent; its score is not known yet, because {error}") from None
    if result is None:
        raise Failure(
            f"submission {entry.ref} is sent, but Kaggle has not scored it within {wait_s / 60:.0f} min; "
            "corolla submissions fills in the score when it has come"
        )
    ledger.write(result)
    if result.status == "error":
        raise Failure(f"Kaggle could not score submission {entry.ref} ({entry.csv}): {result.note}")
    return result


def updated(entry: Entry, submission: Any) -> Entry:
    """Return `entry` with its state and scores as Kaggle has them now."""
    status = {"COMPLETE": "complete", "ERROR": "error"}.get(submission.status.name, "pending")
    return dataclasses.replace(
        entry,
        ref=str(submission.ref),
        status=status,
        public_score=submission.public_score or entry.public_score,
        private_score=submission.private_score or entry.private_score,
        note=" ".join((submission.error_description or "no reason given").split()) if status == "error" else "",
    )


@dataclass(frozen=True)
class Listed:
    """A line of `corolla submissions`."""

    entry: Entry
    in_ledger: bool
    on_kaggle: bool


def submissions(competition: str | None = None, *, ledger: Path = LEDGER, kaggle: Kaggle | None = None) -> list[Listed]:
    """Return the ledger beside what Kaggle lists, newest last, and write scores that came later to the ledger.

    Args:
        competition: default: every one in the ledger.

    Raises:
        UserError: the ledger is empty and no competition is named.
    """
    book = Ledger(ledger)
    entries = book.read()
    wanted = [competition] if competition else sorted({entry.competition for entry in entries})
    if not wanted:
        raise UserError(f"{ledger}: holds no submission yet; name a competition with --competition")
    kaggle = kaggle or connect()
    lines = [line for slug in wanted for line in _reconcile(kaggle, slug, book)]
    return sorted(lines, key=lambda line: line.entry.time)


def _reconcile(kaggle: Kaggle, competition: str, book: Ledger) -> list[Listed]:
    """Match one competition's rows with Kaggle's submissions, by number or tag, and update the ledger."""
    there = {str(s.ref): s for s in list_submissions(kaggle, competition)}
    lines = []
    for entry in (entry for entry in book.read() if entry.competition == competition):
        found = there.pop(entry.ref, None)
        if found is None and not entry.ref:
            by_tag = [ref for ref, s in there.items() if f"[{entry.tag}]" in (s.description or "")]
            found = there.pop(by_tag[0]) if by_tag else None
        now = updated(entry, found) if found is not None else entry
        if now != entry:
            book.write(now)
        lines.append(Listed(now, True, found is not None))
    return lines + [Listed(_foreign(competition, s), False, True) for s in there.values()]


def _foreign(competition: str, submission: Any) -> Entry:
    """Return a row for a submission that the ledger does not have."""
    blank = Entry(
        time=submission.date.isoformat(timespec="seconds") if submission.date else "",
        competition=competition,
        csv=submission.file_name or "",
        sha256="",
        runs="",
        val_macro_f1="",
        status="pending",
        tag="",
        message=submission.description or "",
    )
    return updated(blank, submission)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Swallow what the client prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
