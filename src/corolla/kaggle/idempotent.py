"""One submission, whatever gets lost: its tag is looked for before anything is sent, and again before a second try."""

import dataclasses
from collections.abc import Callable
from typing import Any

from corolla.errors import Failure, UserError
from corolla.kaggle.client import Kaggle, Unclear
from corolla.kaggle.ledger import Entry, Ledger, now, text
from corolla.kaggle.retry import poll
from corolla.kaggle.submissions import find_tagged, updated

LOOK_S = 30.0  # how long a submission whose answer was lost is looked for
NUM_TRIES = 3
MESSAGE_LENGTH = 400  # the tag stands behind it and must not be cut off


def begin(book: Ledger, entry: Entry, *, again: bool) -> Entry:
    """The row to work on: the one of the same content that there is, or `entry` as a new one.

    With `again` it is a new one with a tag of its own, but for an earlier one that was broken off.
    """
    same = [e for e in book.read() if e.competition == entry.competition and e.sha256 == entry.sha256]
    sent = [e for e in same if e.status != "not sent"]
    if same and same[-1].status == "not sent" and (again or not sent):
        return dataclasses.replace(entry, tag=same[-1].tag, status="not sent")  # not there, so this call's words count
    if sent and (not again or sent[-1].status == "sending"):
        return sent[-1]
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
        book.write(updated(entry, tagged))
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
