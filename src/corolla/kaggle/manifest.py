"""competition.json in a data folder: which competition the data came from, and the files of it that were verified."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from corolla.data.mounts import competition_of_mount
from corolla.errors import UserError
from corolla.files import write_atomically

NAME = "competition.json"


@dataclass
class Origin:
    """What `corolla download` knows of a data folder."""

    competition: str
    files: dict[str, dict[str, int]] = field(default_factory=dict)
    """Side in pixels -> file's name in the competition -> bytes, for every size that was listed."""

    def save(self, folder: Path) -> None:
        content = {"competition": self.competition, "files": self.files}
        write_atomically(folder / NAME, (json.dumps(content, indent=1) + "\n").encode())


def read_origin(folder: Path) -> Origin | None:
    """Where the data in `folder` came from; None where nothing says so.

    Raises:
        UserError: competition.json is damaged.
    """
    path = folder / NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Origin(str(content["competition"]), {size: dict(files) for size, files in content["files"].items()})
    except FileNotFoundError:
        mounted = competition_of_mount(folder)
        return Origin(mounted) if mounted else None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: is damaged; delete it and run corolla download again") from None
