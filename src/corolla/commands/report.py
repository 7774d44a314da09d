"""corolla report: a run as a page to look at."""

import logging
from pathlib import Path
from typing import Any

from corolla.commands.common import Paths, check_workers, given_words, next_command, without_others
from corolla.errors import DONE, UserError
from corolla.runs.folder import CheckpointName, open_run
from corolla.runs.folds import have_scores_together

log = logging.getLogger(__name__)


def report(
    runs: Paths,
    /,
    out: Path | None = None,
    data: Path | None = None,
    size: int | None = None,
    checkpoint: CheckpointName = "last",
    cache_dir: Path | None = None,
    device: str = "auto",
    workers: int | None = None,
    into: Path | None = None,
) -> int:
    """Write a page about a run: curves, confusions and mistakes with photos, every class, the first batch.

    It is one HTML file, which opens from disk without a network. `corolla train` writes it at its end.

    Args:
        runs: folders of runs.
        out: where the page of a single run goes; default: report.html in the run's folder.
        data: the data folder; default: the one that each run was trained with.
        size: which tfrecords-jpeg-SxS; default: the one that each run was trained with.
        checkpoint: last, or best: chosen on val, so its scores there are optimistic.
        cache_dir: folder for the index; default: the user's cache.
        device: auto, cpu, cuda, cuda:1, mps.
        workers: decoding processes; default: by the number of cores.
        into: as corolla table has it, which took the name of this command before; it goes with the next release.
    """
    if into is not None:
        from corolla.commands.table import table

        log.warning(
            "corolla report RUN… --into FILE is called corolla table now; the old form goes with the next release"
        )
        return table(runs, into=into)
    check_workers(workers)
    runs = without_others(runs)
    if not runs:
        raise UserError("name at least one run's folder: corolla report RUN…")
    if out is not None and len(runs) > 1:
        raise UserError("--out is the file of one page: name one run, or leave it out")
    opened = [open_run(folder) for folder in runs]  # all are there before the first one is predicted

    from corolla.compare.report.run_page import report as write_report

    places: dict[str, Any] = {"data": data, "size": size, "cache_dir": cache_dir, "workers": workers}
    for run in opened:
        print(write_report(run, out=out, checkpoint=checkpoint, device=device, **places).summary)
    device_given = None if device == "auto" else device
    compares = len(opened) > 1 and have_scores_together(opened)
    if compares:  # it takes records of the runs' own size
        places.pop("size")
    options = given_words(**places, checkpoint=None if checkpoint == "last" else checkpoint, device=device_given)
    print(next_command("compare" if compares else "predict", *runs, *options))
    return DONE
