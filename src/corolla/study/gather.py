"""Gather the record of a study from the runs that are there: predict val, vote, and keep what tables are made of."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from corolla.data.transforms.tta import TTA
from corolla.ensemble.rules import aggregate
from corolla.errors import UserError
from corolla.evaluation.compute import PredictOptions
from corolla.evaluation.metrics import metrics_of_probabilities
from corolla.evaluation.predict import predict_split
from corolla.evaluation.predictions import Predictions
from corolla.runs.folder import Run
from corolla.study.file import Study
from corolla.study.plan import StudyOptions
from corolla.study.records import Labels, Record, Records
from corolla.study.work import Made


def gather(study: Study, options: StudyOptions, made: Sequence[Made], before: Records | None = None) -> Records:
    """Return the record of a study.

    Args:
        made: its runs that are done, with their settings as the runs have them.
        before: the record that there is: seeds that are not among `made` are taken from it, where the photos are the
            same and every run is as long.

    Raises:
        UserError: there is no run, or two were validated on other photos.
    """
    if not made:
        raise UserError(f"{study.path}: no run of it is done, so there is nothing to show")
    predictions = {views: _predictions([each.run for each in made], views, options) for views in study.views}
    first = predictions[study.views[0]][0]
    ids, labels = _sorted(first)
    _check_same(made, predictions, ids)
    photos = hashlib.sha256("\n".join(ids.tolist()).encode()).hexdigest()
    runs = [
        _record(each, {views: predictions[views][place] for views in study.views}) for place, each in enumerate(made)
    ]
    found = Records(study.name, options.epochs_factor, photos, first.probabilities.shape[1], labels, tuple(runs))
    found = replace(found, runs=(*runs, *_votes(study, made, predictions)))
    return found if before is None else _with_earlier(found, before)


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


def _check_same(made: Sequence[Made], predictions: Mapping[TTA, Sequence[Predictions]], ids: NDArray[np.str_]) -> None:
    for found in predictions.values():
        for one, each in zip(made, found, strict=True):
            if not np.array_equal(np.sort(each.ids), ids):
                raise UserError(
                    f"{one.run.folder}: was validated on other photos than {made[0].run.folder}: rows of one study "
                    "have one val"
                )


def _record(made: Made, found: Mapping[TTA, Predictions]) -> Record:
    timing = made.run.timing
    scores = {
        views: metrics_of_probabilities(each.probabilities, each.labels)
        for views, each in found.items()
        if each.labels is not None
    }
    return Record(
        row=made.planned.row,
        seed=made.planned.seed,
        settings=made.planned.settings,
        key=made.key,
        epochs=made.run.metrics,
        minutes=round(timing[-1]["total_seconds"] / 60, 2) if timing else None,
        predicted={views: each.probabilities.argmax(1)[np.argsort(each.ids)] for views, each in found.items()},
        top5={views: each.top5 for views, each in scores.items()},
    )


def _votes(study: Study, made: Sequence[Made], predictions: Mapping[TTA, Sequence[Predictions]]) -> list[Record]:
    """Return the votes that the study asks for, of each seed with which all their rows were run."""
    places = {(each.planned.row, each.planned.seed): place for place, each in enumerate(made)}
    seeds = sorted({each.planned.seed for each in made})
    votes: list[Record] = []
    for vote in study.votes:
        for seed in seeds:
            if any((row, seed) not in places for row in vote.of):
                continue
            predicted = dict[TTA, Labels]()
            for views, found in predictions.items():
                members = [found[places[row, seed]] for row in vote.of]
                by_id = [member.probabilities[np.argsort(member.ids)] for member in members]
                predicted[views] = aggregate(by_id, "vote")
            votes.append(Record(vote.name, seed, "", "", [], None, predicted))
    return votes


def _with_earlier(found: Records, before: Records) -> Records:
    """Return a record with the runs of an earlier one that it has not, where both are of the same photos and length."""
    is_same = (before.photos, before.epochs_factor) == (found.photos, found.epochs_factor)
    if not (is_same and np.array_equal(before.labels, found.labels)):
        return found
    there = defaultdict(set)
    for run in found.runs:
        there[run.row].add(run.seed)
    return replace(found, runs=(*found.runs, *(run for run in before.runs if run.seed not in there[run.row])))
