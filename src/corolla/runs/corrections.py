"""The corrections of training photos that a run has learned from (data/corrections.py): the copy in its folder."""

from corolla.data.corrections import COPY, Corrections, correct, read_corrections, training_index
from corolla.data.index import Index
from corolla.errors import UserError
from corolla.runs.folder import Run
from corolla.runs.folds import own_index


def corrections_of(run: Run) -> Corrections | None:
    """Return the corrections of a run's training photos; None of one without.

    Raises:
        UserError: the copy in its folder is missing, or not the one that its config.json tells of.
    """
    digest, path = run.config.train.corrections_sha256, run.folder / COPY
    if not digest:
        return None
    remedy = "put back the CSV that --train.corrections named"
    if not path.is_file():
        raise UserError(f"{path}: is missing, but the run's training photos were corrected by it; {remedy}")
    found = read_corrections(path)
    if found.sha256 != digest:
        raise UserError(f"{path}: was changed, its SHA-256 is {found.sha256[:12]}, not {digest[:12]}; {remedy}")
    return found


def trained_index(run: Run, index: Index) -> Index:
    """Return the index with the photos that a run has learned from, corrected and thinned as it was.

    Raises:
        UserError: as `corrections_of`, or the corrections do not fit these data.
    """
    return training_index(own_index(run, index), run.config.train, corrections_of(run))


def corrected_index(run: Run, index: Index) -> Index:
    """Return the index with the training photos corrected as for a run, but not thinned by --train.share.

    Raises:
        UserError: as `trained_index`.
    """
    corrections = corrections_of(run)
    index = own_index(run, index)
    return index if corrections is None else correct(index, corrections).index
