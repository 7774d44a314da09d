"""Submit exactly once: a submission's tag is searched before anything is sent, and again before a second try."""

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

from corolla.errors import Failure, UserError
from corolla.kaggle.client import Kaggle, OutcomeUnknown
from corolla.kaggle.ledger import Entry, Ledger, now, text
from corolla.kaggle.retry import poll
from corolla.kaggle.sending import SendingNote, sending_alone
from corolla.kaggle.submissions import find_tagged, updated

log = logging.getLogger(__name__)

SEARCH_S = 30.0  # how long a submission whose answer was lost is searched
LISTING_S = 60.0  # how long Kaggle's list may lag behind a submission that it has confirmed
NUM_TRIES = 3
MESSAGE_LENGTH = 400  # the tag follows it and must not be cut off


def choose_row(book: Ledger, entry: Entry, *, again: bool) -> Entry:
    """Return the ledger's row of the same content where there is one, else `entry` as a new row.

    With `again` it is a new row with a tag of its own, unless an earlier one was broken off.
    """
    same = [e for e in book.read() if e.competition == entry.competition and e.sha256 == entry.sha256]
    sent = [e for e in same if e.status != "not sent"]
    if same and same[-1].status == "not sent" and (again or not sent):
        return dataclasses.replace(entry, tag=same[-1].tag, status="not sent")  # not there, so this call's words count
    if sent and (not again or sent[-1].status == "sending"):
        return sent[-1]
    return dataclasses.replace(entry, tag=f"{entry.tag}-{len(same) + 1}") if same else entry


def submit_once(
    kaggle: Kaggle, book: Ledger, entry: Entry, *, again: bool, send: Callable[[Entry, SendingNote], Entry]
) -> tuple[Entry, bool]:
    """Return the row of a submission that Kaggle has, and whether it was sent now.

    From the question until Kaggle lists it no other process with this account asks or sends the same.

    Args:
        entry: as `choose_row` returns it.
        send: makes the submission by `record_and_send`.

    Raises:
        UserError: it was sent, and Kaggle does not list it.
    """
    account = kaggle.username or ""  # OAuth credentials may lack it
    with sending_alone(account, entry.competition, entry.sha256) as note:
        entry, found = _find(kaggle, book, note, entry, again=again)
        return (send(entry, note), True) if found is None else (found, False)


def _find(kaggle: Kaggle, book: Ledger, note: SendingNote, entry: Entry, *, again: bool) -> tuple[Entry, Entry | None]:
    """Return the row to work on, and how Kaggle has it, if it has it.

    Raises:
        UserError: it was sent by the ledger or the note, and Kaggle does not list it.
    """
    known = any((e.competition, e.tag) == (entry.competition, entry.tag) for e in book.read())
    noted_tag, noted_ref = note.read()

    def look(entry: Entry) -> Any | None:
        # One that was being sent when its process died may still be on its way.
        is_on_its_way = entry.tag == noted_tag or (known and entry.status == "sending")
        wait_s = SEARCH_S if is_on_its_way else 0
        return poll(lambda: find_tagged(kaggle, entry.competition, entry.tag), wait_s=wait_s)

    def is_noted(entry: Entry) -> bool:
        return bool(noted_ref) and entry.tag == noted_tag

    tagged, number = look(entry), 1
    while again and not known and (tagged is not None or is_noted(entry)):  # sent from another ledger: a tag of its own
        number += 1
        if tagged is not None:
            book.write(updated(entry, tagged))
        entry = dataclasses.replace(entry, tag=f"corolla-{entry.sha256[:12]}-{number}")
        tagged = look(entry)
    if tagged is not None:
        found = updated(entry, tagged)
        book.write(found)
        if entry.tag == noted_tag:
            note.clear()
        advice = "" if again else " (--again would)"
        log.info("%s has this content already: submission %s; nothing is sent%s", entry.competition, found.ref, advice)
        return entry, found
    if entry.ref:
        raise UserError(
            f"{book.path}: has {entry.csv} as sent ({entry.ref} of {entry.time}), but Kaggle does not list it: is this "
            "another account? --again sends it"
        )
    if is_noted(entry):
        raise UserError(
            f"{entry.competition}: this content was sent as submission {noted_ref}, not from {book.path}, and Kaggle "
            "does not list it yet; nothing was sent; try again later, or --again sends it once more"
        )
    return entry, None


