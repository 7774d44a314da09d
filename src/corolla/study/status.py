"""How far a study is: its runs, done, under way or missing, and how long the rest will take."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from corolla.data.folds import parts_of
from corolla.paths import AnyPath, as_path
from corolla.results import Result
from corolla.runs.folder import Run
from corolla.study.file import read_study
from corolla.study.plan import Planned, StudyOptions, plan, with_sources
from corolla.study.recognise import find_run, forget, wanted
from corolla.study.work import Made, Work, is_claimed

State = Literal["done", "training now", "stopped", "missing", "waits"]


@dataclass(frozen=True)
class RunStatus:
    """How far one run of a study is."""

    planned: Planned
    state: State
    """waits: for the run that it learns from."""
    epochs: int
    of: int
    run: Run | None
    seconds_per_epoch: float | None
    """As measured so far; None where no epoch was."""


@dataclass(frozen=True, repr=False)
class StudyStatus(Result):
    """How far a study is."""

    name: str
    runs: tuple[RunStatus, ...]

    @property
    def hours_left(self) -> float | None:
        """Hours that one worker needs for the rest, reckoned from the epochs that were trained; None where none was.

        An epoch of a row of which none was trained is taken to be as long as the mean of the others.
        """
        known = [run.seconds_per_epoch for run in self.runs if run.seconds_per_epoch is not None]
        if not known:
            return None
        by_row: dict[str, list[float]] = {}
        for run in self.runs:
            if run.seconds_per_epoch is not None:
                by_row.setdefault(run.planned.row, []).append(run.seconds_per_epoch)
        usual = float(np.mean(known))
        return (
            sum((run.of - run.epochs) * float(np.mean(by_row.get(run.planned.row, [usual]))) for run in self.left)
            / 3600
        )

    @property
    def left(self) -> list[RunStatus]:
        """The runs that are not done."""
        return [run for run in self.runs if run.state != "done"]

    @property
    def summary(self) -> str:
        """The numbers of runs by state, and the time that is left."""
        counts = {state: sum(run.state == state for run in self.runs) for state in ("done", "training now", "stopped")}
        counts["missing"] = len(self.runs) - sum(counts.values())
        told = ", ".join(f"{number} {state}" for state, number in counts.items() if number or state == "done")
        hours = self.hours_left
        rest = "" if not self.left else "; how long the rest takes, the first epoch tells"
        if self.left and hours is not None:
            rest = f"; one worker needs {_duration(hours)} for the rest, as far as is known"
        return f"{self.name}: {told} of {len(self.runs)} runs{rest}"

    def to_pandas(self) -> pd.DataFrame:
        """Return a row per run: its row, seed, state, epochs and folder."""
        return pd.DataFrame(
            [
                (*run.planned.place, run.state, run.epochs, run.of, str(run.run.folder) if run.run else "")
                for run in self.runs
            ],
            columns=["row", "seed", "fold", "state", "epochs", "of", "folder"],
        ).dropna(axis=1, how="all")  # most studies have no folds


def _duration(hours: float) -> str:
    return f"{hours * 60:.0f} min" if hours < 1.5 else f"{hours:.1f} h"


def study_status(file: AnyPath, options: StudyOptions | None = None) -> StudyStatus:
    """Return how far a study is; nothing is trained.

    Raises:
        UserError: the file or a setting in it is not valid, or the data are not there.
    """
    study = read_study(as_path(file))
    forget()
    planned = plan(study, options or StudyOptions())
    return StudyStatus(study.name, tuple(_statuses(planned)))


def _statuses(planned: Sequence[Planned]) -> list[RunStatus]:
    work, found = Work(planned), list[RunStatus]()
    for each in planned:
        of = each.config.train.epochs
        folders = work.folders(each)
        if folders is None:
            found.append(RunStatus(each, "waits", 0, of, None, None))
            continue
        asked = wanted(with_sources(each, folders))
        run = find_run(asked, asked.config.runs)
        state: State = "missing"
        if run is not None and run.state == "done":
            state, work.runs[each.place] = "done", Made(each, run, asked.key)
        elif is_claimed(asked) or (run is not None and run.is_training):
            state = "training now"
        elif run is not None and run.state == "stopped":
            state = "stopped"
        found.append(RunStatus(each, state, _epochs(run), of, run, _seconds_per_epoch(run)))
    return found


def _epochs(run: Run | None) -> int:
    return len(run.metrics) if run is not None else 0


def _seconds_per_epoch(run: Run | None) -> float | None:
    timing = run.timing if run is not None else []
    return timing[-1]["total_seconds"] / len(timing) if timing else None


def study_commands(file: AnyPath, options: StudyOptions | None = None) -> list[list[object]]:
    """Return the words of a command for each run of a study that is not done, for job arrays.

    A command makes its run, and before that what it learns from, unless another process does. The study's own command
    then finds them all.
    """
    options = options or StudyOptions()
    words = option_words(options)
    return [
        ["corolla", "study", "run", Path(file), *_which(run.planned), *words]
        for run in study_status(file, options).left
    ]


def option_words(options: StudyOptions) -> list[object]:
    """Return the words of a command for where and how runs are made, as far as they are given."""
    given = {
        **{"--data": options.data, "--size": options.size, "--runs": options.runs, "--cache-dir": options.cache_dir},
        **{"--device": options.device, "--workers": options.workers, "--epochs-factor": options.epochs_factor},
    }
    usual = StudyOptions()
    words: list[object] = [
        word
        for name, value in given.items()
        if value != getattr(usual, name.removeprefix("--").replace("-", "_"))
        for word in (name, value)
    ]
    return [*words, "--full"] if options.full else words


def _which(planned: Planned) -> list[object]:
    words: list[object] = ["--only", planned.row, "--seeds", planned.seed]
    return [*words, "--only-folds", parts_of(planned.fold)[0]] if planned.fold else words
