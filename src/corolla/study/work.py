"""Train the runs that a study lacks. Several processes, on one machine or on several with one disk, share them.

Each run is claimed by the lock of a file, which dies with its process; the run itself resumes by its checkpoint. So a
study that was killed goes on with the same command, by however many workers.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from corolla.config.checks import check_settings
from corolla.errors import Failure, UserError
from corolla.files import is_locked, locked
from corolla.runs.folder import Run
from corolla.study.plan import Place, Planned, with_sources
from corolla.study.recognise import Wanted, find_run, wanted

log = logging.getLogger(__name__)

CLAIMS = ".studies"
"""Folder for the locks of runs, in the runs folder."""
WAIT_S = 1.0
"""How often a worker with nothing left to do looks for what others have done."""


class Made(NamedTuple):
    """A finished run, as a study has it."""

    planned: Planned
    run: Run
    key: str
    """SHA-256 of everything that decided it."""


@dataclass
class Work:
    """The runs of a study, and how far each is."""

    planned: Sequence[Planned]
    runs: dict[Place, Made] = field(default_factory=dict)
    """The finished ones, by row, seed and fold."""
    failed: dict[Place, str] = field(default_factory=dict)
    """The reasons why runs could not be made."""
    was_stopped: bool = False
    """True where a signal or the time budget has ended the work."""

    @property
    def left(self) -> list[Planned]:
        """Those that are neither done nor failed."""
        return [each for each in self.planned if each.place not in self.runs | self.failed]

    def folders(self, planned: Planned) -> dict[str, Path] | None:
        """Return the folders of the runs that one learns from; None as long as one is not done."""
        places = sources(planned)
        if any(place not in self.runs for place in places.values()):
            return None
        return {row: self.runs[place].run.folder for row, place in places.items()}


def sources(planned: Planned) -> dict[str, Place]:
    """Return the runs that one learns from, by their rows: those of the same seed and fold."""
    return {row: (row, planned.seed, planned.fold) for row in planned.sources.values()}


def check_plan(planned: Sequence[Planned]) -> None:
    """Check what can be checked before the first run is trained, which may take hours.

    Raises:
        UserError: the data are not there, or a run cannot be made as its settings say.
    """
    for each in planned:
        config = each.config
        for key in each.sources:  # whose runs are not there yet
            section, _, name = key.partition(".")
            off = "none" if key == "model.weights" else ""
            config = replace(config, **{section: replace(getattr(config, section), **{name: off})})
        config = wanted(config).config
        try:
            check_settings(config)
        except UserError as error:
            raise UserError(f"{each.name}: {error}") from None


def work_through(planned: Sequence[Planned], *, waiting: Callable[[], None] = lambda: None) -> Work:
    """Train every run that is not there yet and that nobody else trains, and wait for those of others.

    A run that fails does not keep the others from being made; those that learn from it fail, too.

    Args:
        waiting: called once, before others are waited for.
    """
    work, has_waited = Work(planned), False
    while work.left and not work.was_stopped:
        before = len(work.left)
        for each in work.left:
            _advance(work, each)
            if work.was_stopped:
                break
        if len(work.left) == before and not work.was_stopped:
            if not has_waited:
                waiting()
                has_waited = True
            time.sleep(WAIT_S)
    return work


def _advance(work: Work, planned: Planned) -> None:
    """Take a run that is there, or make it, where it can be made now and nobody else makes it."""
    place = planned.place
    if broken := next((row for row, source in sources(planned).items() if source in work.failed), None):
        work.failed[place] = f"learns from {broken}, which has failed"
        return
    folders = work.folders(planned)
    if folders is None:
        return
    try:
        asked = wanted(with_sources(planned, folders))
        run = make_run(planned, asked)
    except (UserError, Failure) as error:
        log.warning("%s: %s", planned.name, error)
        work.failed[place] = str(error)
        return
    if run is None:
        return
    if run.state == "done":
        work.runs[place] = Made(planned, run, asked.key)
    else:
        work.was_stopped = True


def make_run(planned: Planned, asked: Wanted) -> Run | None:
    """Return a run that is asked for, trained here unless it is there; None where another process trains it.

    Its `state` is "stopped" after a signal or at the end of the time budget.

    Raises:
        UserError, Failure: as `train` does.
    """
    config = asked.config
    if (run := find_run(asked, config.runs)) is not None and run.state == "done":
        return run
    with locked(_lock_of(asked), wait=False) as granted:
        if not granted:
            return None
        run = find_run(asked, config.runs)  # it may have been finished since
        if run is not None and run.state == "done":
            return run
        if run is not None and run.is_training:  # by a command that is no study's
            return None
        name = run.name if run is not None else new_name(asked)
        log.info("%s: %s", planned.name, config.runs / name)
        from corolla.training.train import train

        return train(replace(config, run_name=name), experiment=planned.row)


def is_claimed(asked: Wanted) -> bool:
    """Return whether a process makes this run now."""
    return is_locked(_lock_of(asked))


def _lock_of(asked: Wanted) -> Path:
    return asked.config.runs / CLAIMS / f"{asked.key[:16]}.lock"


def new_name(asked: Wanted) -> str:
    """Return the name of the folder in which a run is made: its network, seed, and the begin of its key."""
    config = asked.config
    fold = f"-fold{config.train.fold.replace('/', 'of')}" if config.train.fold else ""
    return f"{config.model.name.removeprefix('timm:')}{fold}-seed{config.train.seed}-{asked.key[:8]}"


def runs_there(planned: Sequence[Planned]) -> dict[Place, Made]:
    """Return the finished runs among those that a study needs, by their places; nothing is trained."""
    work = Work(planned)
    for each in planned:  # those that others learn from come first
        folders = work.folders(each)
        if folders is not None:
            asked = wanted(with_sources(each, folders))
            run = find_run(asked, asked.config.runs)
            if run is not None and run.state == "done":
                work.runs[each.place] = Made(each, run, asked.key)
    return work.runs
