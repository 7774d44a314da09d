"""Read what an ensemble is fitted and scored on: val, or out of fold, where its members are cross-validations."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corolla.data.transforms.tta import TTA
from corolla.ensemble.fit import fit_rule
from corolla.ensemble.members import MemberPredictions, all_predicted, read_members
from corolla.ensemble.rules import EnsembleRule, Method
from corolla.errors import UserError
from corolla.evaluation.out_of_fold import join_folds
from corolla.evaluation.predictions import Predictions
from corolla.runs.folder import CheckpointName, Run
from corolla.runs.folds import cross_validation_name, cross_validations, scored_together
from corolla.runs.same_data import check_has_val


def read_val(
    runs: Sequence[Run],
    *,
    must_fit: bool,
    tta: TTA,
    checkpoint: CheckpointName,
    data: Path | None = None,
    cache_dir: Path | None = None,
) -> MemberPredictions | None:
    """Return the members on val; None where not all were predicted there, or they are validated on other photos.

    Runs of cross-validations are members by cross-validation: each gives what it predicts out of fold.

    Args:
        must_fit: something is to be fitted, so val is needed.

    Raises:
        UserError: predictions are missing though `must_fit`, or older than their checkpoint, or of other photos.
    """
    folders = [run.folder for run in runs]
    if not must_fit and not all_predicted(folders, "val", tta=tta, checkpoint=checkpoint):
        return None
    try:
        groups = _groups(runs)
    except UserError:
        if must_fit:
            raise
        return None  # as of a few folds: there is no score of them together

    def read(folders: Sequence[Path]) -> MemberPredictions:
        return read_members(folders, "val", tta=tta, checkpoint=checkpoint, data=data, cache_dir=cache_dir)

    return read(folders) if groups is None else _out_of_fold(groups, [read([*fold]) for fold in _by_fold(groups)])


def why_not_scored(runs: Sequence[Run]) -> str | None:
    """Return why runs have no score together on val; None where they only have to be predicted there."""
    try:
        for run in runs:
            check_has_val(run)
        _groups(runs)
    except UserError as error:
        return str(error)
    return None


def _groups(runs: Sequence[Run]) -> list[list[Run]] | None:
    """Return runs put together by cross-validation; None of such that are validated on the same photos.

    Raises:
        UserError: they are neither.
    """
    groups = scored_together(runs)
    return groups if len(groups) < len(runs) else None


def _by_fold(groups: Sequence[Sequence[Run]]) -> list[tuple[Path, ...]]:
    """Return the folders of the runs of each fold, one of each cross-validation."""
    return list(zip(*([run.folder for run in group] for group in groups), strict=True))


def _out_of_fold(groups: Sequence[Sequence[Run]], folds: Sequence[MemberPredictions]) -> MemberPredictions:
    """Return the cross-validations as members, from what the runs of each fold predict of it."""
    found = [join_folds(group, [fold.predictions[number] for fold in folds]) for number, group in enumerate(groups)]
    return MemberPredictions(
        runs=tuple(group[0] for group in groups),
        predictions=tuple(found),
        ids=found[0].ids,
        probabilities=tuple(each.probabilities for each in found),
        labels=found[0].labels,
        names=tuple(cross_validation_name(group) for group in groups),
        of_runs=tuple(fold.predictions[number] for number in range(len(groups)) for fold in folds),
    )


def fit_on_val(
    val: MemberPredictions,
    runs: Sequence[Run],
    method: Method,
    prior: NDArray[np.float64] | None,
) -> tuple[EnsembleRule, EnsembleRule]:
    """Return the rule for the members on val, and that for `runs`, which share the weight of their cross-validation."""
    assert val.labels is not None, "val is labelled"
    rule = fit_rule(val.probabilities, val.labels, method, prior)
    if not val.of_runs or rule.weights is None:
        return rule, rule
    groups = cross_validations(runs)
    weight = {
        run.folder: float(own) / len(group) for group, own in zip(groups, rule.weights, strict=True) for run in group
    }
    return rule, replace(rule, weights=np.array([weight[run.folder] for run in runs]))


def check_same_checkpoints(members: MemberPredictions, val: MemberPredictions) -> None:
    """Check that val tells of the very networks that are joined, also where their checkpoints are gone.

    Raises:
        UserError: a run's predictions of val are another checkpoint's.
    """
    on_val: Sequence[Predictions] = val.of_runs or val.predictions
    runs = [run for group in cross_validations(members.runs) for run in group] if val.of_runs else members.runs
    there = {run.folder: each.checkpoint for run, each in zip(runs, on_val, strict=True)}
    for run, here in zip(members.runs, members.predictions, strict=True):
        if here.checkpoint != there[run.folder]:
            raise UserError(f"{run.folder}: its predictions are of several checkpoints; predict all splits with one")
