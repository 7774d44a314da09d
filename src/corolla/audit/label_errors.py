"""Likely label errors: confident learning (Northcutt, Jiang and Chuang, 2021), written from the paper.

Measured with 50 synthetic label errors, drawn once (they also chose MARGIN; without that bar 235 photos of Oxford-102
are named, 28 of them rightly): in Oxford-17 at 224 px 30 of the 32 photos named have a wrong label (recall 0.60,
precision 0.94); in Oxford-102 at 64 px, where the probabilities agree with only 82 % of the labels, 24 of 43 (0.48,
0.56). So the list is one to look through from its top, not one to correct by. `corolla audit DIR --self-test` measures
it on your photos.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corolla.data.duplicates import Pair, components
from corolla.data.survey import Survey
from corolla.errors import UserError
from corolla.runs.folder import open_run
from corolla.runs.folds import scored_together

MARGIN = -0.7  # the given label is that much less likely than the class suggested


@dataclass(frozen=True)
class LabelIssue:
    """A photo whose label the probabilities contradict."""

    photo: int
    """The photo's number in the survey."""
    label: int
    suggested: int
    margin: float
    """Probability of the given class less that of the suggested one: -1..1, the lower the worse."""


@dataclass(frozen=True)
class Source:
    """The origin of the probabilities that judged the labels."""

    text: str
    num_photos: int
    """Number of labels judged."""
    accuracy: float
    """Fraction of them that the likeliest class agrees with; NaN where there are none."""


Judged = tuple[list[LabelIssue], Source]


def issues_by_features(photos: Survey, pairs: list[Pair], *, folds: int, progress: bool) -> Judged:
    """Find label issues of train and val by out-of-fold probabilities over pretrained features.

    Photos that `pairs` connect share a fold: a copy with the same wrong label would vouch for it otherwise.
    """
    from corolla.audit.features import features, out_of_fold  # torch and scikit-learn: seconds to import

    chosen = np.flatnonzero(np.isin(photos.split, ["train", "val"]) & _labelled(photos))
    groups = components([(pair.first, pair.second) for pair in pairs], len(photos))[chosen]
    labels = photos.label[chosen]
    if reason := too_few(labels, groups, folds):
        return [], Source(reason, 0, float("nan"))
    there = [name for name in dict.fromkeys(photos.split.tolist()) if name in ("train", "val")]
    found = {name: features(photos.index, name, progress=progress) for name in there}
    rows = np.stack([found[str(photos.split[i])][photos.row[i]] for i in chosen])
    num_classes = len(photos.index.class_names)
    probabilities = out_of_fold(rows, labels, groups, num_classes=num_classes, folds=folds, progress=progress)
    text = f"pretrained features, {folds}-fold logistic regression and neighbours"
    judged = ~alone(labels, groups)
    if num_alone := np.count_nonzero(~judged):
        text += f", without {num_alone} whose class has no other photo to compare with"
    return _judge(chosen[judged], probabilities[judged], labels[judged], text)


