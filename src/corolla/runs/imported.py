"""Runs that were made of weights trained elsewhere: how they are made again, and that nothing goes on with them."""

import shlex
from pathlib import Path

from corolla.config import ModelConfig, as_options
from corolla.config.config import fields_of
from corolla.errors import UserError
from corolla.runs.folder import Run
from corolla.text_files import shell_words


def import_words(run: Run, out: Path | None = None) -> list[str]:
    """Return the words of the command that makes an imported run again, into `out` where that is given."""
    known = run.imported or {}
    unknown = f"corolla import-checkpoint {shell_words(known.get('file', 'CHECKPOINT'), run.folder)}"
    words = shlex.split(known.get("command", unknown))
    return words if out is None else [*words[:3], str(out), *words[4:]]


def check_has_training(run: Run) -> None:
    """Check that a run was trained here, if it has begun.

    Raises:
        UserError: it was made by `corolla import-checkpoint`; the message has the command that begins a run from it.
    """
    if not run.imported:
        return
    words: list[object] = ["corolla", "train", "transfer_best", "--init-from", run.folder]
    for (name, _, value), (_, _, usual) in zip(
        fields_of(run.config.model, "model."), fields_of(ModelConfig(name=""), "model."), strict=True
    ):
        words += as_options(name, value) if value != usual else []
    words += ["--data", data] if (data := run.environment.get("data")) else []
    command = shell_words(*words, "--run-name", f"{run.name}-trained")
    raise UserError(
        f"{run.folder}: holds an imported checkpoint, which has no training to go on with; a run that begins from its "
        f"weights: {command}"
    )
