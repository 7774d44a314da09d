"""`corolla train`: from TFRecords to a run folder.

torch is imported once it is clear that there is something to train.
"""

import dataclasses
import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from corolla.config import Config, differing_settings, validate
from corolla.config.checks import check_settings
from corolla.data.index import Index, load_index
from corolla.data.subset import subset_index
from corolla.errors import UserError
from corolla.files import sha256
from corolla.runs.copy import copy_run
from corolla.runs.folder import Run, check_same_config, exclusive, open_run, write_config, write_environment
from corolla.training.stop import stopping, time_budget

if TYPE_CHECKING:
    from corolla.training.loop import OnStep
    from corolla.training.state import TrainState

log = logging.getLogger(__name__)


def train(
    config: Config, *, experiment: str = "custom", explicit: Collection[str] = (), on_step: "OnStep | None" = None
) -> Run:
    """Train `config` into `runs/NAME`, or go on with the run that is there.

    Args:
        experiment: names the run, unless `config.run_name` does.
        explicit: keys (dotted, such as optim.momentum) of the settings that the user gave, beside those of an
            experiment or a file: where one of them has no effect, it is refused.
        on_step: called after every update with the state, the batch, the learning rate and the batch's mean loss.

    Returns:
        The run; its `state` is "stopped" after a signal or at the end of the time budget.

    Raises:
        UserError: the data, a setting or the folder is not fit for it.
        TrainingFailed: the loss is not finite any more.
    """
    config = validate(config)
    index = load_index(config.data, config.size, config.cache_dir)
    index = subset_index(index, config.train.share, config.train.seed)
    run = Run(config.runs / (config.run_name or f"{experiment}-seed{config.train.seed}"))
    budget = time_budget(config.train.max_hours)
    with exclusive(run.folder), stopping(budget.hours) as stop:
        start = starting_point(run, config)
        config = _completed(config, run, start, index)
        check_same_config(run, config)
        has_begun = start.kind in ("resume", "copy")
        notes = check_settings(config, explicit=explicit, resuming=has_begun)
        if start.kind == "copy":
            assert start.source is not None
            _copy(Run(start.source), run, config, index)
        if run.state == "done":
            log.info("%s: this run is finished (%d epochs); nothing to do", run.folder, config.train.epochs)
            return run

        from corolla.device import describe, idle_gpus
        from corolla.training.loop import fit

        state = _build_state(start, run, config, index, explicit)
        write_config(run, config)  # not before: a start that fails must not take the run's name
        write_environment(
            run,
            experiment=experiment,
            device=describe(state.device),
            precision=state.precision,
            data=str(index.folder.resolve()),
            fingerprint=index.fingerprint,
            # A start that was refused or killed before its first checkpoint says nothing of this one.
            resumed_from=run.environment.get("resumed_from") if has_begun else None,
            lengthened_from=run.environment.get("lengthened_from") if has_begun else None,
            init_from=run.environment.get("init_from") if has_begun else start.source and str(start.source.absolute()),
        )
        for line in filter(None, (idle_gpus(state.device), budget.note, *notes, *state.notes)):
            log.info(line)
        fit(state, run, index, stop, on_step=on_step)
        if stop.reason and run.state != "done":
            step = state.progress.step
            log.info("stopped: %s; %s holds step %d, the same command goes on", stop.reason, run.last, step)
    return run


@dataclass(frozen=True)
class StartingPoint:
    """The point from which a run starts."""

    kind: Literal["resume", "copy", "init", "weights", "scratch"]
    source: Path | None = None
    """copy: the folder of the run; init: the checkpoint."""


def starting_point(run: Run, config: Config) -> StartingPoint:
    """Choose: resume, else copy a run (--resume), else initialise from a checkpoint (--init-from), else from weights,
    else from scratch.

    The run's own checkpoint wins over everything, so the command that began a run also resumes it.

    Raises:
        UserError: --resume or --init-from names something that it cannot start from.
    """
    if sum(source is not None for source in (config.resume, config.init_from, config.resume_from)) > 1:
        raise UserError("--resume goes on with a run, --init-from begins a new one: give one of the two")
    if run.last.exists():
        _check_same_source(run, config.resume)
        return StartingPoint("resume")
    resume, init_from = config.resume, config.init_from
    if config.resume_from is not None:
        resume, init_from = _old_option(config.resume_from, config)
    if resume is not None:
        return StartingPoint("copy", _checked_source(resume, config))
    if init_from is not None:
        path = _checkpoint_in(init_from)
        if not path.is_file():
            raise UserError(f"--init-from {init_from}: there is no checkpoint at {path}")
        return StartingPoint("init", path)
    if config.init_sha256:
        raise UserError(
            f"this run starts from the checkpoint with the SHA-256 {config.init_sha256[:12]}: name it with --init-from"
        )
    return StartingPoint("weights" if config.model.weights != "none" else "scratch")


def _check_same_source(run: Run, source: Path | None) -> None:
    """Check that `run`, which has begun, is the copy of the run that --resume names, where that is at hand."""
    if source is None or not Run(source).last.exists():
        return
    begun = run.environment.get("resumed_from")
    if source.resolve() not in (run.folder.resolve(), Path(begun).resolve() if begun else None):
        raise UserError(
            f"{run.folder}: holds a run {f'that goes on from {begun}' if begun else 'of its own'}, not from {source}; "
            "leave --resume out to go on with it, or choose another --run-name"
        )


