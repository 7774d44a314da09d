"""Where a run starts: its own checkpoint, a copy of another run, a checkpoint, weights, or nothing."""

import dataclasses
import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from corolla.config import AugmentConfig, Config, differing_settings
from corolla.config.earlier import COLOR_BEFORE_CONTRAST
from corolla.data.index import Index
from corolla.errors import UserError
from corolla.files import sha256
from corolla.runs.folder import Run, open_run
from corolla.runs.imported import check_has_training
from corolla.runs.length import is_longer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StartingPoint:
    """The point from which a run starts."""

    kind: Literal["resume", "copy", "init", "weights", "scratch"]
    source: Path | None = None
    """copy: the folder of the run; init: the checkpoint."""

    @property
    def has_begun(self) -> bool:
        """True where a run goes on, here or in a copy."""
        return self.kind in ("resume", "copy")


def with_earlier_defaults(config: Config, run: Run, explicit: Collection[str]) -> Config:
    """Return `config` with the colour changes of the run that it goes on with, where their defaults were others then.

    So the command that began a run also resumes it, whatever it says of the others. What the user typed (`explicit`)
    stays.
    """
    source = config.resume or config.resume_from
    begun = run if run.last.exists() else Run(source) if source is not None else None
    if begun is None or not (begun.folder / "config.json").is_file() or not config.augment.color:
        return config
    there, usual = begun.config.augment, AugmentConfig()
    was = {
        name: default
        for name, default in COLOR_BEFORE_CONTRAST.items()
        if getattr(there, name) == default
        and getattr(config.augment, name) == getattr(usual, name)
        and f"augment.{name}" not in explicit
    }
    earlier = dataclasses.replace(config, augment=dataclasses.replace(config.augment, **was))
    if "contrast" not in was or earlier.augment.hue != there.hue:
        return config
    if config.resume_from and begun is not run and not _goes_on(begun, earlier):  # a new run, from its weights
        return config
    log.info(
        "note: %s was begun with %s, as earlier versions had it by default, and goes on so",
        begun.folder,
        " and ".join(f"--augment.{name} {value:g}" for name, value in sorted(was.items(), reverse=True)),
    )
    return earlier


def with_chosen_epochs(config: Config, run: Run, explicit: Collection[str]) -> tuple[Config, dict[str, Any] | None]:
    """Return `config`, where --train.fit-hours chooses the epochs, with those that were chosen before, and the facts.

    A run that has begun keeps its number. So does a start that was killed before its first checkpoint, as long as it is
    asked for the same hours with the same settings.

    Raises:
        UserError: the number of epochs was given as well (its key is in `explicit`).
    """
    check_one_length(config, explicit)
    if config.train.fit_hours is None:
        return config, None
    begun = run if run.last.exists() or config.resume is None else Run(config.resume)
    if not (begun.folder / "config.json").is_file():
        return config, None
    there, fitted = begun.config, begun.environment.get("fitted") or {}
    is_same = fitted.get("hours") == config.train.fit_hours and fitted.get("epochs") == there.train.epochs
    chosen = dataclasses.replace(config, train=dataclasses.replace(config.train, epochs=there.train.epochs))
    if not begun.last.exists() and not (is_same and not _differing(begun, chosen)):
        return config, None
    did = "as was chosen when the run began" if is_same else "with which the run has begun, and which it keeps"
    log.info("note: --train.fit-hours %g: %d epochs, %s", config.train.fit_hours, there.train.epochs, did)
    return chosen, fitted or None


def check_one_length(config: Config, explicit: Collection[str]) -> None:
    """Check that the number of epochs is not given where --train.fit-hours chooses it.

    Raises:
        UserError: its key is in `explicit`.
    """
    if config.train.fit_hours is not None and "train.epochs" in explicit:
        raise UserError(
            "--train.fit-hours chooses the number of epochs, and --train.epochs gives it: leave one of them out"
        )


