"""Keep two ledgers from sending one content twice: a lock in the user's cache, and a note of what is on its way.

It holds for all processes that share this cache; those of another machine, or with another XDG_CACHE_HOME, do not.
"""

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from corolla.files import locked, write_atomically
from corolla.text_files import read_text

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SendingNote:
    """A note of a submission that Kaggle may not list yet; it outlives a process that is killed."""

    path: Path | None
    """None where the cache can't be written: nothing is noted."""

    def read(self) -> tuple[str, str]:
        """Return the submission's tag and Kaggle's number of it, each empty where it is not known.

        Raises:
            UserError: it is damaged.
        """
        if self.path is None or not self.path.exists():
            return "", ""
        tag, _, ref = read_text(self.path, remedy="delete it").strip().partition(" ")
        return tag, ref

    def write(self, tag: str, ref: str = "") -> None:
        """Note a submission that is being sent, or one that Kaggle has given a number."""
        if self.path is not None:
            try:
                write_atomically(self.path, f"{tag} {ref}\n".encode())
            except OSError as error:
                _warn(self.path, error)

    def clear(self) -> None:
        """Forget it: Kaggle lists it, or it was not sent."""
        if self.path is not None:
            try:
                self.path.unlink(missing_ok=True)
            except OSError as error:
                _warn(self.path, error)


@contextmanager
def sending_alone(account: str, competition: str, sha256: str) -> Iterator[SendingNote]:
    """Let one process at a time ask for and send a content with an account, whatever its ledger; another one waits.

    Where the cache can't be written it goes on with a warning.
    """
    # Kaggle tells neither accounts nor competitions apart by the case of their letters.
    key = "\n".join((account.casefold(), competition.casefold(), sha256))
    name = hashlib.sha256(key.encode()).hexdigest()[:32]
    waiting = f"{competition}: another corolla submit is sending the same content; waiting until Kaggle lists it"
    with ExitStack() as stack:
        note = SendingNote(None)
        try:
            folder = _cache() / "corolla" / "submit"
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(folder / f"{name}.lock", waiting=lambda: log.warning(waiting)))
            note = SendingNote(folder / f"{name}.sending")
        except (OSError, RuntimeError) as error:  # RuntimeError: this user has no home folder
            _warn(None, error)
        yield note


def _cache() -> Path:
    """Return the user's cache; a relative XDG_CACHE_HOME, another place in every folder, does not count.

    XDG Base Directory Specification: "All paths set in these environment variables must be absolute."
    """
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return chosen if chosen.is_absolute() else Path.home() / ".cache"


def _warn(path: Path | None, error: OSError | RuntimeError) -> None:
    """Tell that the cache does not keep another process from sending the same."""
    place = path or getattr(error, "filename", None) or "the user's cache"
    reason = getattr(error, "strerror", None) or error
    log.warning(
        "%s: can't be written (%s), so that the same content, submitted from another folder at this moment, would be "
        "sent twice; name another cache with XDG_CACHE_HOME",
        place,
        reason,
    )
