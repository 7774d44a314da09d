"""corolla study: many runs from one file, and what they show."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from corolla.commands.common import Paths, next_command, refuse_with, text_table
from corolla.errors import DONE, FAILED, STOPPED, UserError
from corolla.study.file import read_study
from corolla.study.plan import StudyOptions
from corolla.text_files import shell_words

if TYPE_CHECKING:
    from corolla.study.study import StudyResult

OptionsArgument = Annotated[StudyOptions, tyro.conf.arg(name="")]
DEFAULTS = StudyOptions()
LEAST = ("folder", "p (Holm)", "95 %", "difference", "against")
"""Columns that a narrow terminal goes without, the first first."""


def study(
    action: Annotated[Literal["run", "status", "table", "commands"], tyro.conf.Positional],
    studies: Paths,
    /,
    folder: Path | None = None,
    records: Path | None = None,
    options: OptionsArgument = DEFAULTS,
) -> int:
    """Train, predict and compare all runs of a study file, and write their table, figures and sentences.

    Args:
        action: run (what is missing, also by several workers at once; the same command goes on after a kill), status
            (what is done, running, missing, and how long it will take), table (tables and figures again from the
            record, without runs and photos), or commands (one per run that is missing, for SLURM arrays and the like).
        studies: a study file, such as studies/depth.toml, or several, one after the other; docs/studies.md says what
            stands in it.
        folder: for tables, figures and the record of one study; default: comparisons/NAME.
        records: with table and one study: the record; default: the one in the folder NAME beside the file, else the one
            that run has left.
        options: where and how the runs are made.
    """
    if action != "table":
        refuse_with(action, records=records)
    if action in ("status", "commands"):
        refuse_with(action, folder=folder)
    if action == "table":
        given = {name: value for name, value in vars(options).items() if value != getattr(DEFAULTS, name)}
        refuse_with("table, which trains nothing", **given)
    if not studies:
        raise UserError(f"study {action}: name a study file, such as studies/depth.toml")
    if len(studies) > 1:
        refuse_with("several studies", folder=folder, records=records)
        if action in ("run", "table"):  # the others write nothing
            _check(action, studies, options)
    status = DONE
    for file in studies:
        status = max(status, _one(action, file, folder, records, options))
        if status == STOPPED:
            break
    return status


def _check(action: str, files: Sequence[Path], options: StudyOptions) -> None:
    """Check all studies, before the runs of the first are trained for hours.

    Raises:
        UserError: one is not valid, or two would have one folder of results.
    """
    from corolla.study.study import check_study, folder_of

    seen: dict[str, Path] = {}
    for file in files:
        read = read_study(file)
        if read.name in seen:
            raise UserError(f"{seen[read.name]} and {file}: their results have one folder, {read.name}: rename one")
        seen[read.name] = file
        if action == "run":
            check_study(read, options, folder_of(read, options))


def _one(action: str, file: Path, folder: Path | None, records: Path | None, options: StudyOptions) -> int:
    if action == "status":
        return _status(file, options)
    if action == "commands":
        from corolla.study.status import study_commands

        for words in study_commands(file, options):
            print(shell_words(*words))
        return DONE
    from corolla.study.gather import NothingYet
    from corolla.study.study import StudyStopped, study, study_table

    if action == "table":
        return _shown(study_table(file, records=records, folder=folder))
    try:
        return _shown(study(file, options, folder=folder))
    except StudyStopped as stopped:
        print(stopped)
        return STOPPED
    except NothingYet as told:  # one of several jobs, a fold each: it has done what it was asked for
        print(told)
        return DONE


def _shown(result: "StudyResult") -> int:
    from corolla.study.tables import as_text

    titles, rows = as_text(result.results)
    print(f"{result.results.study.question}\n\n{text_table(titles, rows, least=LEAST)}\n")
    print("\n".join(result.results.sentences))
    print(f"\nwrote {' '.join(map(str, result.paths))}")
    for name, reason in result.failed.items():
        print(f"{name} has failed: {reason}")
    return FAILED if result.failed else DONE


def _status(file: Path, options: StudyOptions) -> int:
    from corolla.study.status import option_words, study_status

    status = study_status(file, options)
    table = status.to_pandas()
    print(text_table(list(table), [list(map(str, row)) for row in table.to_numpy()], least=LEAST))
    print(f"\n{status.summary}")
    if status.left:
        print(next_command("study", "run", file, *option_words(options)))
    return DONE
