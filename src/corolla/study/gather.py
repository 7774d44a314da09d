"""Gather the record of a study from the runs that are there: predict val, vote, and keep what tables are made of."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corolla.data.transforms.tta import TTA
from corolla.ensemble.rules import aggregate
from corolla.errors import UserError
from corolla.evaluation.compute import PredictOptions
from corolla.evaluation.metrics import metrics_of_probabilities
from corolla.evaluation.out_of_fold import join_folds
from corolla.evaluation.predictions import Predictions
from corolla.evaluation.split_predictions import predict_split
from corolla.runs.folder import Run
from corolla.study.file import Study
from corolla.study.plan import StudyOptions, digest
from corolla.study.records import Labels, Record, Records, settings_of_vote
from corolla.study.work import Made


class NothingYet(UserError):
    """Runs of a cross-validation are done, but of none all folds are: nothing has failed, nor is there a score."""


@dataclass(frozen=True, eq=False)
class Scored:
    """The runs of a row and seed, of which there are several in a cross-validation, and what they say of the photos."""

    runs: tuple[Made, ...]
    predictions: dict[TTA, Predictions]
    """By views; of the runs of a cross-validation joined out of fold."""

    @property
    def place(self) -> tuple[str, int]:
        """Row and seed."""
        return self.runs[0].planned.row, self.runs[0].planned.seed


def gather(study: Study, options: StudyOptions, made: Sequence[Made], before: Records | None = None) -> Records:
    """Return the record of a study.

    Args:
        made: its runs that are done; those of a cross-validation count where all its folds are.
        before: the record that there is: seeds that are not among `made` are taken from it, where the photos are the
            same and every run is as long and as large.

    Raises:
        UserError: there is no run, or two were validated on other photos.
        NothingYet: of no cross-validation all folds are done.
    """
    groups: dict[tuple[str, int], list[Made]] = {}
    for each in made:
        groups.setdefault((each.planned.row, each.planned.seed), []).append(each)
    whole = [tuple(group) for group in groups.values() if len(group) == (study.folds or 1)]
    if made and not whole:
        raise NothingYet(f"{study.path}: no cross-validation has all its folds yet, runs that are done: {len(made)}")
    if not whole:
        raise UserError(f"{study.path}: no run of it is done, so there is nothing to show")
    scored = [Scored(group, {}) for group in whole]
    for views in study.views:
        found = iter(_predictions([each.run for group in whole for each in group], views, options))
        for each in scored:
            own = [next(found) for _ in each.runs]
            each.predictions[views] = join_folds([one.run for one in each.runs], own) if study.folds else own[0]
    ids, labels = _sorted(scored[0].predictions[study.views[0]])
    _check_same(scored, ids)
    records = Records(
        study=study.name,
        epochs_factor=options.epochs_factor,
        full=options.full,
        photos=hashlib.sha256("\n".join(ids.tolist()).encode()).hexdigest(),
        num_classes=scored[0].predictions[study.views[0]].probabilities.shape[1],
        labels=labels,
        runs=(*map(_record, scored), *_votes(study, scored)),
        size=next((each.run.config.size for each in made if each.planned.own_size is None), None),
    )
    return records if before is None else _with_earlier(records, before)


def _predictions(runs: Sequence[Run], views: TTA, options: StudyOptions) -> list[Predictions]:
    asked = PredictOptions(
        tta=views,
        split="val",
        checkpoint="last",
        data=options.data,
        cache_dir=options.cache_dir,
        device=options.device,
        workers=options.workers,
    )
    return [result.predictions for result in predict_split(list(runs), asked)]


def _sorted(found: Predictions) -> tuple[NDArray[np.str_], Labels]:
    assert found.labels is not None  # val has some
    order = np.argsort(found.ids)
    return found.ids[order], found.labels[order]


def _check_same(scored: Sequence[Scored], ids: NDArray[np.str_]) -> None:
    for each in scored:
        if any(not np.array_equal(np.sort(found.ids), ids) for found in each.predictions.values()):
            raise UserError(
                f"{each.runs[0].run.folder}: was validated on other photos than {scored[0].runs[0].run.folder}: the "
                "rows of a study have one val"
            )


def _record(scored: Scored) -> Record:
    first = scored.runs[0]
    found = scored.predictions
    timing = [made.run.timing for made in scored.runs]
    return Record(
        row=first.planned.row,
        seed=first.planned.seed,
        settings=first.planned.settings,
        key=first.key if len(scored.runs) == 1 else digest({str(n): made.key for n, made in enumerate(scored.runs)}),
        epochs=_mean_epochs([made.run.metrics for made in scored.runs]),
        minutes=round(sum(lines[-1]["total_seconds"] for lines in timing) / 60, 2) if all(timing) else None,
        predicted={views: each.probabilities.argmax(1)[np.argsort(each.ids)] for views, each in found.items()},
        top5={views: _top5(each) for views, each in found.items()},
        data=digest({str(n): made.run.environment.get("fingerprint") for n, made in enumerate(scored.runs)}),
    )


def _top5(found: Predictions) -> float | None:
    return None if found.labels is None else metrics_of_probabilities(found.probabilities, found.labels).top5


def _mean_epochs(courses: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the epochs of a run, or the means over the folds of a cross-validation as far as all have come."""
    if len(courses) == 1:
        return courses[0]
    means: list[dict[str, Any]] = []
    for rows in zip(*courses, strict=False):
        values = {key: [row[key] for row in rows] for key in rows[0]}
        means.append(
            {
                key: each[0] if key == "epoch" else None if None in each else float(np.mean(each))
                for key, each in values.items()
            }
        )
    return means


def _votes(study: Study, scored: Sequence[Scored]) -> list[Record]:
    """Return the votes that the study asks for, of each seed with which all their rows were run."""
    by_place = {each.place: each for each in scored}
    votes: list[Record] = []
    for vote in study.votes:
        for seed in sorted({seed for _, seed in by_place}):
            members = [by_place.get((row, seed)) for row in vote.of]
            if not all(members):
                continue
            predicted = dict[TTA, Labels]()
            for views in study.views:
                found = [member.predictions[views] for member in members if member is not None]
                predicted[views] = aggregate([each.probabilities[np.argsort(each.ids)] for each in found], "vote")
            settings = settings_of_vote([member.runs[0].planned.settings for member in members if member is not None])
            votes.append(Record(vote.name, seed, settings, "", [], None, predicted))
    return votes


def _with_earlier(found: Records, before: Records) -> Records:
    """Return a record with the runs of an earlier one that it has not, where both are of the same photos and length."""
    is_same = (before.photos, before.epochs_factor, before.full) == (found.photos, found.epochs_factor, found.full)
    is_same = is_same and before.size in (None, found.size)
    if not (is_same and np.array_equal(before.labels, found.labels)):
        return found
    there, data = {(run.row, run.seed) for run in found.runs}, {run.row: run.data for run in found.runs}
    # Photos that one row has learned anew are others for all rows and seeds.
    gone = {run.data for run in before.runs if run.data not in ("", data.get(run.row, run.data))}
    earlier = [run for run in before.runs if (run.row, run.seed) not in there and run.data not in gone]
    return replace(found, runs=(*found.runs, *earlier))
