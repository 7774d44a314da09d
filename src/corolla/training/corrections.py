"""Which corrections of the training photos a start is about: a file's, or those that the run has begun with."""

import dataclasses
import logging

from corolla.config import Config
from corolla.data.corrections import COPY, Corrections, correct, read_corrections
from corolla.data.index import Index
from corolla.errors import UserError
from corolla.files import is_file, write_atomically
from corolla.runs.corrections import corrections_of
from corolla.runs.folder import Run
from corolla.text_files import shell_words

log = logging.getLogger(__name__)


def with_corrections(config: Config, run: Run) -> tuple[Config, Corrections | None]:
    """Return `config` with the SHA-256 of the corrections, and them; None where the photos are taken as they are.

    They are those of the CSV that --train.corrections names. A run that goes on has a copy in its folder, which
    suffices where that is gone, and where the run's own settings or --resume say that they are meant.

    Raises:
        UserError: there is no such file, it is not the one that is asked for, or a run that has begun with corrections
            is asked for without them, or the reverse.
    """
    file, digest = config.train.corrections, config.train.corrections_sha256
    begun = run if run.last.exists() or config.resume is None else Run(config.resume)
    has_begun = begun.last.exists() and (begun.folder / "config.json").is_file()
    there = begun.config.train.corrections_sha256 if has_begun else None
    if file is not None and (is_file(file) or not there):
        found = read_corrections(file)
        if digest not in ("", found.sha256):
            raise UserError(
                f"--train.corrections {file}: its SHA-256 is {found.sha256[:12]}, not {digest[:12]} as asked for"
            )
        if there not in (None, found.sha256):
            how = f"with other corrections than {file} holds; {_again(begun)}, or" if there else "without corrections;"
            anew = f"choose another --run-name{', without --resume' * (begun is not run)}"
            raise UserError(f"{begun.folder}: was begun {how} {anew}")
    elif there and (file is not None or digest == there or config.resume is not None):
        found = corrections_of(begun)
        if file is not None:
            log.info("note: %s is gone; %s is the copy of it", file, begun.folder / COPY)
    elif digest:
        raise UserError(
            f"its training photos are corrected by the CSV with the SHA-256 {digest[:12]}: name it with "
            "--train.corrections"
        )
    elif there:
        raise UserError(
            f"{run.folder}: was begun with corrections of its training photos; {_again(begun)}, or choose another "
            "--run-name"
        )
    else:
        return config, None
    assert found is not None
    train = dataclasses.replace(config.train, corrections_sha256=found.sha256)
    return dataclasses.replace(config, train=train), found


def _again(run: Run) -> str:
    """Return how the corrections of a run are given again."""
    return f"give those again ({shell_words('--train.corrections', run.folder / COPY)})"


def keep_copy(run: Run, corrections: Corrections | None) -> None:
    """Write the corrections into the run's folder."""
    if corrections is not None:
        write_atomically(run.folder / COPY, corrections.content)


def notes_on(corrections: Corrections | None, records: Index) -> list[str]:
    """Return what the corrections do to the photos of `records`, in lines."""
    return correct(records, corrections).notes if corrections is not None else []
