"""submissions/ledger.csv: every submission with its runs and its score, one row each, never deleted."""

import csv
import dataclasses
import io
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from corolla.errors import UserError
from corolla.files import locked, write_atomically
from corolla.text_files import read_text

log = logging.getLogger(__name__)

LEDGER = Path("submissions/ledger.csv")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row; everything is text, as in the file."""

    time: str
    """When it was sent, UTC."""
    competition: str
    csv: str
    """Path of the CSV; for a notebook its owner/slug/version."""
    sha256: str
    """Hash of the CSV, or of the packed notebook's manifest."""
    runs: str
    """Names of the runs behind it, joined by blanks."""
    val_macro_f1: str
    public_score: str = ""
    private_score: str = ""
    status: str
    """sending: it is not known whether Kaggle has it; pending: Kaggle has it; complete, error: Kaggle has scored it;
    not sent: the upload or the notebook failed."""
    ref: str = ""
    """Kaggle's number of the submission."""
    tag: str
    """The mark in its description on Kaggle by which it is found again."""
    message: str
    note: str = ""
    """Kaggle's words about an error."""


COLUMNS = [field.name for field in dataclasses.fields(Entry)]
_REQUIRED = {field.name for field in dataclasses.fields(Entry) if field.default is dataclasses.MISSING}


def text(value: object) -> str:
    """Return a value as text for the file: a path or message may hold bytes that are no text."""
    return os.fsencode(str(value)).decode("utf-8", "replace")


def now() -> str:
    """Return the current time in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Ledger:
    """A ledger file; columns and rows that others added are kept as they are."""

    def __init__(self, path: Path = LEDGER) -> None:
        self.path = path.resolve() if path.is_symlink() else path  # to replace a link would fork what is kept

    def read(self) -> list[Entry]:
        """Return all rows in the file's order.

        Raises:
            UserError: it is not a ledger.
        """
        return [Entry(**{name: row.get(name) or "" for name in COLUMNS}) for row in self._rows()]

    def write(self, entry: Entry) -> None:
        """Replace the row of the same competition and tag, or append one."""
        with self._locked("lock"):
            self._write(entry)

    def _write(self, entry: Entry) -> None:
        rows = self._rows()
        new = dataclasses.asdict(entry)
        for row in rows:
            if (row["competition"], row["tag"]) == (entry.competition, entry.tag):
                row.update(new)
                break
        else:
            rows.append(new)
        names = COLUMNS + [name for name in (rows[0] if rows else {}) if name not in COLUMNS]
        table = io.StringIO()
        writer = csv.DictWriter(table, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self.path, table.getvalue().encode())

    def _rows(self) -> list[dict[str, str]]:
        """Read the rows with all their columns."""
        if not self.path.exists():
            return []
        content = read_text(self.path, remedy="fix it or move it away")
        try:
            reader = csv.DictReader(io.StringIO(content, newline=""), strict=True)
            rows = [{name: value for name, value in row.items() if isinstance(name, str)} for row in reader]
            columns = reader.fieldnames or []
        except csv.Error as error:
            raise UserError(f"{self.path}: not a CSV ({error}); fix it or move it away") from None
        if missing := [name for name in COLUMNS if name in _REQUIRED and name not in columns]:
            raise UserError(f"{self.path}: has no column {', '.join(missing)}; fix it or move it away")
        return rows

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Let one process at a time send; another one waits."""
        with self._locked("sending", waiting=f"{self.path}: another corolla submit is under way; waiting"):
            yield

    @contextmanager
    def _locked(self, name: str, *, waiting: str = "") -> Iterator[None]:
        """Hold a lock that dies with the process, after another process has let go of it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = self.path.with_name(f".{self.path.name}.{name}")
        with locked(lock, waiting=lambda: log.warning(waiting) if waiting else None):
            yield