def alone(labels: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which photos have the only label of their class, but for copies: no other fold knows the class then."""
    pairs = np.unique(np.stack([labels, groups]), axis=1)
    return np.bincount(pairs[0], minlength=int(labels.max()) + 1)[labels] < 2


def too_few(labels: NDArray[np.int64], groups: NDArray[np.int64], folds: int) -> str:
    """Return why labels can't be judged out of fold; empty where they can.

    The least is one class with a photo in every fold; rarer classes are judged beside it.
    """
    if len(labels) == 0:
        return "no photo of train or val has a label"
    photos = np.bincount(labels)
    if np.count_nonzero(photos) < 2:
        return "too few labelled photos: they are of one class, and at least two are needed"
    if photos.max() < folds or len(np.unique(groups)) < folds:
        most = min(int(photos.max()), len(np.unique(groups)))
        return (
            f"too few labelled photos: {folds}-fold cross-validation cannot judge labels with fewer than {folds} "
            f"different photos of a class, and the largest here has {most}"
        )
    if len(np.unique(labels[~alone(labels, groups)])) < 2:
        return "too few labelled photos: only one class has two different ones, and at least two such are needed"
    return ""


def issues_by_runs(photos: Survey, runs: tuple[Path, ...], cache_dir: Path | None) -> Judged:
    """Find label issues of val by the mean of the runs' probabilities, joined by id.

    They are predicted once and kept in the run's folder. Runs of cross-validations, with all folds of each, judge the
    labels of train and val, each photo's by what is predicted of it out of fold.

    Raises:
        UserError: no such run, or its photos or classes are not these.
    """
    from corolla.evaluation.predict import predict

    opened = [open_run(run) for run in runs]
    groups = scored_together(opened)
    is_joined = len(groups) < len(opened)
    judged = ["train", "val"] if is_joined or opened[0].config.train.fold else ["val"]
    chosen = np.flatnonzero(np.isin(photos.split, judged) & _labelled(photos))
    if not len(chosen):
        raise UserError(f"{photos.index.folder}: --runs judge the labels of val, and there is no val among the splits")
    split, total = "oof" if is_joined else "val", np.zeros((0, 0), np.float64)
    ids: list[str] = []
    for run, group in zip(runs, groups, strict=False):
        predictions = predict(group, split=split, data=photos.index.folder, cache_dir=cache_dir).predictions
        row_of = {name: row for row, name in enumerate(predictions.ids.tolist())}
        if not ids:  # of a single fold those that are in it
            if len(judged) > 1:
                chosen = chosen[[photos.id(int(i)) in row_of for i in chosen]]
            ids = [photos.id(int(i)) for i in chosen]
            total = np.zeros((len(ids), len(photos.index.class_names)), np.float64)
        if not row_of.keys() >= set(ids):
            hint = f"audit the size it was trained at (--size), not {photos.index.size}"
            raise UserError(f"{run}: its val photos have other ids than {photos.index.folder}; {hint}")
        total += predictions.probabilities[[row_of[name] for name in ids]]
    kind = "out-of-fold" if is_joined else "val"
    text = f"{kind} probabilities of {', '.join(run.name for run in runs)}"
    return _judge(chosen, total / len(groups), photos.label[chosen], text)


def _labelled(photos: Survey) -> NDArray[np.bool_]:
    return (photos.label >= 0) & (photos.label < len(photos.index.class_names))


def _judge(chosen: NDArray[np.int64], probabilities: NDArray, labels: NDArray[np.int64], text: str) -> Judged:
    issues = [issue for issue in find_label_issues(chosen, probabilities, labels) if issue.margin <= MARGIN]
    accuracy = float((probabilities.argmax(1) == labels).mean())
    return issues, Source(f"{text} (accuracy {accuracy:.3f})", len(chosen), accuracy)


def find_label_issues(
    photos: NDArray[np.int64], probabilities: NDArray[np.floating], labels: NDArray[np.int64]
) -> list[LabelIssue]:
    """Return the photos that are confidently of another class than their label, by normalised margin, the worst first.

    Args:
        photos: N, the numbers that the issues name the photos by, ascending.
        probabilities: N x C, rows sum to 1, of a model that was not trained on these photos.
        labels: N, 0..C-1.
    """
    classes = confident_classes(probabilities, labels)
    rows = np.flatnonzero((classes >= 0) & (classes != labels))
    margins = probabilities[rows, labels[rows]] - probabilities[rows, classes[rows]]
    issues = [
        LabelIssue(int(photos[row]), int(labels[row]), int(classes[row]), float(margin))
        for row, margin in zip(rows, margins, strict=True)
    ]
    return sorted(issues, key=lambda issue: (issue.margin, issue.photo))


def confident_classes(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the class that each photo is confidently of (N): the likeliest whose threshold it reaches, or -1.

    Section 3.1, equation 1.
    """
    reached = np.where(probabilities >= thresholds(probabilities, labels), probabilities, -1.0)
    return np.where(reached.max(1) >= 0, reached.argmax(1), -1)


def thresholds(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean self-confidence of each class (C): the mean of p(class) over the photos with that label.

    Section 3.1, equation 2. It makes up for a model that is surer of some classes than of others. A class without
    photos gets infinity: nothing is counted as it.
    """
    num_classes = probabilities.shape[1]
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    counts = np.bincount(labels, minlength=num_classes)
    sums = np.bincount(labels, own, num_classes)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
