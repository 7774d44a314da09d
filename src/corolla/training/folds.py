"""Which folds a start is about: those of the photos, or those that the run has begun with."""

import dataclasses

from corolla.config import Config
from corolla.data.folds import COPY, Folds, find_folds, parts_of
from corolla.data.index import Index
from corolla.errors import UserError
from corolla.files import write_atomically
from corolla.runs.folder import Run
from corolla.runs.folds import folds_of


def with_folds(config: Config, run: Run, records: Index) -> tuple[Config, Folds | None]:
    """Return `config` with the SHA-256 of the folds of --train.fold, and them; None without.

    A run that goes on has them in its folder.

    Raises:
        UserError: they are not those that are asked for.
    """
    fold, digest = config.train.fold, config.train.folds_sha256
    if fold is None or config.train.on != "train":
        return config, None
    begun = run if run.last.exists() or config.resume is None else Run(config.resume)
    has_begun = begun.last.exists() and (begun.folder / "config.json").is_file()
    is_same = has_begun and begun.config.train.fold == fold
    found = folds_of(begun, records, config.cache_dir) if is_same else None
    found = found or find_folds(records, parts_of(fold)[1], config.cache_dir)
    if digest not in ("", found.sha256):
        raise UserError(
            f"--train.fold {fold}: the SHA-256 of these folds is {found.sha256[:12]}, not {digest[:12]} as asked for: "
            "the photos of train and val, or which of them are near duplicates, are others"
        )
    return dataclasses.replace(config, train=dataclasses.replace(config.train, folds_sha256=found.sha256)), found


def keep_folds(run: Run, folds: Folds | None) -> None:
    """Write the folds into the run's folder."""
    if folds is not None:
        write_atomically(run.folder / COPY, folds.content)


def notes_on_folds(config: Config, index: Index) -> list[str]:
    """Return how many photos are learned and validated on, and a note where a class is not learned at all."""
    if config.train.fold is None:
        return []
    train, val = index.splits["train"], index.splits["val"]
    found = [f"fold {config.train.fold}: {len(train)} photos are learned, {len(val)} are validated on"]
    if unknown := sorted(set(val.label.tolist()) - set(train.label.tolist())):
        names = ", ".join(index.class_names[label] for label in unknown[:3]) + ", ..." * (len(unknown) > 3)
        found.append(f"note: not learned, as all their photos are in this fold: {names} ({len(unknown)} in all)")
    return found
