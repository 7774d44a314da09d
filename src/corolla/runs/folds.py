"""The fold of a cross-validation that a run was validated on (data/folds.py): the copy of the folds in its folder."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from corolla.config import to_dict
from corolla.data.corrections import run_index
from corolla.data.folds import COPY, Folds, find_folds, parts_of, read_folds
from corolla.data.index import Index
from corolla.errors import UserError
from corolla.runs.folder import Run


def folds_of(run: Run, index: Index, cache_dir: Path | None = None) -> Folds | None:
    """Return the folds of a run; None of one that is validated on val, or not at all.

    They are the copy in its folder; where that is gone, they are found again in the photos of `index`.

    Raises:
        UserError: they are not those that its config.json tells of.
    """
    settings, path = run.config.train, run.folder / COPY
    if settings.fold is None:
        return None
    found = read_folds(path) if path.is_file() else find_folds(index, parts_of(settings.fold)[1], cache_dir)
    if found.sha256 != settings.folds_sha256:
        fault = "was changed" if path.is_file() else "is missing"
        raise UserError(
            f"{path}: {fault}: the SHA-256 of these folds is {found.sha256[:12]}, not {settings.folds_sha256[:12]} as "
            "that of the run's; put it back (the other runs of the cross-validation have the same file)"
        )
    return found


def own_index(run: Run, index: Index, cache_dir: Path | None = None) -> Index:
    """Return the index with train and val as a run has them: its fold as val; none, where it has learned from both.

    Raises:
        UserError: the photos are others than those of the run's folds, or its folds are lost.
    """
    settings = run.config.train
    if index.of_folder or (settings.fold is None and settings.on == "train"):
        return index
    if not {"train", "val"} <= index.splits.keys():  # such as a folder of test alone; what is there can't be told apart
        return dataclasses.replace(index, splits={name: each for name, each in index.splits.items() if name == "test"})
    return run_index(index, settings, folds_of(run, index, cache_dir))


def fold_name(run: Run) -> str:
    """Return the fold of a run in words."""
    return f"fold {fold}" if (fold := run.config.train.fold) else "val"


def fold_key(run: Run) -> str:
    """Return what tells the photos that a run is validated on, among those of one data folder; empty: val."""
    settings = run.config.train
    return f"{settings.fold} {settings.folds_sha256}" if settings.fold else ""


def check_same_fold(runs: Sequence[Run]) -> None:
    """Check that runs are validated on the same fold, or all on val.

    Raises:
        UserError: two are not.
    """
    keys = [fold_key(run) for run in runs]
    others = [number for number, key in enumerate(keys) if key != keys[0]]
    if not others:
        return
    run = runs[next((number for number in others if bool(keys[number]) != bool(keys[0])), others[0])]
    names = fold_name(run), fold_name(runs[0])
    what = f"{names[0]} of other folds than" if names[0] == names[1] else f"{names[0]}, not on {names[1]} as"
    raise UserError(
        f"{run.folder}: is validated on {what} {runs[0].folder}, so their scores are of other photos; name all runs of "
        "a cross-validation and no others, which are scored out of fold"
    )


def are_folds(runs: Sequence[Run]) -> bool:
    """Return whether runs are such of a cross-validation, or of several: each has a fold, and not all the same one."""
    keys = [fold_key(run) for run in runs]
    return all(keys) and len(set(keys)) > 1


def scored_together(runs: Sequence[Run]) -> list[list[Run]]:
    """Return runs by the score that they have together: those of a cross-validation out of fold, any other one alone.

    Raises:
        UserError: their scores are of different photos.
    """
    groups = cross_validations(runs) if are_folds(runs) else [[run] for run in runs]
    check_same_fold([group[0] for group in groups])
    return groups


def have_scores_together(runs: Sequence[Run]) -> bool:
    """Return whether the scores of runs are of the same photos, so that they may be compared."""
    try:
        scored_together(runs)
    except UserError:
        return False
    return True


def cross_validations(runs: Sequence[Run]) -> list[list[Run]]:
    """Return runs put together that differ in their fold alone, in the order of the first ones; each has all folds.

    Raises:
        UserError: a run has no fold or another's, of other folds than the first, or a fold is missing.
    """
    found: dict[str, dict[int, Run]] = {}
    for run in runs:
        settings, first = run.config.train, runs[0].config.train
        if settings.fold is None:
            raise UserError(f"{run.folder}: has no fold (--train.fold), so it is not part of a cross-validation")
        if settings.folds_sha256 != first.folds_sha256:
            raise UserError(
                f"{run.folder}: is validated on other folds (SHA-256 {settings.folds_sha256[:12]}) than "
                f"{runs[0].folder} ({first.folds_sha256[:12]})"
            )
        number, same = parts_of(settings.fold)[0], found.setdefault(_recipe(run), {})
        if any(run.folder.resolve() == other.folder.resolve() for other in same.values()):
            raise UserError(f"{run.folder}: is named twice")
        if number in same:
            raise UserError(f"{run.folder}: is validated on fold {settings.fold}, as is {same[number].folder}")
        same[number] = run
    for same in found.values():
        one = next(iter(same.values()))
        total = parts_of(one.config.train.fold or "1/1")[1]
        if missing := [number for number in range(1, total + 1) if number not in same]:
            others = f"; {len(found)} recipes are among the runs" if len(found) > 1 else ""
            raise UserError(
                f"fold {missing[0]}/{total} of the cross-validation of {one.folder} is missing: no run was given that "
                f"is validated on it and has the same settings otherwise{others}"
            )
    return [[same[number] for number in sorted(same)] for same in found.values()]


def cross_validation_name(runs: Sequence[Run]) -> str:
    """Return a name for the runs of a cross-validation: that of the first one, without its fold."""
    fold = (runs[0].config.train.fold or "").replace("/", "of")
    return runs[0].name.replace(f"-fold{fold}", "") or runs[0].name


def _recipe(run: Run) -> str:
    """Return the settings of a run without its fold, as text.

    A teacher, and weights to begin with, are others for each fold: they may not know the photos of it.
    """
    settings = to_dict(run.config, with_runtime=False)
    model, train = settings["model"], settings["train"]
    train |= {"fold": None, "teacher": bool(train["teacher"])}
    settings["init_sha256"] = bool(settings["init_sha256"])
    if model["weights"] not in ("none", "pretrained", "package"):
        model["weights"] = "a file"
    return json.dumps(settings, sort_keys=True)
