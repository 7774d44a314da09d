"""`corolla study`: many runs from one file, their table, figures and sentences."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from corolla.compare.places import COMPARISONS
from corolla.errors import UserError
from corolla.files import locked, sha256, write_atomically
from corolla.paths import AnyPath, as_path
from corolla.results import Result
from corolla.study.file import Study, read_study
from corolla.study.gather import NothingYet, gather
from corolla.study.measure import measured
from corolla.study.plan import Planned, StudyOptions, plan
from corolla.study.recognise import forget
from corolla.study.records import FILE, Records
from corolla.study.results import StudyResults, results_of
from corolla.study.tables import as_text
from corolla.study.work import Made, Work, check_plan, runs_there, work_through
from corolla.study.write import write_study

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, repr=False)
class StudyResult(Result):
    """The results of a study, and the folder in which they are written."""

    folder: Path
    results: StudyResults
    failed: dict[str, str]
    """The runs that could not be made, with the reason of each."""
    paths: tuple[Path, ...]
    """The files that were written."""
    made: tuple[Made, ...] = ()
    """The finished runs; none where the results are of a record alone."""

    @property
    def summary(self) -> str:
        """The sentences that may be said, in a line."""
        said = " ".join(self.results.sentences)
        return f"{self.results.study.name}: {said or 'nothing to compare'} ({self.folder})"

    def to_pandas(self) -> pd.DataFrame:
        """Return the table as people read it: a row per row."""
        titles, rows = as_text(self.results)
        return pd.DataFrame(rows, columns=titles)


class StudyStopped(Exception):
    """A signal or the time budget has ended the training of a study; the same call goes on."""


def study(
    file: AnyPath, options: StudyOptions | None = None, *, folder: AnyPath | None = None, **changes: Any
) -> StudyResult:
    """Train what a study lacks, predict, compare, vote, and write `comparisons/NAME`: `study("studies/mine.toml")`.

    Called by several processes at once, they share the runs. A run that is there, whatever its name, is taken.

    Args:
        file: the study's TOML file.
        options: see StudyOptions.
        folder: to write to; default: comparisons/NAME.
        changes: of single options: `study("mine.toml", seeds=(0,), data="photos")`.

    Raises:
        UserError: the file or a setting in it is not valid, the data are not there, or no run could be made.
        StudyStopped: a signal or the time budget has ended it.
    """
    options = replace(options or StudyOptions(), **changes)
    return run_study(read_study(as_path(file)), options, folder=as_path(folder))


def run_study(read: Study, options: StudyOptions, *, folder: Path | None = None) -> StudyResult:
    """Do what `study` does, for a study that is not in a file."""
    folder = folder or folder_of(read, options)
    planned = check_study(read, options, folder)
    log.info("%s: %d runs", read.name, len(planned))
    if options.on == "ray":
        from corolla.study.on_ray import work_on_ray

        work = work_on_ray(planned)
    else:
        work = work_through(planned, waiting=lambda: log.info("waiting for runs that others make"))
    if work.was_stopped:
        raise StudyStopped(f"{read.name}: stopped; the same command goes on")
    return _written(read, options, work, folder)


def check_study(study: Study, options: StudyOptions, folder: Path) -> list[Planned]:
    """Return the runs of a study; what they ask for and the folder of its results are checked before any is trained.

    Raises:
        UserError: a setting is not valid, data or weights are not there, or the record in the folder is damaged.
        OSError: the folder can't be made.
    """
    planned = plan(study, options)
    forget()
    check_plan(planned)
    with locked(folder / ".lock", wait=False):
        pass
    if (folder / FILE).is_file():
        Records.load(folder / FILE)
    return planned


def _written(study: Study, options: StudyOptions, work: Work, folder: Path) -> StudyResult:
    """Gather the record of all runs that are there, and write what it shows; one process at a time."""
    with locked(folder / ".lock"):
        everything = plan(study, replace(options, only=None, only_folds=None))
        there = work.runs | runs_there([each for each in everything if each.place not in work.runs])
        made = [there[each.place] for each in everything if each.place in there]
        reasons = {each.name: work.failed[each.place] for each in work.planned if each.place in work.failed}
        if not made and reasons:
            raise UserError(f"{study.path}: no run could be made: {next(iter(reasons.values()))}")
        path = folder / FILE
        before = Records.load(path) if path.is_file() else None
        try:
            records = gather(study, options, made, before)
        except NothingYet:
            if reasons:
                raise UserError(f"{study.path}: {'; '.join(': '.join(each) for each in reasons.items())}") from None
            raise
        tables, failed = measured(study, options, made, records, before)
        reasons |= failed
        records = replace(records, measured=tables)
        _keep(before, records, path)
        records.save(path)
        results = results_of(study, Records.load(path))  # as study_table has it, which reads the same numbers
        return StudyResult(folder, results, reasons, tuple(write_study(results, folder)), tuple(made))


def _keep(before: Records | None, records: Records, path: Path) -> None:
    """Keep a record beside the one that takes its place, where that has not all its runs: they are of other photos."""
    there = {(run.row, run.seed) for run in records.runs}
    if before is not None and any((run.row, run.seed) not in there for run in before.runs):
        kept = path.with_name(f"{sha256(path)[:8]}-{FILE}")
        write_atomically(kept, path.read_bytes())
        log.warning("%s: its runs are of other photos, or of another length; kept as %s", path, kept)


def study_table(file: AnyPath, *, records: AnyPath | None = None, folder: AnyPath | None = None) -> StudyResult:
    """Rebuild the tables and figures of a study from its record, without its runs and photos.

    Args:
        file: the study's TOML file.
        records: the record; default: the one in the folder beside the file that is called as it, which studies that
            ship have, else the one that `study` has left in comparisons/NAME.
        folder: to write to; default: comparisons/NAME.

    Raises:
        UserError: there is no record, or it has no run of the study as it is now.
    """
    read = read_study(as_path(file))
    places = [read.path.with_suffix("") / FILE, COMPARISONS / read.name / FILE]
    path = as_path(records) if records is not None else next((one for one in places if one.is_file()), places[1])
    into = as_path(folder) or COMPARISONS / read.name
    results = results_of(read, Records.load(path))
    if not any(row.records for row in results.rows):
        raise UserError(
            f"{path}: has no run of {read.path} with the settings and views that it has now: is it of another study?"
        )
    return StudyResult(into, results, {}, tuple(write_study(results, into)))


def folder_of(study: Study, options: StudyOptions) -> Path:
    """Return the folder for the results of a study; those of shorter and of full-size runs have one of their own."""
    factor = f"-times-{options.epochs_factor:g}" if options.epochs_factor != 1 else ""
    return COMPARISONS / f"{study.name}{'-full' if options.full else ''}{factor}"