def record_and_send(
    kaggle: Kaggle,
    book: Ledger,
    note: SendingNote,
    entry: Entry,
    prepare: Callable[[], tuple[Any, str]],
    create: Callable[[Kaggle, Entry, Any], Any],
) -> Entry:
    """Make the submission exactly once, ledger and note a step ahead of it, and return its row when Kaggle lists it.

    Args:
        prepare: uploads; may be repeated. Returns what `create` needs, and what the ledger calls it.
        create: must not be repeated blindly.

    Raises:
        UserError, Failure: the row says `not sent` where that is certain, else `sending`.
    """
    book.write(dataclasses.replace(entry, status="not sent"))
    prepared, name = prepare()
    entry = dataclasses.replace(entry, status="sending", time=now(), csv=name)
    book.write(entry)  # before it is sent: if this process dies now, the next one knows where to look
    note.write(entry.tag)
    try:
        ref = _create_once(kaggle, entry, lambda: create(kaggle, entry, prepared))
    except _NothingSubmitted as error:
        book.write(dataclasses.replace(entry, status="not sent", note=text(error.reason)))
        note.clear()
        raise error.reason from None
    entry = dataclasses.replace(entry, status="pending", ref=str(ref))
    book.write(entry)
    note.write(entry.tag, entry.ref)
    _await_listing(kaggle, note, entry)
    return entry


def _await_listing(kaggle: Kaggle, note: SendingNote, entry: Entry) -> None:
    """Wait until Kaggle lists a submission, by which other processes find it; where that lasts, the note stays."""
    try:
        listed = poll(lambda: find_tagged(kaggle, entry.competition, entry.tag), wait_s=LISTING_S)
    except (UserError, Failure) as error:
        log.warning("submission %s is sent, but whether Kaggle lists it is not known: %s", entry.ref, error)
        return
    if listed is None:
        log.warning("submission %s is sent, but Kaggle does not list it within %.0f s", entry.ref, LISTING_S)
    else:
        note.clear()


class _NothingSubmitted(Exception):
    """It is certain that nothing was submitted."""

    def __init__(self, reason: UserError | Failure) -> None:
        self.reason = reason


def _create_once(kaggle: Kaggle, entry: Entry, create: Callable[[], Any]) -> int:
    """Make the submission and return Kaggle's number of it.

    Raises:
        _NothingSubmitted: for certain. UserError, Failure: it is not known.
    """
    before, lost = _num_today(kaggle, entry.competition), ""
    for number in range(NUM_TRIES):
        reason = None
        try:
            answer = kaggle.call_once(create, subject=entry.competition)
            if answer.ref:
                return answer.ref
            why = answer.message or "no reason"
            reason = Failure(f"{entry.competition}: no submission was made of {entry.csv}: {why}")
        except OutcomeUnknown as error:
            lost = str(error)
            log.warning("%s; looking whether the submission has arrived", error)
        except (UserError, Failure) as error:
            reason = error
        if reason is not None and number == 0 and not isinstance(reason, Failure):
            raise _NothingSubmitted(reason)
        found = poll(lambda: find_tagged(kaggle, entry.competition, entry.tag), wait_s=SEARCH_S)
        if found is not None:
            return found.ref
        if reason is not None and number == 0:
            raise _NothingSubmitted(reason)
        if reason is not None:  # an earlier try may have had its effect, and this one was refused because of it
            raise reason
        if _num_today(kaggle, entry.competition) > before:
            lost = f"{lost}, though Kaggle counts one submission more"
            break
    raise Failure(
        f"{lost}; Kaggle does not list the submission, so whether it has it is not known; look at corolla submissions, "
        "and in a while the same command goes on"
    )


def _num_today(kaggle: Kaggle, competition: str) -> int:
    """Return how many submissions Kaggle counts today."""
    limits = kaggle.call(lambda: kaggle.api.competition_get_submission_limits(competition), subject=competition)
    return limits.num_today


def tagged_description(entry: Entry) -> str:
    """Return the description that Kaggle shows: the message and the tag."""
    return f"{entry.message[:MESSAGE_LENGTH]} [{entry.tag}]".strip()
