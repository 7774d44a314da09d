"""The state with which training begins or goes on, on its device, where it fits into memory."""

import logging
from collections.abc import Collection

import torch

from corolla.config import Config
from corolla.data.index import Index
from corolla.device import describe, find_device, use_deterministic
from corolla.device_errors import faults_told
from corolla.runs.checkpoint import ModelMeta
from corolla.runs.folder import Run
from corolla.training.build import BeforeDevice, initialised_state, new_state, resumed_state
from corolla.training.datasets import normalisation
from corolla.training.photos import settle_photos
from corolla.training.ranks import start_device
from corolla.training.start import StartingPoint
from corolla.training.state import TrainState
from corolla.training.trial import fit_memory

log = logging.getLogger(__name__)


def build_state(
    start: StartingPoint,
    config: Config,
    index: Index,
    *,
    run: Run | None,
    explicit: Collection[str] = (),
    load: BeforeDevice | None = None,
) -> TrainState:
    """Return the state of a starting point, on the device of `config`.

    Args:
        run: the one that is trained; None for a trial, which keeps nothing.
        explicit: keys (dotted) of the settings that the user gave.
        load: starts the workers, which are forked before CUDA starts.

    Raises:
        UserError: weights, a checkpoint or a setting do not fit the network, or a step does not fit into memory.
    """
    device = find_device(config.device)
    use_deterministic(config.train.deterministic)
    remedy = "a smaller --model.name" if device.type == "cpu" else "a smaller --model.name, or --device cpu"
    remedy = f"close other programs that hold it, or try {remedy}"
    with faults_told(device, f"while {config.model.name} is put on it", memory=remedy):
        state = _state_on(device, start, config, index, run, explicit, then_device(load, config.device))
    settle_photos(state, index, begins=not start.has_begun)  # before the trial, which has the memory that is left
    if device.type == "cuda":
        is_found = config.train.accumulate == "auto"
        with faults_told(device, "in the trial of a step", memory=remedy):
            num_shown = len(index.splits["train"]) * config.train.repeat
            fit_memory(state, num_shown, find=is_found, resuming=start.has_begun)
    return state


def then_device(load: BeforeDevice | None, name: str) -> BeforeDevice:
    """Return what comes before a network goes to the device of this name: `load`, then the device's own start."""

    def both(meta: ModelMeta) -> None:
        if load is not None:
            load(meta)
        start_device(name)

    return both


def _state_on(
    device: torch.device,
    start: StartingPoint,
    config: Config,
    index: Index,
    run: Run | None,
    explicit: Collection[str],
    before_device: BeforeDevice,
) -> TrainState:
    into = f" into {run.folder}" if run is not None else ""
    if start.has_begun:
        assert run is not None
        state = resumed_state(run.last, config, index, device, before_device=before_device)
        log.info("resuming %s at step %d, epoch %d", run.folder, state.progress.step, state.epoch + 1)
    elif start.kind == "init":
        assert start.source is not None
        state = initialised_state(start.source, config, index, device, explicit=explicit, before_device=before_device)
        log.info("training %s from the weights in %s%s", config.model.name, start.source, into)
    else:
        color = normalisation(config, index)
        state = new_state(config, index, device, color, explicit=explicit, before_device=before_device)
        log.info("training %s (weights: %s)%s", config.model.name, config.model.weights, into)
    log.info("on %s in %s, %d px", describe(device), state.precision, config.input_size)
    return state
