"""Push a notebook to Kaggle, ask how it runs, fetch its log."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import requests

from corolla.errors import Failure, UserError
from corolla.files import write_atomically
from corolla.kaggle.client import Kaggle
from corolla.kaggle.errors import SITE, status_of
from corolla.kaggle.submissions import silent
from corolla.text_files import printable

NUM_LINES = 20
LONGEST_LINE = 300
COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
DATA = re.compile(r'"data"\s*:\s*"((?:[^"\\]|\\(?:u[0-9a-fA-F]{4}|[^u]))*)')
"""The text of a piece of a log, or its beginning where the log ends in the midst of it."""


@dataclass(frozen=True)
class RunState:
    """How a notebook runs."""

    name: str
    """As Kaggle calls it: QUEUED, RUNNING, COMPLETE, ERROR, ...; MISSING: this account has no such notebook."""

    @property
    def end(self) -> Literal["complete", "error", "cancelled", "missing"] | None:
        """How it has ended; None while it runs or waits for its turn."""
        if self.name.startswith("CANCEL"):
            return "cancelled"
        ends = {"COMPLETE": "complete", "ERROR": "error", "MISSING": "missing"}
        return ends.get(self.name)  # pyright: ignore[reportReturnType]


def push(kaggle: Kaggle, folder: Path, kernel: str) -> int:
    """Push a folder with kernel-metadata.json and return the number of the version that runs now.

    The client and Kaggle answer a refusal like a success, with the reason in a field.

    Raises:
        UserError: the competition or the dataset cannot be attached. Failure: any other refusal.
    """

    def save() -> Any:
        with silent():
            return kaggle.api.kernels_push(str(folder))

    answer = kaggle.call(save, subject=kernel)
    if slugs := list(answer.invalid_competition_sources or []):
        rules = f"{SITE}/competitions/{slugs[0]}/rules"
        raise UserError(f"{kernel}: {slugs[0]} cannot be attached to it; accept the rules at {rules}")
    if refused := [*(answer.invalid_dataset_sources or []), *(answer.invalid_kernel_sources or [])]:
        raise Failure(f"{kernel}: {', '.join(refused)} cannot be attached to it; nothing was submitted")
    if answer.error or not answer.version_number:
        raise Failure(f"{kernel}: Kaggle refuses the notebook: {answer.error or 'no version number in its answer'}")
    return answer.version_number


def run_state(kaggle: Kaggle, kernel: str) -> RunState:
    """Return the state of the newest version."""

    def ask() -> RunState:
        try:
            return RunState(kaggle.api.kernels_status(kernel).status.name)
        except (requests.RequestException, ValueError) as error:
            # The client words 401 and 403 anew, as a ValueError.
            refused = error.__context__ if isinstance(error.__context__, requests.HTTPError) else error
            if status_of(refused) in (403, 404):
                return RunState("MISSING")
            raise refused from None

    return kaggle.call(ask, subject=kernel)


def log_tail(kaggle: Kaggle, kernel: str, path: Path) -> str:
    """Return the last lines of the notebook's log, and write all of it to `path`."""
    raw = kaggle.call(lambda: kaggle.api.kernels_logs(kernel), subject=kernel)
    text = _plain(raw)
    write_atomically(path, text.encode(errors="replace"))
    lines = text.rstrip().splitlines() or ["(Kaggle has no log of it)"]
    shown = (printable(COLOUR.sub("", line).expandtabs()) for line in lines[-NUM_LINES:])
    cut = (line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}..." for line in shown)
    return "\n".join([*cut, f"(all of it: {path})"])


def _plain(log: str) -> str:
    """Return a log as plain text; it is JSON of many {stream_name, time, data}, which may be cut short, or text."""
    pieces = DATA.findall(log) if log.lstrip().startswith(("[", "{")) else []
    text = "".join(json.loads(f'"{piece}"', strict=False) for piece in pieces)
    return text if pieces or log.strip() == "[]" else log
