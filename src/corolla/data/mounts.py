"""The competition's data in a Kaggle notebook, mounted read-only under /kaggle/input."""

import os
from pathlib import Path

from corolla.data.competition import SLUG, TWINS
from corolla.data.record_files import record_files
from corolla.session import in_kaggle

INPUT = Path("/kaggle/input")


def mounted_data(competition: str = SLUG) -> Path | None:
    """Return the folder with the TFRecords of the competition, or of its twin; None where none is mounted."""
    return next((folder for folder in _places(competition) if _holds_records(folder)), None)


def attached(competition: str = SLUG) -> bool:
    """Return whether there is a folder for the competition, even an empty one."""
    return any(folder.is_dir() for folder in _places(competition))


def mount_problem(competition: str = SLUG) -> str | None:
    """Return a line, `what is wrong: what to do`; None where the data is mounted, or this is no Kaggle session."""
    if mounted_data(competition):
        return None
    for folder in _places(competition):
        if folder.is_dir():
            return f"{folder} is attached but holds no TFRecords: restart the session, or add the input anew"
    if in_kaggle():
        return (
            f"the competition's data is not attached: Add Input > Competitions > {competition} (accept its rules first)"
        )
    return None


def competition_of_mount(folder: Path) -> str | None:
    """Return the competition that is mounted at `folder`; None where it is no mount."""
    place = folder.resolve()
    return place.name if place in [where.resolve() for twin in TWINS for where in _places(twin)] else None


def _places(competition: str) -> list[Path]:
    """Return where the data may be mounted, the competition that was asked for first, then its twin.

    Kaggle has mounted competitions with and without the middle folder.
    """
    root = Path(os.environ.get("COROLLA_KAGGLE_INPUT") or INPUT)
    slugs = [competition, *(twin for twin in TWINS if competition in TWINS and twin != competition)]
    return [root / middle / slug for slug in slugs for middle in ("", "competitions")]


def _holds_records(folder: Path) -> bool:
    # a mount may come up with empty folders
    return any(record_files(split) for split in folder.glob("tfrecords-jpeg-*/*"))
