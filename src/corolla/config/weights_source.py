"""The file that a setting such as --model.weights names: a checkpoint, or the one of a run whose folder it names."""

import contextlib
import logging
from pathlib import Path

from corolla.config.config import from_dict
from corolla.config.reading import read_settings
from corolla.errors import UserError

log = logging.getLogger(__name__)


def weights_file(weights: str) -> Path | None:
    """Return the file that --model.weights names; None where it names none."""
    return None if weights in ("none", "pretrained", "package") else checkpoint_at(Path(weights).expanduser())


def checkpoint_at(path: Path) -> Path:
    """Return a checkpoint, and of a run's folder its best.pt; last.pt where a run that learned from val has no best."""
    if not path.is_dir():
        return path
    with contextlib.suppress(UserError):
        if not (path / "best.pt").exists() and from_dict(read_settings(path / "config.json")).train.on != "train":
            log.info("%s: has learned from train and val, so it has no best.pt: its last.pt counts", path)
            return path / "last.pt"
    return path / "best.pt"
