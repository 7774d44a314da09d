"""competition.json in a data folder: which competition the data came from, and the files of it that were verified."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from corolla.data.mounts import competition_of_mount
from corolla.errors import UserError
from corolla.files import write_atomically
from corolla.text_files import read_json

COMPETITION_JSON = "competition.json"


@dataclass
class DataManifest:
    """The competition that a data folder came from, and its files."""

    competition: str
    files: dict[str, dict[str, int]] = field(default_factory=dict)
    """Side in pixels -> file's name in the competition -> bytes, for every size that was downloaded."""

    def save(self, folder: Path) -> None:
        """Write it into the data folder."""
        content = {"competition": self.competition, "files": self.files}
        write_atomically(folder / COMPETITION_JSON, (json.dumps(content, indent=1) + "\n").encode())


def read_manifest(folder: Path) -> DataManifest | None:
    """Read where the data in `folder` came from; None where nothing says so.

    Raises:
        UserError: competition.json is damaged.
    """
    path = folder / COMPETITION_JSON
    if not path.exists():
        mounted = competition_of_mount(folder)
        return DataManifest(mounted) if mounted else None
    shape = {"competition": str, "files": {str: {str: int}}}
    content = read_json(path, shape, remedy="delete it and run corolla download again")
    return DataManifest(content["competition"], content["files"])


def competition_of(folder: Path) -> str:
    """Return the competition that a data folder came from.

    Raises:
        UserError: nothing says which.
    """
    manifest = read_manifest(folder)
    if manifest is None and not folder.exists():
        raise UserError(
            f"{folder}: is not here, to say which competition the data came from; say where it is now with --data, or "
            "name the competition with --competition"
        )
    if manifest is None:
        raise UserError(
            f"{folder}: nothing here says which competition the data came from (corolla download writes it to "
            "competition.json); name it with --competition"
        )
    return manifest.competition
