"""Upload a folder of files as a private Kaggle dataset: created the first time, a new version after that."""

import json
import time
from pathlib import Path
from typing import Any

import requests

from corolla.errors import Failure
from corolla.files import write_atomically
from corolla.kaggle.client import Kaggle
from corolla.kaggle.errors import status_of
from corolla.kaggle.retry import poll
from corolla.kaggle.submissions import silent
from corolla.kaggle.waiting import Waiting

WAIT_S = 30 * 60.0
VERSION_S = 60.0  # how long the old version may be shown as the current one


def upload_dataset(kaggle: Kaggle, folder: Path, dataset: str, *, notes: str) -> None:
    """Upload every file of `folder` (no sub-folders) and wait until Kaggle has it ready.

    Args:
        dataset: "owner/slug".
        notes: name of the version.

    Raises:
        UserError, Failure: it was refused, a file did not arrive, or it is not ready in half an hour.
    """
    metadata = {"id": dataset, "title": dataset.split("/")[1], "licenses": [{"name": "other"}]}
    write_atomically(folder / "dataset-metadata.json", (json.dumps(metadata, indent=2) + "\n").encode())
    before = _version(kaggle, dataset)

    def upload() -> Any:
        there = _version(kaggle, dataset)  # asked each time: it may be there though the answer was lost
        with silent():  # it prints why an upload failed, with the secret address
            if there is None:
                return kaggle.api.dataset_create_new(str(folder), public=False, quiet=True)
            return kaggle.api.dataset_create_version(str(folder), notes, quiet=True)

    answer = kaggle.call(upload, subject=dataset, progress=lambda: kaggle.api.num_uploaded)
    is_refused = answer.error or (answer.status or "ok").lower() == "error"
    # refused, it may be there all the same: made by a try whose answer was lost, and which the client repeated
    if is_refused and (before is not None or _version(kaggle, dataset) is None):
        raise Failure(f"{dataset}: Kaggle made no dataset of it: {answer.error or answer.status}")
    start = time.monotonic()

    def ready() -> str | None:
        state = kaggle.call(lambda: kaggle.api.dataset_status(dataset), subject=dataset)
        waiting.show(state.upper())
        if state in ("failed", "deleted"):
            return state
        patient = before is not None and time.monotonic() - start < VERSION_S
        stale = patient and (_version(kaggle, dataset) or 0) <= (before or 0)
        return state if state == "ready" and not stale else None

    with Waiting(f"dataset {dataset}") as waiting:
        state = poll(ready, wait_s=WAIT_S)
    if state != "ready":
        raise Failure(f"{dataset}: Kaggle has not made it ready ({state or 'still at work'}); the same command goes on")


def _version(kaggle: Kaggle, dataset: str) -> int | None:
    """Return the number of the current version, 0 where it is not said; None where there is no such dataset of ours."""

    def ask() -> int | None:
        try:
            kaggle.api.dataset_status(dataset)
        except requests.HTTPError as error:
            if status_of(error) in (403, 404):
                return None
            raise
        try:
            found = json.loads(kaggle.api.dataset_status(dataset, format="json(current_version_number)"))
            return int(found["current_version_number"] or 0)
        except requests.HTTPError as error:
            if status_of(error) in (403, 404):  # the status is what counts
                return 0
            raise

    return kaggle.call(ask, subject=dataset)
