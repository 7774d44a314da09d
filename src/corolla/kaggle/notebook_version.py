"""A version of the notebook on Kaggle that runs with a bundle: uploaded, pushed and waited for, each step once."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corolla.errors import Failure, UserError
from corolla.files import write_atomically
from corolla.kaggle.bundle import Bundle
from corolla.kaggle.client import Kaggle
from corolla.kaggle.errors import SITE
from corolla.kaggle.remote_notebook import log_tail, push, run_state
from corolla.kaggle.retry import poll
from corolla.kaggle.upload_dataset import upload_dataset
from corolla.kaggle.waiting import Waiting
from corolla.kaggle.write_notebook import write_notebook
from corolla.text_files import read_json

log = logging.getLogger(__name__)

SLUG_LENGTH = 50  # the most that Kaggle takes
SURELY_MISSING = 3  # answers in a row that there is no such notebook: one may be a fault, or too early


@dataclass(frozen=True)
class NotebookNames:
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


def finished_version(
    kaggle: Kaggle, bundle: Bundle, folder: Path, names: NotebookNames, wait_s: float
) -> tuple[int, str]:
    """Return the number of a version of the notebook that has run to its end with this bundle, and its name.

    Raises:
        Failure: it has ended in another way, or not within `wait_s`; nothing was submitted.
    """
    done = _StepsDone(folder / "state.json", f"{bundle.sha256} {names.kernel}")
    version = _pushed_version(kaggle, bundle, folder, names, done)
    try:
        end = _await_end(kaggle, names.kernel, version, wait_s)
    except (UserError, Failure) as error:
        raise Failure(
            f"{error}; so how version {version} ends is not known, and nothing was submitted; the same command goes on "
            "waiting"
        ) from None
    if end is None:
        raise Failure(
            f"{names.kernel}: version {version} has not ended within {wait_s / 60:.0f} min; nothing was submitted; the "
            "same command goes on waiting"
        )
    if end != "complete":
        done.set("version", 0)  # the next try is a new one
        tail = log_tail(kaggle, names.kernel, folder / "notebook.log")
        raise Failure(f"{names.kernel}: version {version} ended with {end}, nothing was submitted; its log:\n{tail}")
    return version, f"{names.kernel}/{version}"


def _await_end(kaggle: Kaggle, kernel: str, version: int, wait_s: float) -> str | None:
    """Wait for a version and return how it has ended; None where it runs on."""
    times_missing = 0

    def ended() -> str | None:
        nonlocal times_missing
        state = run_state(kaggle, kernel)
        waiting.show(state.name)
        times_missing = times_missing + 1 if state.end == "missing" else 0
        return None if 0 < times_missing < SURELY_MISSING else state.end

    with Waiting(f"version {version} of {SITE}/code/{kernel}") as waiting:
        return poll(ended, wait_s=wait_s, first_s=10, longest_s=60)


def _pushed_version(kaggle: Kaggle, bundle: Bundle, folder: Path, names: NotebookNames, done: "_StepsDone") -> int:
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
    if done.get("version") and run_state(kaggle, names.kernel).end == "missing":  # deleted on Kaggle meanwhile
        done.forget()
    if not done.get("dataset"):
        how = f"{len(bundle.runs)} runs, {bundle.how}"
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
