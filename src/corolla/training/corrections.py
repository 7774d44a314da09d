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
    there = begun.config.train.corrections_sha256 if (begun.folder / "config.json").is_file() else ""
    if not begun.last.exists():
        there = ""
    if file is not None and (is_file(file) or not there):
        found = read_corrections(file)
        if digest not in ("", found.sha256):
            raise UserError(
                f"--train.corrections {file}: its SHA-256 is {found.sha256[:12]}, not {digest[:12]} as asked for"
            )
        if begun.last.exists() and not there:
            raise UserError(
                f"{begun.folder}: was begun without corrections of its training photos; choose another --run-name"
                f"{', and leave out --resume' * (begun is not run)}"
            )
        if there not in ("", found.sha256):
            raise UserError(
                f"{begun.folder}: was begun with other corrections than {file} holds; give those again "
                f"({shell_words('--train.corrections', begun.folder / COPY)}), or choose another --run-name"
            )
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
        again = shell_words("--train.corrections", begun.folder / COPY)
        raise UserError(
            f"{run.folder}: was begun with corrections of its training photos: give them again ({again}), or choose "
            "another --run-name"
        )
    else:
        return config, None
    assert found is not None
    train = dataclasses.replace(config.train, corrections_sha256=found.sha256)
    return dataclasses.replace(config, train=train), found


def keep_copy(run: Run, corrections: Corrections | None) -> None:
    """Write the corrections into the run's folder."""
    if corrections is not None:
        write_atomically(run.folder / COPY, corrections.content)


def notes_on(corrections: Corrections | None, records: Index) -> list[str]:
    """Return what the corrections do to the photos of `records`, in lines."""
    return correct(records, corrections).notes if corrections is not None else []
