"""Cross-validation: the configs of its runs, and what they predict of photos that they have not learned, joined.

Each photo of train and val is in one fold, and is predicted by the run that was validated on it. The joined predictions
lie in the folder of the run of fold 1, as `predictions/oof-VIEWS.npz`.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from corolla.config import Config
from corolla.data.index import Index
from corolla.data.regroup import joined
from corolla.errors import UserError
from corolla.evaluation.compute import PredictOptions
from corolla.evaluation.predictions import Predictions
from corolla.evaluation.split_predictions import PredictResult, keep, predict_split
from corolla.runs.folder import Run
from corolla.runs.folds import cross_validations, fold_key


def fold_configs(config: Config, number: int) -> list[Config]:
    """Return the configs of the `number` runs of a cross-validation, in the order of their folds.

    A run that is named has the fold in its name: NAME-fold1of5.

    Raises:
        UserError: there are fewer than two folds, or the config learns from all photos or has a fold already.
    """
    if number < 2:
        raise UserError(f"{number} folds: a cross-validation has at least 2")
    if config.train.on != "train" or config.train.fold is not None:
        given = "--train.on train+val" if config.train.on != "train" else f"--train.fold {config.train.fold}"
        raise UserError(f"{given}: leave it out, a cross-validation trains a run for each fold")
    return [
        dataclasses.replace(
            config,
            run_name=config.run_name and f"{config.run_name}-fold{fold}of{number}",
            train=dataclasses.replace(config.train, fold=f"{fold}/{number}"),
        )
        for fold in range(1, number + 1)
    ]


def predict_out_of_fold(runs: Sequence[Run], options: PredictOptions | None = None) -> PredictResult:
    """Predict the photos of train and val out of fold, where that was not done already, and write them into one file.

    Args:
        runs: of one cross-validation, each fold once, in any order.
        options: of the prediction; its split is no matter.

    Raises:
        UserError: a fold is missing, two runs have the same, a run is of another cross-validation or recipe; and as in
            `corolla.predict`.
    """
    groups = cross_validations(runs)
    if len(groups) != 1:
        raise UserError(
            f"{groups[1][0].folder}: has other settings than {groups[0][0].folder}, not only another fold; predict "
            "each cross-validation by itself"
        )
    (own,) = groups
    options = dataclasses.replace(options or PredictOptions(), split="val")
    results = predict_split(own, options)
    found = join_folds(own, [result.predictions for result in results])
    path = out_of_fold_path(own, options)
    made = not _is_current(path, found)
    return keep(PredictResult(path, found, results[0].class_names, made=made))


def out_of_fold_path(runs: Sequence[Run], options: PredictOptions) -> Path:
    """Return where the out-of-fold predictions of the runs of a cross-validation, in the order of folds, lie."""
    return runs[0].predictions("oof", options.views.name, options.checkpoint)


def join_folds(runs: Sequence[Run], predictions: Sequence[Predictions]) -> Predictions:
    """Return predictions of each fold by its run as one, sorted by id; each photo is there once.

    Args:
        runs: of all folds, in their order.
        predictions: of the fold that each was validated on.

    Raises:
        UserError: a photo is in two of them, or they are of other classes.
    """
    for run, each in zip(runs, predictions, strict=True):
        if each.fold not in ("", fold_key(run)):
            raise UserError(f"{run.folder}: its predictions of val are of another fold; predict it anew")
        if len({each.class_names, predictions[0].class_names} - {()}) > 1:
            raise UserError(f"{run.folder}: was trained for other classes than {runs[0].folder}")
    ids = np.concatenate([each.ids for each in predictions])
    order = np.argsort(ids)
    if (doubled := ids[order][1:][ids[order][1:] == ids[order][:-1]]).size:
        raise UserError(f"{runs[0].folder}: photo {doubled[0]} is in two folds; predict them on the same --data")
    labels = [each.labels for each in predictions if each.labels is not None]
    epochs = [each.epochs for each in predictions if each.epochs is not None]
    settings = runs[0].config.train
    return Predictions(
        ids=ids[order],
        probabilities=np.concatenate([each.probabilities for each in predictions])[order],
        labels=np.concatenate(labels)[order] if len(labels) == len(predictions) else None,
        checkpoint=_digest([each.checkpoint for each in predictions]),
        fingerprint=_digest([each.fingerprint for each in predictions]),
        epochs=max(epochs, default=None),
        seconds=sum(each.seconds or 0.0 for each in predictions),
        class_names=predictions[0].class_names,
        fold=f"oof {len(runs)} {settings.folds_sha256}",
    )


def all_photos(index: Index) -> Index:
    """Return the index with the photos of train and val as val, which out-of-fold predictions are of."""
    return dataclasses.replace(index, splits={"val": dataclasses.replace(joined(index), name="val")})


def _digest(parts: Sequence[str]) -> str:
    """Return the SHA-256 of several, in their order."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _is_current(path: Path, found: Predictions) -> bool:
    """Return whether the file holds these predictions."""
    try:
        there = Predictions.load(path)
    except UserError:
        return False
    same = there.checkpoint == found.checkpoint and there.fingerprint == found.fingerprint and there.fold == found.fold
    return same and np.array_equal(there.probabilities, found.probabilities) and np.array_equal(there.ids, found.ids)
