"""Suspect labels of a survey: which probabilities judge them, and the photos that confident learning names.

Measured with 50 planted labels, one planting (it also chose MARGIN; without that bar Oxford-102 names 235 photos, 28 of
them rightly): in Oxford-17 at 224 px 30 of 32 suspects are planted ones (recall 0.60, precision 0.94), in Oxford-102 at
64 px, where the probabilities meet only 82 % of the labels, 24 of 43 (0.48, 0.56). So the list is one to look through
from its top, not one to correct by. `corolla audit DIR --self-test` measures it on your photos.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corolla.audit.confident import find_suspects
from corolla.data.duplicates import Pair, components
from corolla.data.survey import Survey
from corolla.errors import UserError

MARGIN = -0.7  # a suspect's label is that much less likely than the class suggested


@dataclass(frozen=True)
class LabelSuspect:
    """A photo of a survey whose label the probabilities contradict."""

    photo: int
    label: int
    suggested: int
    margin: float
    """Probability of the given class less that of the suggested: -1..1, the lower the worse."""


@dataclass(frozen=True)
class Source:
    """Where the probabilities come from."""

    text: str
    num_photos: int
    """How many labels were judged."""
    accuracy: float
    """Share of them that the likeliest class agrees with; NaN where there are none."""


Found = tuple[list[LabelSuspect], Source]


def suspects_by_features(photos: Survey, pairs: list[Pair], *, folds: int, progress: bool) -> Found:
    """By out-of-fold probabilities for train and val. Photos that `pairs` connect share a fold: a copy with the same
    wrong label would vouch for it otherwise."""
    from corolla.audit.features import features, out_of_fold  # torch and scikit-learn: seconds to import

    chosen = np.flatnonzero(np.isin(photos.split, ["train", "val"]) & _labelled(photos))
    groups = components([(pair.first, pair.second) for pair in pairs], len(photos))[chosen]
    labels = photos.label[chosen]
    if len(np.unique(labels)) < 2 or len(np.unique(groups)) < folds:
        return [], Source("too few labelled photos", 0, float("nan"))
    there = [name for name in dict.fromkeys(photos.split.tolist()) if name in ("train", "val")]
    found = {name: features(photos.index, name, progress=progress) for name in there}
    rows = np.stack([found[str(photos.split[i])][photos.row[i]] for i in chosen])
    num_classes = len(photos.index.class_names)
    probabilities = out_of_fold(rows, labels, groups, num_classes=num_classes, folds=folds, progress=progress)
    return _judge(
        chosen, probabilities, labels, f"pretrained features, {folds}-fold logistic regression and neighbours"
    )


def suspects_by_runs(photos: Survey, runs: tuple[Path, ...], cache_dir: Path | None) -> Found:
    """By the mean of the runs' probabilities for val (predicted once and kept in the run's folder), joined by id.

    Raises:
        UserError: no such run, or its photos or classes are not these.
    """
    from corolla.evaluation.predict import predict

    chosen = np.flatnonzero((photos.split == "val") & _labelled(photos))
    if not len(chosen):
        raise UserError(f"{photos.index.folder}: --runs judge the labels of val, and there is no val among the splits")
    ids = [photos.id(int(i)) for i in chosen]
    total = np.zeros((len(ids), len(photos.index.class_names)), np.float64)
    for run in runs:
        predictions = predict(run, split="val", data=photos.index.folder, cache_dir=cache_dir).predictions
        row_of = {name: row for row, name in enumerate(predictions.ids.tolist())}
        if not row_of.keys() >= set(ids):
            hint = f"audit the size it was trained at (--size), not {photos.index.size}"
            raise UserError(f"{run}: its val photos have other ids than {photos.index.folder}; {hint}")
        total += predictions.probabilities[[row_of[name] for name in ids]]
    text = f"val probabilities of {', '.join(run.name for run in runs)}"
    return _judge(chosen, total / len(runs), photos.label[chosen], text)


def _labelled(photos: Survey) -> NDArray[np.bool_]:
    return (photos.label >= 0) & (photos.label < len(photos.index.class_names))


def _judge(chosen: NDArray[np.int64], probabilities: NDArray, labels: NDArray[np.int64], text: str) -> Found:
    found = [
        LabelSuspect(int(chosen[one.row]), one.label, one.suggested, one.margin)
        for one in find_suspects(probabilities, labels)
        if one.margin <= MARGIN
    ]
    accuracy = float((probabilities.argmax(1) == labels).mean())
    return found, Source(f"{text} (accuracy {accuracy:.3f})", len(chosen), accuracy)