def _checkpoint_in(source: Path) -> Path:
    return source / "last.pt" if source.is_dir() else source


def _checked_source(source: Path, config: Config) -> Path:
    """Return `source` if it is a run that `config` can go on with in a copy."""
    if source.is_file():
        raise UserError(f"--resume {source}: is a checkpoint; --resume takes a run's folder, --init-from a checkpoint")
    run = open_run(source)
    if not run.last.is_file():
        raise UserError(f"--resume {source}: holds no last.pt to go on from; start the run anew without --resume")
    differing = _differing(run, config)
    if differing and not _is_longer(differing, run, config):
        raise UserError(
            f"--resume {source}: has other settings ({'; '.join(differing.values())}); --resume goes on with the same "
            "ones, or with more --train.epochs alone; to start a new run from its weights, use --init-from"
        )
    return source


def _differing(run: Run, config: Config) -> dict[str, str]:
    """Return what differs from a run's settings, but for what is filled in where it was not given."""
    there = run.config
    filled_in = {name: getattr(config, name) or getattr(there, name) for name in ("size", "input_size", "init_sha256")}
    return differing_settings(there, dataclasses.replace(config, **filled_in))


def _is_longer(differing: dict[str, str], run: Run, config: Config) -> bool:
    return set(differing) == {"train.epochs"} and config.train.epochs > run.config.train.epochs


def _old_option(source: Path, config: Config) -> tuple[Path | None, Path | None]:
    """Return what --resume-from, the name of one release ago, means: --resume or --init-from."""
    if (source / "config.json").is_file() and (source / "last.pt").is_file():
        run = Run(source)
        differing = _differing(run, config)
        if not differing or _is_longer(differing, run, config):
            log.warning("--resume-from goes with the next release; for this, use --resume %s", source)
            return source, None
    log.warning(
        "--resume-from goes with the next release; for a new run from these weights, use --init-from %s", source
    )
    return None, source


def _completed(config: Config, run: Run, start: StartingPoint, index: Index) -> Config:
    """Return `config` with what the data and the starting point decide: sizes, and which checkpoint it is."""
    input_size = config.input_size
    if input_size is None and start.kind == "copy" and start.source is not None:
        input_size = Run(start.source).config.input_size
    elif input_size is None and start.kind == "init" and start.source is not None:
        from corolla.runs.checkpoint import load_checkpoint

        input_size = int(load_checkpoint(start.source)["input_size"])
    elif input_size is None and start.kind == "resume" and (config.resume or config.init_from or config.resume_from):
        input_size = run.config.input_size  # it came from there, which may be gone by now
    digest = config.init_sha256
    if start.kind == "init" and start.source is not None:
        digest = sha256(start.source)
        if config.init_sha256 not in ("", digest):
            raise UserError(
                f"--init-from {start.source}: its SHA-256 is {digest[:12]}, not {config.init_sha256[:12]} as asked for"
            )
    elif start.kind == "copy" and start.source is not None:
        digest = digest or Run(start.source).config.init_sha256
    elif start.kind == "resume" and not digest:
        digest = _digest_on_resume(run, config)
    return dataclasses.replace(config, size=index.size, input_size=input_size or index.size, init_sha256=digest)


def _digest_on_resume(run: Run, config: Config) -> str:
    """Return which checkpoint is meant by a command for a run that has begun: it may be gone by now, but not be another
    one."""
    if config.resume is not None:  # the run is a copy, which has it from its source
        return run.config.init_sha256
    given = config.init_from or config.resume_from
    if given is None:
        return ""
    begun, path = run.config.init_sha256, _checkpoint_in(given)
    if not begun and config.init_from is not None:
        raise UserError(
            f"{run.folder}: holds a run that did not begin with --init-from; leave it out, or choose another --run-name"
        )
    return sha256(path) if begun and path.is_file() else begun


def _copy(source: Run, run: Run, config: Config, index: Index) -> None:
    """Make `run` a copy of `source` with the settings of `config`.

    Raises:
        UserError: it was trained with other data, or its checkpoint is not readable; nothing is copied then.
    """
    from corolla.runs.checkpoint import check_same_data, load_checkpoint

    check_same_data(load_checkpoint(source.last), index, source.last)
    log.info("going on with a copy of %s in %s", source.folder, run.folder)  # copying takes a while
    copy_run(source, run, config, resumed_from=str(source.folder.absolute()), data=str(index.folder.resolve()))


def _build_state(
    start: StartingPoint, run: Run, config: Config, index: Index, explicit: Collection[str]
) -> "TrainState":
    from corolla.device import choose_device, describe, use_deterministic
    from corolla.training.build import initialised_state, new_state, resumed_state, train_color

    device = choose_device(config.device)
    use_deterministic(config.train.deterministic)
    if start.kind in ("resume", "copy"):
        state = resumed_state(run.last, config, index, device)
        log.info("resuming %s at step %d, epoch %d", run.folder, state.progress.step, state.epoch + 1)
    elif start.kind == "init":
        assert start.source is not None
        state = initialised_state(start.source, config, index, device, explicit=explicit)
        log.info("training %s from the weights in %s into %s", config.model.name, start.source, run.folder)
    else:
        state = new_state(config, index, device, train_color(config, index), explicit=explicit)
        log.info("training %s (weights: %s) into %s", config.model.name, config.model.weights, run.folder)
    log.info("on %s in %s, %d px", describe(device), state.precision, config.input_size)
    return state
