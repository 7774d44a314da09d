"""`corolla train`: from TFRecords to a run folder.

torch is imported once it is clear that there is something to train.
"""

import contextlib
import dataclasses
import logging
import math
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from corolla.config import Config, validate
from corolla.config.checks import check_settings
from corolla.config.experiments import experiment_name, find_experiment
from corolla.config.keywords import with_keywords
from corolla.config.weights_source import weights_file
from corolla.data.corrections import Corrections, run_index, training_index
from corolla.data.folds import Folds
from corolla.data.index import Index, load_index, split_of
from corolla.errors import DONE, UserError
from corolla.files import sha256
from corolla.paths import AnyPath, as_path
from corolla.runs.copy import copy_run
from corolla.runs.data import check_is_here, own_settings
from corolla.runs.folder import Run, check_same_config, exclusive
from corolla.runs.length import stopping_line
from corolla.runs.same_data import check_same_data
from corolla.runs.without_torch import read_without_tensors
from corolla.runs.writing import write_config, write_environment, write_metrics
from corolla.text_files import shell_words
from corolla.training.corrections import keep_copy, notes_on, with_corrections
from corolla.training.folds import keep_folds, notes_on_folds, with_folds
from corolla.training.launch import processes_here, train_in_processes
from corolla.training.ranks import Ranks, own_device
from corolla.training.restarts import note_stop, was_stopped
from corolla.training.start import (
    StartingPoint,
    completed,
    starting_point,
    with_chosen_epochs,
    with_earlier_defaults,
)
from corolla.training.stop import stopping, time_budget
from corolla.training.together import Briefing, check_number, follow, together, train_together

if TYPE_CHECKING:
    from corolla.training.loop import OnStep

log = logging.getLogger(__name__)

FEW_UPDATES = 100
"""Updates in all below which a training says so: with one seed, 8 did not tell 4 kinds of flowers apart, 128 did."""


def train(
    config: Config | AnyPath,
    *,
    experiment: str | None = None,
    explicit: Collection[str] = (),
    on_step: "OnStep | None" = None,
    **settings: Any,
) -> Run:
    """Train an experiment into `runs/NAME`, or go on with the run that is there: `train("transfer_best", epochs=3)`.

    Args:
        config: an experiment by its name, a TOML or JSON file, a `Config`, or a run (or its folder) to go on with.
        experiment: names the run, unless a run_name does; default: as `config` is called, "custom" for a `Config`.
        explicit: keys (dotted, such as optim.momentum) of the settings that the user gave, beside those of an
            experiment or a file and `settings`: where one of them has no effect, it is refused.
        on_step: called after every update with the state, the batch, the learning rate and the batch's mean loss.
        settings: what differs from `config`, by the names of the command line's options: data="photos", epochs=3,
            optim={"name": "adamw"} (a name that two sections have goes into its section).

    Returns:
        The run; its `state` is "stopped" after a signal or at the end of the time budget.

    Raises:
        UserError: the data, a setting or the folder is not fit for it.
        TrainingFailed: the loss is not finite any more, or the device fails.
    """
    begun = None
    if not isinstance(config, Config):
        if (as_path(config) / "config.json").is_file():
            begun = Run(as_path(config))
            experiment, config = experiment or begun.environment.get("experiment"), own_settings(begun)
        else:
            experiment, config = experiment or experiment_name(config), find_experiment(config)
    config, given = with_keywords(config, settings)
    if begun is not None:
        check_is_here(begun, config.data)
    config, experiment, explicit = validate(config), experiment or "custom", {*explicit, *given}
    run = _run_of(config, experiment)
    number = processes_here(config, _num_parts(config, run)) if on_step is None else 1
    if number == 1:
        return train_here(config, experiment, explicit, on_step)
    train_in_processes(config, experiment, explicit, number)
    return run


def _run_of(config: Config, experiment: str) -> Run:
    fold = f"-fold{config.train.fold.replace('/', 'of')}" if config.train.fold else ""
    return Run(config.runs / (config.run_name or f"{experiment}{fold}-seed{config.train.seed}"))


def _num_parts(config: Config, run: Run) -> int | None:
    """Return the parts of each batch; None where they are still to be found."""
    parts = config.train.accumulate
    if parts == "auto" and run.last.exists() and (run.folder / "config.json").is_file():
        parts = run.config.train.accumulate
    return None if parts == "auto" else parts


