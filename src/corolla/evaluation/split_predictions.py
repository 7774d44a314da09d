"""A split predicted by runs, and the files that this leaves: what `corolla predict` computes of a data folder."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from corolla.data.competition import SplitName
from corolla.data.index import Index, split_of
from corolla.evaluation.compute import PredictOptions, checkpoint_of, compute_predictions
from corolla.evaluation.metrics import likeliest, macro_f1, share_among
from corolla.evaluation.predictions import Predictions, StalePredictions, current_predictions
from corolla.files import replacing
from corolla.results import Result
from corolla.runs.best_epoch import best_fault
from corolla.runs.data import index_for
from corolla.runs.folder import Run
from corolla.runs.folds import fold_key, own_index
from corolla.runs.same_data import check_has_val, warn_of_learned_val

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class PredictResult(Result):
    """Predictions of a split, and the file that holds them."""

    path: Path
    predictions: Predictions
    class_names: tuple[str, ...]
    made: bool
    """False: the file was there already, made by the same checkpoint."""

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def macro_f1(self) -> float | None:
        """Macro F1 where the split is labelled."""
        found = self.predictions
        return None if found.labels is None else macro_f1(found.labels, found.probabilities.argmax(axis=1))

    @property
    def top1(self) -> float | None:
        """Accuracy where the split is labelled."""
        return self._top(1)

    @property
    def top5(self) -> float | None:
        """Share of photos whose class is among the five likeliest, where the split is labelled."""
        return self._top(5)

    def _top(self, count: int) -> float | None:
        found = self.predictions
        return None if found.labels is None else share_among(likeliest(found.probabilities, count), found.labels)

    @property
    def summary(self) -> str:
        """The number of photos, their score where it is known, and the file."""
        score = "" if self.macro_f1 is None else f", macro F1 {self.macro_f1:.4f}"
        return f"{len(self.predictions.ids)} photos of {len(self.class_names)} classes{score}, {self.path}"

    @property
    def table_path(self) -> Path:
        """CSV of `to_pandas`, beside the file of predictions."""
        return self.path.with_suffix(".csv")

    def to_pandas(self) -> "pd.DataFrame":
        """Return a row per photo: id, label and name predicted, its probability, and the truth where it is known."""
        import pandas as pd

        found = self.predictions
        label = found.probabilities.argmax(axis=1)
        columns = {
            "id": found.ids,
            "label": label,
            "name": np.asarray(self.class_names)[label],
            "probability": found.probabilities.max(axis=1),
        }
        return pd.DataFrame(columns if found.labels is None else {**columns, "truth": found.labels})


def predict_split(runs: Sequence[Run], options: PredictOptions) -> list[PredictResult]:
    """Predict a split with several runs; those of the same data in one pass over the photos.

    Raises:
        UserError, Failure: as in `predict`.
    """
    indexes = [_index_for(run, options) for run in runs]
    results = dict[int, PredictResult]()
    missing = dict[tuple[Path, int, str], list[int]]()
    for number, (run, index) in enumerate(zip(runs, indexes, strict=True)):
        split = _split(index, options)
        path = run.predictions(split, options.views.name, options.checkpoint)
        try:
            current = current_predictions(run, split, options.views.name, options.checkpoint, index=index)
            results[number] = keep(PredictResult(path, current, index.class_names, made=False))
        except StalePredictions:
            missing.setdefault((index.folder, index.size, index.splits[split].fingerprint), []).append(number)
    for members in missing.values():
        index, own = indexes[members[0]], [runs[number] for number in members]
        split = _split(index, options)
        for number, made in zip(members, compute_predictions(own, index, split, options.views, options), strict=True):
            path = runs[number].predictions(split, options.views.name, options.checkpoint)
            fold = fold_key(runs[number]) if split == "val" else ""
            made = replace(made, fold=fold)
            results[number] = keep(PredictResult(path, made, index.class_names, made=True))
    return [results[number] for number in range(len(runs))]


def _split(index: Index, options: PredictOptions) -> SplitName:
    assert options.split != "oof", "it is no split of the data"
    return options.split or ("test" if "test" in index.splits else "val")


def _index_for(run: Run, options: PredictOptions) -> Index:
    """Return the index of the data that a run is to predict, after all that speaks against it."""
    checkpoint_of(run, options)
    index = index_for(run, options.data, options.size, options.cache_dir, for_test=True)
    if options.checkpoint == "best" and (fault := best_fault(run)):
        log.warning("%s: %s; was the folder restored in part? --checkpoint last is sure", run.folder, fault)
    split = _split(index, options)
    if split == "val":
        check_has_val(run)
    if split != "test":
        index = own_index(run, index, options.cache_dir)
    split_of(index, split)
    if split == "val":
        warn_of_learned_val(run, index)
    return index


def keep(result: PredictResult) -> PredictResult:
    """Write a result's files, and return it."""
    if result.made or not result.table_path.exists():
        with replacing(result.table_path) as temporary:
            result.to_pandas().to_csv(temporary, index=False)
    if result.made:
        result.predictions.save(result.path)  # last: after a kill both are made again
    return result
