"""Measure what the networks of a study do inside: lesions and gradients of the first seed's runs, for its record."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from corolla.results import Result
from corolla.study.file import Study
from corolla.study.plan import StudyOptions
from corolla.study.records import Measured, Records
from corolla.study.work import Made


def measured(
    study: Study, options: StudyOptions, made: Sequence[Made], before: Records | None = None
) -> dict[str, Measured]:
    """Return the tables that a study asks for; those that `before` has of the very same runs are not measured again.

    Raises:
        UserError: a network is not one of which this can be measured.
    """
    if not study.measure:
        return {}
    first = min(each.planned.seed for each in made)
    own = [each for each in made if each.planned.seed == first]
    keys = tuple(each.key for each in own)
    found: dict[str, Measured] = {}
    for name in study.measure:
        known = before.measured.get(name) if before is not None else None
        found[name] = known if known is not None and known.keys == keys else _measure(name, own, keys, options)
    return found


def _measure(name: str, made: Sequence[Made], keys: tuple[str, ...], options: StudyOptions) -> Measured:
    from corolla.anatomy.gradients import gradients
    from corolla.anatomy.lesion import lesion

    function: Callable[..., Result] = lesion if name == "lesions" else gradients
    table = function(
        [each.run.folder for each in made],
        data=options.data,
        cache_dir=options.cache_dir,
        device=options.device,
        workers=options.workers,
    ).to_pandas()
    names = {key: each.planned.row for each in made for key in (each.run.name, str(each.run.folder))}
    table["run"] = [names[run] for run in table["run"]]
    rows: list[dict[str, Any]] = json.loads(str(table.to_json(orient="records", double_precision=15)))
    return Measured(keys, rows)