def train_here(config: Config, experiment: str, explicit: Collection[str] = (), on_step: "OnStep | None" = None) -> Run:
    """Train in this process, or with others that torchrun has started; of those only the leader comes back.

    Raises:
        UserError: the data, a setting or the folder is not fit for it.
        TrainingFailed: the loss is not finite any more, or the device fails.
        PeerLostError: another process has ended.
    """
    run = _run_of(config, experiment)
    with together(run) as ranks:
        config = dataclasses.replace(config, device=own_device(config.device))
        if ranks.leads:
            with Briefing(ranks) as briefing:
                _lead(config, run, experiment, explicit, on_step, ranks, briefing)
        else:
            follow(config, run, ranks, on_step)
            raise SystemExit(DONE)
    return run


def _lead(
    config: Config,
    run: Run,
    experiment: str,
    explicit: Collection[str],
    on_step: "OnStep | None",
    ranks: Ranks,
    briefing: Briefing,
) -> None:
    started = time.monotonic()
    if config.resume is not None and (config.resume / "config.json").is_file():
        check_is_here(Run(config.resume), config.data)
    records = load_index(config.data, config.size, config.cache_dir)
    for split in ("train", "val"):
        split_of(records, split)  # which says what is missing, before anything is made
    budget = time_budget(config.train.max_hours)
    with exclusive(run.folder), stopping(budget.hours) as stop, contextlib.ExitStack() as stack:
        if was_stopped(run):
            log.info("%s: was asked to stop before torchrun started its processes again; they end", run.folder)
            return
        plan = _plan(config, run, explicit, records, ranks)
        config, index, start, fitted, notes = plan.config, plan.index, plan.start, plan.fitted, plan.notes
        if start.kind == "copy":
            assert start.source is not None
            _copy(Run(start.source), run, config, index)
        if run.state == "done":
            check_same_data(read_without_tensors(run.last), index, run.last)
            write_metrics(run, run.metrics)  # it may have been lost or damaged, or be another checkpoint's
            log.info("%s: this run is finished (%s); nothing to do", run.folder, _length(run))
            return

        from corolla.device import describe, idle_gpus
        from corolla.training.batches import RunPhotos
        from corolla.training.begin import build_state
        from corolla.training.fit_hours import choose_epochs, cut_by, told

        photos = stack.enter_context(contextlib.closing(RunPhotos(index, stop, ranks)))
        is_measured = config.train.fit_hours is not None and fitted is None and not start.has_begun
        load = None if is_measured else photos.load  # the sizes of photos may follow from the epochs that are found
        state = build_state(start, config, index, run=run, explicit=explicit, load=load)
        if is_measured:
            fitted = choose_epochs(state, index, run.folder, started=started, stop=stop, num_ranks=ranks.number)
            if fitted is None:
                note_stop(run)
                log.info("stopped: %s, while an epoch was measured; nothing has begun", stop.reason)
                return
            notes = [told(fitted), *cut_by(fitted, budget.hours), *check_settings(state.config, explicit=explicit)]
            photos.load(state.meta)
        config = state.config  # with what --train.accumulate auto and --train.fit-hours have found
        briefing.give(state, plan.corrections, plan.folds)  # another process may refuse
        keep_copy(run, plan.corrections)
        keep_folds(run, plan.folds)
        write_config(run, config)  # not before: a start that fails must not take the run's name
        write_environment(
            run,
            experiment=experiment,
            device=describe(state.device),
            precision=state.precision,
            processes=ranks.number,
            data=str(index.folder.resolve()),
            fingerprint=index.fingerprint,
            **_origin(run, config, start, fitted),
        )
        notes += notes_on(plan.corrections, plan.records)
        for line in filter(None, (idle_gpus(state.device, ranks.number), budget.note, *notes, *state.notes)):
            log.info(line)
        train_together(state, photos, run, stop, ranks, on_step)
        if stop.reason and run.state != "done":
            step = state.progress.step
            note_stop(run)
            log.info("stopped: %s; %s holds step %d, the same command goes on", stop.reason, run.last, step)


@dataclass(frozen=True)
class _Plan:
    """Everything that is settled before the network is built."""

    config: Config
    corrections: Corrections | None
    folds: Folds | None
    records: Index
    """With train and val as the run has them."""
    index: Index
    """That with the corrections, and of the photos that are trained on no more than --train.share."""
    start: StartingPoint
    fitted: dict[str, Any] | None
    """Facts that --train.fit-hours has found before."""
    notes: list[str]