def starting_point(run: Run, config: Config) -> StartingPoint:
    """Choose: resume, else copy a run (--resume), else initialise from a checkpoint (--init-from), else from weights,
    else from scratch.

    The run's own checkpoint wins over everything, so the command that began a run also resumes it.

    Raises:
        UserError: --resume or --init-from names something that it cannot start from.
    """
    if sum(source is not None for source in (config.resume, config.init_from, config.resume_from)) > 1:
        raise UserError("--resume goes on with a run, --init-from begins a new one: give one of the two")
    check_has_training(run)
    if run.last.exists():
        _check_same_source(run, config.resume)
        return StartingPoint("resume")
    resume, init_from = config.resume, config.init_from
    if config.resume_from is not None:
        resume, init_from = _old_option(config.resume_from, config)
    if resume is not None:
        return StartingPoint("copy", _checked_source(resume, config))
    return first_point(config, init_from)


def first_point(config: Config, init_from: Path | None) -> StartingPoint:
    """Choose where a run begins that goes on with no other one: a checkpoint, else weights, else scratch.

    Raises:
        UserError: there is no such checkpoint, or the settings ask for one that is not named.
    """
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
    check_has_training(run)
    if not run.last.is_file():
        raise UserError(f"--resume {source}: holds no last.pt to go on from; start the run anew without --resume")
    differing = _differing(run, config)
    if differing and not is_longer(differing, run.config, config):
        raise UserError(
            f"--resume {source}: has other settings ({'; '.join(differing.values())}); --resume goes on with the same "
            "ones, or with more --train.epochs alone; to start a new run from its weights, use --init-from"
        )
    return source


def _differing(run: Run, config: Config) -> dict[str, str]:
    """Return what differs from a run's settings, but for what is filled in where it was not given."""
    there = run.config
    filled_in = {name: getattr(config, name) or getattr(there, name) for name in ("size", "input_size", "init_sha256")}
    return differing_settings(there, dataclasses.replace(_with_found(there, config), **filled_in))


def _goes_on(run: Run, config: Config) -> bool:
    """Return whether a run can go on with `config`: its own settings, or with more epochs."""
    differing = _differing(run, config)
    return not differing or is_longer(differing, run.config, config)


def _old_option(source: Path, config: Config) -> tuple[Path | None, Path | None]:
    """Return what --resume-from, the name of one release ago, means: --resume or --init-from."""
    if (source / "config.json").is_file() and (source / "last.pt").is_file() and _goes_on(Run(source), config):
        log.warning("--resume-from goes with the next release; for this, use --resume %s", source)
        return source, None
    log.warning(
        "--resume-from goes with the next release; for a new run from these weights, use --init-from %s", source
    )
    return None, source


def completed(config: Config, run: Run, start: StartingPoint, index: Index) -> Config:
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
    if start.has_begun:
        begun = Run(start.source) if start.source is not None else run
        config = _with_found(begun.config, config) if (begun.folder / "config.json").exists() else config
    return dataclasses.replace(config, size=index.size, input_size=input_size or index.size, init_sha256=digest)


def _with_found(begun: Config, config: Config) -> Config:
    """Return `config` with what `auto` had found for a run that has begun: parts of a batch, photos on the device.

    Raises:
        UserError: the photos are asked for elsewhere, which would change pixels in the middle of the run.
    """
    train, pipeline = config.train, config.pipeline
    if train.accumulate == "auto":
        train = dataclasses.replace(train, accumulate=begun.train.accumulate)
    if begun.pipeline.cache == "device":
        if pipeline.cache not in ("auto", "device"):
            raise UserError(
                f"--pipeline.cache {pipeline.cache}: this run has begun with device, which makes other pixels: "
                "leave it out, or choose another --run-name"
            )
        pipeline = dataclasses.replace(pipeline, cache="device")
    return dataclasses.replace(config, train=train, pipeline=pipeline)


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
