"""Refuses to go on with the training of a run that others have trained, of which nothing but the weights is known."""

from corolla.config import ModelConfig, as_options
from corolla.config.config import fields_of
from corolla.errors import UserError
from corolla.runs.folder import Run
from corolla.text_files import shell_words


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
