"""A run's config.json: it is a copy of what the run's checkpoints hold, so they tell whether it is damaged."""

import contextlib
from pathlib import Path

from corolla.config import Config, from_dict, read_settings
from corolla.errors import UserError
from corolla.runs.without_torch import read_without_tensors
from corolla.text_files import shell_words


def read_config(folder: Path) -> Config:
    """Return the settings in config.json of the run in `folder`.

    Raises:
        UserError: it is missing, damaged or of another version; the message says what makes it again, if anything does.
    """
    path = folder / "config.json"
    checkpoints = [each for each in (folder / "last.pt", folder / "best.pt") if each.exists()]
    try:
        values = read_settings(path)
    except UserError as error:
        lost = "" if checkpoints else "; the same corolla train command writes it anew"
        raise UserError(f"{error}{lost}{_restored_from(checkpoints)}") from None
    try:
        return from_dict(values, source=str(path))
    except UserError as error:
        raise UserError(f"{error}{_restored_from(checkpoints)}") from None


def _restored_from(checkpoints: list[Path]) -> str:
    """Return the end of a message on a config.json; empty where no checkpoint has settings that this version takes."""
    for path in checkpoints:
        with contextlib.suppress(UserError):
            from_dict(read_without_tensors(path)["config"])
            command = shell_words("corolla", "doctor", "--runs", path.parent.parent)
            return f"; {path.name} holds it too: {command} tells how to restore it"
    return ""