def _plan(config: Config, run: Run, explicit: Collection[str], records: Index, ranks: Ranks) -> _Plan:
    """Settle how `run` begins or goes on, by what its folder holds; nothing is written.

    Raises:
        UserError: a setting does not fit the data, the run or the number of processes.
    """
    config, corrections = with_corrections(config, run)
    config, folds = with_folds(config, run, records)
    records = run_index(records, config.train, folds)
    index = training_index(records, config.train, corrections)
    config = with_earlier_defaults(config, run, explicit)
    config, fitted = with_chosen_epochs(config, run, explicit)
    start = starting_point(run, config)
    config = completed(config, run, start, index)
    check_same_config(run, config)
    check_number(ranks, config.train, len(index.splits["train"]) * config.train.repeat)
    if not start.has_begun:
        _check_not_lost(run)
    notes = check_settings(config, explicit=explicit, resuming=start.has_begun)
    notes += [] if start.has_begun else _few_updates(config, len(index.splits["train"]))
    notes += notes_on_folds(config, index)
    return _Plan(config, corrections, folds, records, index, start, fitted, notes)


def _length(run: Run) -> str:
    """Return how long a finished run is; of one that has stopped early also how it goes on."""
    config, rows = run.config, run.metrics
    if run.stopped_early is None:
        return f"{config.train.epochs} epochs"
    longer = shell_words("--resume", run.folder, "--run-name", f"{run.name}-longer", "--train.stop-early", "0")
    return f"{stopping_line(rows, config)}; in a copy it goes on with {longer}"


def _origin(run: Run, config: Config, start: StartingPoint, fitted: dict[str, Any] | None) -> dict[str, Any]:
    """Return what environment.json says of where a run comes from, and of how many epochs fit (--train.fit-hours).

    A start that was refused or killed before its first checkpoint says nothing of this one.
    """
    names = ("resumed_from", "lengthened_from", "init_from", "weights_sha256", "fitted")
    origin = {name: run.environment.get(name) if start.has_begun else None for name in names}
    if not start.has_begun:
        origin["fitted"] = fitted
    if not start.has_begun and start.source is not None:
        origin["init_from"] = str(start.source.absolute())
    if start.kind == "weights" and (weights := weights_file(config.model.weights)) is not None:
        origin["weights_sha256"] = sha256(weights)
    return origin


def _check_not_lost(run: Run) -> None:
    """Check that a run which begins is not one that has lost its last.pt, whose best.pt would be overwritten.

    Raises:
        UserError: metrics.jsonl, which is written after last.pt, tells of epochs.
    """
    rows: list[dict[str, Any]] = []
    with contextlib.suppress(UserError):
        rows = run.copied_metrics
    if rows and not run.last.exists():
        on = f"{shell_words('cp', run.best, run.last)} goes on from best.pt, or " if run.best.exists() else ""
        raise UserError(
            f"{run.folder}: metrics.jsonl tells of {len(rows)} epochs, but last.pt is missing: put it back; {on}choose "
            "another --run-name"
        )


def _few_updates(config: Config, num_photos: int) -> list[str]:
    """Return a note where so few photos give so few updates that hardly anything is learned."""
    train = config.train
    updates = max(1, num_photos * train.repeat // train.batch_size) * train.epochs
    if updates >= FEW_UPDATES:
        return []
    repeat = math.ceil(FEW_UPDATES * train.batch_size / (train.epochs * max(1, num_photos)))
    shown = f"--train.repeat {repeat} shows each of the {num_photos} photos {repeat} times an epoch"
    in_all = "1 update in all is" if updates == 1 else f"{updates} updates in all are"
    return [f"note: {in_all} few to learn from; {shown}"]


def _copy(source: Run, run: Run, config: Config, index: Index) -> None:
    """Make `run` a copy of `source` with the settings of `config`.

    Raises:
        UserError: it was trained with other data, or its checkpoint is not readable; nothing is copied then.
    """
    from corolla.runs.checkpoint import load_checkpoint

    check_same_data(load_checkpoint(source.last), index, source.last)
    log.info("going on with a copy of %s in %s", source.folder, run.folder)  # copying takes a while
    copy_run(source, run, config, resumed_from=str(source.folder.absolute()), data=str(index.folder.resolve()))
