"""Measure what the networks of a study do inside: lesions and gradients of all its runs, for its record."""

import itertools
import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

from corolla.errors import Failure, UserError
from corolla.results import Result
from corolla.study.file import Study
from corolla.study.plan import StudyOptions
from corolla.study.records import Measured, Records
from corolla.study.work import Made

log = logging.getLogger(__name__)
Rows = list[dict[str, Any]]
MeasuredRun = tuple[str, int, str]
"""Its row in the study, its seed and its key."""


def measured(
    study: Study, options: StudyOptions, made: Sequence[Made], records: Records, before: Records | None = None
) -> tuple[dict[str, Measured], dict[str, str]]:
    """Return the tables that a study asks for, and why a run could not be measured, which keeps no other from it.

    Args:
        made: the runs that are there.
        records: the record that the tables are for, which may have earlier runs, too.
        before: the record before; a run that it has measured is not measured again.
    """
    found, failed = dict[str, Measured](), dict[str, str]()
    places = {(each.planned.row, each.planned.seed, each.key): each for each in made}
    for name in study.measure:
        rows = _known(before.measured[name]) if before is not None and name in before.measured else {}
        for place, each in places.items():
            if place in rows:
                continue
            try:
                rows[place] = _measure(name, each, options)
            except (
                UserError,
                Failure,
            ) as error:  # such as a network without residual blocks; what was trained is shown all the same
                log.warning("%s of %s, seed %d: %s", name, *place[:2], error)
                failed.setdefault(name, f"{place[0]}, seed {place[1]}: {error}")
        if there := [place for run in records.runs if (place := (run.row, run.seed, run.key)) in rows]:
            found[name] = Measured(
                tuple(key for *_, key in there), list(itertools.chain.from_iterable(rows[place] for place in there))
            )
    return found, failed


def _known(measured: Measured) -> dict[MeasuredRun, Rows]:
    by_run: dict[tuple[str, int], Rows] = {}
    for row in measured.rows:
        by_run.setdefault((row["run"], row["seed"]), []).append(row)
    if len(by_run) != len(measured.keys):
        return {}
    return {(*run, key): rows for (run, rows), key in zip(by_run.items(), measured.keys, strict=True)}


def _measure(name: str, made: Made, options: StudyOptions) -> Rows:
    from corolla.anatomy.gradients import gradients
    from corolla.anatomy.lesion import lesion

    function: Callable[..., Result] = lesion if name == "lesions" else gradients
    table = function(
        [made.run.folder],
        data=options.data,
        cache_dir=options.cache_dir,
        device=options.device,
        workers=options.workers,
    ).to_pandas()
    rows: Rows = json.loads(str(table.to_json(orient="records", double_precision=15)))
    return [{**row, "run": made.planned.row, "seed": made.planned.seed} for row in rows]
