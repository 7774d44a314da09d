"""corolla cv: cross-validation of an experiment."""

from pathlib import Path
from typing import Annotated

import tyro

from corolla.commands.common import ViewArguments, next_command, text_table
from corolla.data.transforms.tta import ViewOptions
from corolla.errors import DONE, STOPPED
from corolla.study.plan import StudyOptions

OptionsArgument = Annotated[StudyOptions, tyro.conf.arg(name="")]
DEFAULTS = StudyOptions()
NO_VIEWS = ViewOptions()


def cv(
    experiment: Annotated[str, tyro.conf.Positional],
    /,
    folds: int = 5,
    epochs: int | None = None,
    folder: Path | None = None,
    options: OptionsArgument = DEFAULTS,
    views: ViewArguments = NO_VIEWS,
) -> int:
    """Cross-validate an experiment: a run per fold, and one file of what each says of the photos it has not learned.

    Killed at any time, the same command goes on; started several times, it shares the work.

    Args:
        experiment: a name, or a TOML file, as corolla train takes it.
        folds: their number. Every photo of train and val is in one of them; near duplicates are in the same.
        epochs: in place of the experiment's own.
        folder: for the table; default: comparisons/EXPERIMENT-FOLDS-folds.
        options: where and how the runs are made; without --seeds by seed 0 alone.
        views: views of the joined predictions.
    """
    from corolla.study.cross_validation import cv as cross_validate
    from corolla.study.gather import NothingYet
    from corolla.study.study import StudyStopped

    try:
        result = cross_validate(experiment, folds, options, tta=views.name, epochs=epochs, folder=folder)
    except StudyStopped as stopped:
        print(stopped)
        return STOPPED
    except NothingYet as told:  # one of several jobs, a fold each: it has done what it was asked for
        print(told)
        return DONE
    rows = [
        [str(each.seed), each.fold, f"{each.macro_f1:.4f}", f"{each.top1:.4f}", str(each.run.folder)]
        for each in result.by_fold
    ]
    print(text_table(["seed", "fold", "macro F1", "top-1", "run"], rows, least=("run",)))
    print(f"\n{result.summary}\n\nwrote {' '.join(map(str, (*result.study.paths, *result.out_of_fold)))}")
    runs = [each.run.folder for each in result.by_fold]
    words = ["ensemble", *runs, "--method", "mean", "--checkpoint", "last", "--out", f"submissions/{folds}-folds.csv"]
    print(next_command(*words))
    return DONE
