"""`corolla cv`: an experiment trained once per fold, and what its runs say of photos that they have not learned.

It is a study of one row: killed it goes on, several workers share it, and runs that are there are taken.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from corolla.compare.formatting import spread
from corolla.config.experiments import experiment_name
from corolla.data.transforms.tta import TTA, parse_tta
from corolla.errors import UserError
from corolla.evaluation.compute import PredictOptions
from corolla.evaluation.out_of_fold import predict_out_of_fold
from corolla.paths import AnyPath, as_path
from corolla.results import Result
from corolla.runs.folder import Run
from corolla.study.file import Study
from corolla.study.plan import StudyOptions
from corolla.study.rows import Row
from corolla.study.study import StudyResult, run_study


class FoldScore(NamedTuple):
    """The scores of a run on its fold, of its last epoch."""

    seed: int
    fold: str
    """K/N."""
    run: Run
    macro_f1: float
    top1: float


@dataclass(frozen=True, eq=False, repr=False)
class CrossValidation(Result):
    """A cross-validation: its scores out of fold, its runs, and the files of joined predictions."""

    study: StudyResult
    folds: int
    by_fold: tuple[FoldScore, ...]
    """One a run."""
    out_of_fold: tuple[Path, ...]
    """A file a seed, with a prediction of every photo of train and val by the run that has not learned it."""

    @property
    def summary(self) -> str:
        """The score out of fold, its spread over seeds, and the spread over folds."""
        (row,) = self.study.results.rows
        views = self.study.results.study.views[0]
        scores, folds = row.scores("macro_f1", views), [fold.macro_f1 for fold in self.by_fold]
        sd = float(np.std(scores, ddof=1)) if len(scores) > 1 else None
        seeds = f" ({len(scores)} seeds)" if len(scores) > 1 else ""
        return (
            f"{self.study.results.study.name}: macro F1 {spread(float(np.mean(scores)), sd)}{seeds} on "
            f"{len(row.labels):,} photos of train and val, each by the run that has not learned it; by fold "
            f"{spread(float(np.mean(folds)), float(np.std(folds, ddof=1)))}"
        )

    def to_pandas(self) -> pd.DataFrame:
        """Return a row per run: seed, fold, folder, and the scores on its fold."""
        return pd.DataFrame(self.by_fold, columns=list(FoldScore._fields)).astype({"run": str})


def cv(
    experiment: AnyPath,
    folds: int = 5,
    options: StudyOptions | None = None,
    *,
    tta: TTA = "none",
    epochs: int | None = None,
    folder: AnyPath | None = None,
    **changes: Any,
) -> CrossValidation:
    """Cross-validate an experiment: train a run per fold and seed (`cv("transfer_best", data="photos", seeds=(0,))`).

    Args:
        experiment: as `corolla.train` takes it by name, or a TOML file.
        folds: their number; every photo of train and val is in one, near duplicates in the same.
        options: see StudyOptions; default of seeds: 0.
        tta: views of the joined predictions.
        epochs: in place of the experiment's own.
        folder: for the table; default: comparisons/EXPERIMENT-FOLDS-folds.
        changes: of single options.

    Raises:
        UserError: the experiment, a setting or the data are not fit for it, or a run has failed.
        StudyStopped: a signal or the time budget has ended it; the same call goes on.
    """
    options = replace(options or StudyOptions(), **changes)
    name = experiment_name(experiment)
    settings = () if epochs is None else ({"train": {"epochs": epochs}},)
    if folds < 2:
        raise UserError(f"--folds {folds}: at least 2 are expected")
    views = parse_tta(tta).name
    words = ["--epochs", str(epochs)] * (epochs is not None) + ["--tta", views] * (views != "none")
    study = Study(
        path=Path(f"{name}-{folds}-folds.toml"),
        question=f"What does {name} score on photos that it has not learned, in {folds} folds?",
        rows=(Row(name, str(as_path(experiment)), settings, settings),),
        seeds=(0,),
        folds=folds,
        views=(views,),
        table=("macro_f1", "top1", "top5"),
        made_by=("cv", str(experiment), "--folds", str(folds), *words),
    )
    result = run_study(study, options, folder=as_path(folder))
    if result.failed:
        raise UserError(next(f"{name}: {reason}" for name, reason in result.failed.items()))
    seeds: dict[int, list[Run]] = {}
    for made in result.made:
        seeds.setdefault(made.planned.seed, []).append(made.run)
    asked = PredictOptions(
        tta=tta,
        checkpoint="last",
        data=options.data,
        cache_dir=options.cache_dir,
        device=options.device,
        workers=options.workers,
    )
    whole = [runs for runs in seeds.values() if len(runs) == folds]
    joined = tuple(predict_out_of_fold(runs, asked).path for runs in whole)
    return CrossValidation(result, folds, _by_fold(result), joined)


def _by_fold(result: StudyResult) -> tuple[FoldScore, ...]:
    return tuple(
        FoldScore(made.planned.seed, made.planned.fold or "", made.run, last["macro_f1"], last["top1"])
        for made in result.made
        for last in made.run.metrics[-1:]
    )
