"""The data that a run was trained with, wherever they lie now, and the settings by which it goes on with them."""

from dataclasses import replace
from pathlib import Path

from corolla.config import Config
from corolla.data.index import Index, load_index
from corolla.errors import UserError
from corolla.runs.folder import Run, data_of
from corolla.runs.folds import own_index


def index_for(
    run: Run,
    data: Path | None = None,
    size: int | None = None,
    cache_dir: Path | None = None,
    *,
    for_test: bool = False,
) -> Index:
    """Return the index of a data folder for a run, with train and val as the run has them.

    Args:
        data: default: the one that the run was trained with.
        size: of the photos; default: the run's.
        for_test: test alone is wanted, so train and val stay as the folder has them, whatever photos are there now.

    Raises:
        UserError: there are no such data; of a run whose data were moved, or which was trained on another machine, the
            message says so.
    """
    folder = data or data_of(run)
    if data is None:
        check_is_here(run, folder)
    index = load_index(folder, size or run.config.size, cache_dir)
    return index if for_test else own_index(run, index, cache_dir)


def check_is_here(run: Run, data: Path) -> None:
    """Check that a data folder is here, where it is the one that a run was trained with.

    Raises:
        UserError: it was moved, or the run was trained on another machine.
    """
    if not data.exists() and data == data_of(run) and run.environment.get("data"):
        was = "was imported for" if run.imported else "was trained on"
        raise UserError(f"{run.folder}: {was} {data}, which is not here; say where it is now: --data FOLDER")


def own_settings(run: Run) -> Config:
    """Return the settings by which a run goes on in its own folder, with its own data."""
    return replace(run.config, data=data_of(run), runs=run.folder.parent, run_name=run.folder.name)
