"""Measure what the networks of a study do inside: lesions and gradients of the first seed's runs, for its record."""

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


def measured(
    study: Study, options: StudyOptions, made: Sequence[Made], before: Records | None = None
) -> tuple[dict[str, Measured], dict[str, str]]:
    """Return the tables that a study asks for, and the reasons why some could not be measured, which keeps no other.

    Those that `before` has of the very same runs are not measured again.
    """
    if not study.measure:
        return {}, {}
    first = min(each.planned.seed for each in made)
    own = [each for each in made if each.planned.seed == first]
    keys, rows = tuple(each.key for each in own), [each.planned.row for each in own]
    found, failed = dict[str, Measured](), dict[str, str]()
    for name in study.measure:
        known = before.measured.get(name) if before is not None else None
        if known is not None and known.keys == keys and {row["run"] for row in known.rows} == {*rows}:
            found[name] = known
            continue
        try:
            found[name] = _measure(name, own, keys, options)
        except (
            UserError,
            Failure,
        ) as error:  # such as a network without residual blocks; what was trained is shown all the same
            log.warning("%s: %s", name, error)
            failed[name] = str(error)
    return found, failed


def _measure(name: str, made: Sequence[Made], keys: tuple[str, ...], options: StudyOptions) -> Measured:
    from corolla.anatomy.gradients import gradients
    from corolla.anatomy.lesion import lesion

    function: Callable[..., Result] = lesion if name == "lesions" else gradients
    runs = dict.fromkeys(each.run.folder for each in made)  # two rows of the same settings have one run
    table = function(
        list(runs),
        data=options.data,
        cache_dir=options.cache_dir,
        device=options.device,
        workers=options.workers,
    ).to_pandas()
    by_run: list[dict[str, Any]] = json.loads(str(table.to_json(orient="records", double_precision=15)))
    rows = [
        {**row, "run": each.planned.row}
        for each in made
        for row in by_run
        if row["run"] in (each.run.name, str(each.run.folder))
    ]
    return Measured(keys, rows)
