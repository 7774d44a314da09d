"""--train.fit-hours: the number of epochs that fit into a time, from a measured epoch."""

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

from corolla.config import Config
from corolla.data.index import Index
from corolla.device import num_workers
from corolla.device_errors import faults_told
from corolla.errors import UserError
from corolla.training.checks import check_sizes
from corolla.training.epoch_cost import LEAST_S, EpochCost, measure_epoch
from corolla.training.state import TrainState
from corolla.training.stop import Stop
from corolla.training.trial import Snapshot

SPARE = 0.05
"""Fraction of the time that is kept for what varies: other programs, a processor that gets hot."""
MEASURED = 0.02
"""Fraction of the time that each measurement of steps takes, where that is less than usual."""


def choose_epochs(
    state: TrainState, index: Index, folder: Path, *, started: float, stop: Stop, num_ranks: int = 1
) -> dict[str, Any] | None:
    """Measure an epoch and give the state's config the number that fits into --train.fit-hours.

    Nothing else of the state changes by a bit: what the measurement has changed is put back.

    Args:
        folder: of the run, in which a checkpoint is written for a moment.
        started: when the time began, by `time.monotonic`; what has passed since is not there for training.
        num_ranks: processes that will share the photos; this one measures alone.

    Returns:
        Facts for environment.json: hours, epochs, seconds of the parts of an epoch, and all of them together; None if
        `stop` said so before.

    Raises:
        UserError: not one epoch fits; the message says what one takes.
    """
    config = state.config
    assert config.train.fit_hours is not None
    budget_s = config.train.fit_hours * 3600
    cost = _measured(state, index, folder, seconds=min(LEAST_S, MEASURED * budget_s), stop=stop)
    if cost is None:
        return None
    cost = cost.shared_by(num_ranks)
    size, used_s = state.meta.input_size, time.monotonic() - started
    epochs = cost.epochs_within((1 - SPARE) * budget_s - used_s, config, size)
    if not epochs:
        raise UserError(_too_short(cost, config, size, used_s))
    config = _with_epochs(config, epochs)
    state.meta = dataclasses.replace(state.meta, config=config)
    check_sizes(state.meta, state.model, state.teacher, state.device)  # of progressive resizing, which follow from it
    seconds = cost.epoch_s(config, size)
    return {
        "hours": config.train.fit_hours,
        "epochs": epochs,
        "epoch_s": [round(min(seconds), 3), round(max(seconds), 3)],
        "steps_s": round(max(seconds) - cost.val_s - cost.save_s, 3),
        "val_s": round(cost.val_s, 3),
        "save_s": round(cost.save_s, 3),
        "used_s": round(used_s, 1),
        "total_s": round(sum(seconds), 1),
    }


def _measured(state: TrainState, index: Index, folder: Path, *, seconds: float, stop: Stop) -> EpochCost | None:
    """Measure an epoch of a state, and put back everything that this has changed."""
    pipeline = state.config.pipeline
    snapshot = Snapshot(state)
    remedy = "close other programs that hold it, or give --train.epochs instead"
    with faults_told(state.device, "while an epoch is measured", memory=remedy):
        cost = measure_epoch(
            state,
            index,
            folder,
            workers=num_workers(pipeline.workers, state.device),
            cache=pipeline.cache,
            seconds=seconds,
            stopped=lambda: stop.reason is not None,
        )
    snapshot.restore(state)
    return cost


def told(chosen: dict[str, Any]) -> str:
    """Return the line that says which number was chosen, and why."""
    low, high = chosen["epoch_s"]
    each = _about(high) if high - low < 0.05 * high else f"{low:.3g} to {_about(high)}"
    epochs = "1 epoch fits" if chosen["epochs"] == 1 else f"{chosen['epochs']} epochs fit"
    return (
        f"--train.fit-hours {chosen['hours']:g}: {epochs}: {chosen['total_s'] / 60:.1f} of "
        f"{chosen['hours'] * 60:g} min, as one takes {each} here ({_parts(chosen)}), {_about(chosen['used_s'])} are "
        f"over, and {SPARE:.0%} are kept for what varies"
    )


def cut_by(chosen: dict[str, Any], max_hours: float | None) -> list[str]:
    """Return a note where --train.max-hours, or a session's end, comes before the last of the epochs."""
    if max_hours is None or chosen["used_s"] + chosen["total_s"] <= max_hours * 3600:
        return []
    return [f"note: training stops before that, after {max_hours:.2g} h (--train.max-hours); the same command goes on"]


def _too_short(cost: EpochCost, config: Config, size: int, used_s: float) -> str:
    one = cost.epoch_s(_with_epochs(config, 1), size)[0]
    hours = 1.1 * (one + used_s) / (1 - SPARE) / 3600  # in a longer time more is measured, too
    digits = 1 - math.floor(math.log10(hours))
    enough = math.ceil(hours * 10**digits) / 10**digits
    parts = {"steps_s": one - cost.val_s - cost.save_s, "val_s": cost.val_s, "save_s": cost.save_s}
    return (
        f"--train.fit-hours {config.train.fit_hours:g}: not one epoch fits: it takes {_about(one)} here "
        f"({_parts(parts)}), and {_about(used_s)} pass before it; give at least {enough:.{max(1, digits)}f}"
    )


def _with_epochs(config: Config, epochs: int) -> Config:
    return dataclasses.replace(config, train=dataclasses.replace(config.train, epochs=epochs))


def _parts(parts: dict[str, Any]) -> str:
    names = {"steps_s": "steps", "val_s": "val", "save_s": "checkpoints"}
    return ", ".join(f"{name} {_about(parts[key])}" for key, name in names.items())


def _about(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
