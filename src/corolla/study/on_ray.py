"""The runs of a study as tasks of a Ray cluster: one task a run, a GPU each where the cluster has any.

A task needs the folders of data and runs by the same paths on every machine. Which run is whose, the locks of
study/work.py decide, as for all workers; a task that has died is started again by Ray, and its run resumes.
"""

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from corolla.errors import Failure, UserError
from corolla.runs.folder import Run
from corolla.study.plan import Place, Planned, with_sources
from corolla.study.recognise import wanted
from corolla.study.work import WAIT_S, Made, Work, make_run, sources

log = logging.getLogger(__name__)

Outcome = tuple[Made | None, str]
"""A finished run, or none and the reason: empty where it was stopped."""


def work_on_ray(planned: Sequence[Planned]) -> Work:
    """Train every run that is not there yet on the Ray cluster that RAY_ADDRESS names, else on this machine.

    Raises:
        UserError: Ray is not installed, or its cluster is not to be had.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise UserError("--on ray: Ray is not installed: pip install 'corolla[ray]'") from None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    started_here = not ray.is_initialized()
    try:
        ray.init(ignore_reinit_error=True, include_dashboard=False, log_to_driver=True)
    except (ConnectionError, RuntimeError) as error:
        raise UserError(f"--on ray: {str(error).partition(chr(10))[0]}") from None
    try:
        has_gpus = ray.cluster_resources().get("GPU", 0) >= 1
        task = ray.remote(num_cpus=1, num_gpus=int(has_gpus), max_retries=3)(_task)
        refs: dict[Place, Any] = {}
        for each in planned:  # those that others learn from come first
            needs = [refs[place] for place in sources(each).values()]
            refs[each.place] = task.remote(_absolute(each), *needs)
        work = Work(planned)
        for each in planned:
            made, reason = ray.get(refs[each.place])
            if made is not None:
                work.runs[each.place] = made
            elif reason:
                log.warning("%s: %s", each.name, reason)
                work.failed[each.place] = reason
            else:
                work.was_stopped = True
        return work
    finally:
        if started_here:
            ray.shutdown()


def _task(planned: Planned, *learned_from: Outcome) -> Outcome:
    """Make a run, or wait for the worker that makes it, once those that it learns from are there."""
    from corolla.logs import to_screen

    to_screen()
    if broken := [row for (made, _), row in zip(learned_from, planned.sources.values(), strict=True) if made is None]:
        return None, f"learns from {broken[0]}, which has failed"
    folders = {made.planned.row: made.run.folder for made, _ in learned_from if made is not None}
    try:
        asked = wanted(with_sources(planned, folders))
        run: Run | None = None
        while run is None:
            run = make_run(planned, asked)
            time.sleep(0 if run is not None else WAIT_S)
    except (UserError, Failure) as error:
        return None, str(error)
    return (Made(planned, run, asked.key), "") if run.state == "done" else (None, "")


def _absolute(planned: Planned) -> Planned:
    """Return a run with its folders by their full paths: a task works in a folder of its own."""
    config = planned.config
    paths = {name: path.absolute() for name in ("data", "runs", "cache_dir") if (path := getattr(config, name))}
    return replace(planned, config=replace(config, **paths))
