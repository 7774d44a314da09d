"""A trial of one training step before the first epoch, so that memory runs out in the first minute or not at all.

It is a real step, on as many images as a batch has and as large as they will get, followed by what an evaluation puts
through the network. Then everything that it has changed is put back, bit for bit.
"""

import copy
import dataclasses
import logging
from collections.abc import Iterator
from typing import Any

import torch

from corolla.config.progressive_resizing import run_sizes
from corolla.data.loader import Batch
from corolla.device import describe
from corolla.device_errors import fault_of, lacks_memory, memory_state, release_memory
from corolla.errors import UserError
from corolla.runs.checkpoint import Progress
from corolla.training.datasets import val_transform
from corolla.training.failures import update
from corolla.training.mixing import draw_mix
from corolla.training.state import TrainState
from corolla.training.validation import evaluation_network

log = logging.getLogger(__name__)


def fit_memory(state: TrainState, num_photos: int, *, find: bool = False, resuming: bool = False) -> None:
    """Check that a step of `state` fits into the device's memory; where not, find out in how many parts it does.

    Args:
        num_photos: shown in an epoch.
        find: take the number found (--train.accumulate auto) instead of telling it.
        resuming: the run has begun, so its number stays.

    Raises:
        UserError: the memory is too small, for the parts asked for or for any.
    """
    asked = parts = state.config.train.num_parts
    num_images = min(state.config.train.batch_size, num_photos)
    lack = first = try_step(state, num_images)
    while lack is not None and parts < num_images:
        parts = min(2 * parts, num_images)
        _set_parts(state, parts)
        try:
            lack = try_step(state, num_images)
        except UserError:  # batch norm wants more of a part
            break
    if lack is None and (first is None or find):
        if find:
            size = -(-num_images // parts)
            log.info("--train.accumulate auto: %d, parts of %d images fit", parts, size)
        return
    _set_parts(state, asked)
    side = _largest_side(state)
    where = f"{describe(state.device)} is out of memory in a step with parts of {-(-num_images // asked)} images"
    if lack is not None:
        where = f"{describe(state.device)} is out of memory in a step, however small its parts"
    raise UserError(
        f"{where} of {side} px ({lack or first}): {_remedy(state, None if lack else parts, resuming=resuming)}"
    )


def try_step(state: TrainState, num_images: int) -> str | None:
    """Do a step on `num_images` black images and an evaluation of some; return what the device's memory lacks, if any.

    Raises:
        UserError: a setting is at fault that shows in a step alone, such as --train.compile.
    """
    device, side = state.device, _largest_side(state)
    snapshot = Snapshot(state)
    gpus = range(torch.cuda.device_count()) if device.type == "cuda" else ()
    lack = None
    try:
        with torch.random.fork_rng(gpus, device_type="cuda"):
            state.progress = _progress_of_hardest_step(state, side)
            _step_and_evaluate(state, num_images, side)
            if device.type == "cuda":
                torch.cuda.synchronize(device)  # a fault may come late
    except UserError:
        snapshot.restore(state)
        raise
    except RuntimeError as error:
        is_one_by_one = state.config.train.num_parts >= num_images
        if not lacks_memory(error) or (is_one_by_one and fault_of(error) != "memory"):
            raise
        lack = memory_state(error, device)
    # Not before the exception is gone, whose frames hold what the network had computed.
    state.optimizer.zero_grad(set_to_none=True)
    release_memory(device)
    snapshot.restore(state)
    release_memory(device)
    return lack


def _step_and_evaluate(state: TrainState, num_images: int, side: int) -> None:
    images = torch.zeros(num_images, side, side, 3, dtype=torch.uint8, device=state.device)
    labels = torch.zeros(num_images, dtype=torch.int64, device=state.device)
    update(state, Batch(images, labels, torch.arange(num_images)), state.config.optim.lr)
    evaluation_network(state, val_transform(state.meta)).rehearse()


class Snapshot:
    """Everything that a step changes, kept on the CPU, as it must not take the memory that is looked at."""

    def __init__(self, state: TrainState) -> None:
        self._tensors = [(tensor, _kept(tensor)) for tensor in _tensors(state)]
        self._moments = {p: {k: _kept(v) for k, v in kept.items()} for p, kept in state.optimizer.state.items()}
        groups = state.optimizer.param_groups
        self._groups = [{key: value for key, value in group.items() if key != "params"} for group in groups]
        self._found_inf = vars(state.optimizer).get("found_inf")
        self._scaler = state.scaler.state_dict()
        self._meter = copy.deepcopy(state.meter)
        self._progress = copy.deepcopy(state.progress)
        self._modes = [(module, module.training) for module in state.model.modules()]
        self._learning = [(parameter, parameter.requires_grad) for parameter in state.model.parameters()]

    @torch.no_grad()
    def restore(self, state: TrainState) -> None:
        """Put it back in place."""
        for tensor, kept in self._tensors:
            tensor.copy_(kept)
        moments = state.optimizer.state
        for parameter in [p for p in moments if p not in self._moments]:
            del moments[parameter]
        for parameter, kept in self._moments.items():
            for name in moments[parameter].keys() - kept.keys():
                del moments[parameter][name]
            for name, value in kept.items():
                if isinstance(value, torch.Tensor):
                    moments[parameter][name].copy_(value)
                else:
                    moments[parameter][name] = value
        for group, kept in zip(state.optimizer.param_groups, self._groups, strict=True):
            group.update(kept)
        vars(state.optimizer).pop("found_inf", None)
        if self._found_inf is not None:
            vars(state.optimizer)["found_inf"] = self._found_inf
        state.optimizer.zero_grad(set_to_none=True)
        # A new one: it knows in which order it is called, and memory may have run out in between.
        state.scaler = torch.amp.GradScaler(state.device.type, enabled=state.scaler.is_enabled())
        if self._scaler:
            state.scaler.load_state_dict(self._scaler)
        state.meter, state.progress = self._meter, self._progress
        for module, training in self._modes:
            module.training = training
        for parameter, learns in self._learning:
            parameter.requires_grad_(learns)


def _tensors(state: TrainState) -> Iterator[torch.Tensor]:
    for network in (state.model, state.ema):
        if network is not None:
            yield from network.parameters()
            yield from network.buffers()


def _kept(value: Any) -> Any:
    return value.detach().to("cpu", copy=True) if isinstance(value, torch.Tensor) else value


def _largest_side(state: TrainState) -> int:
    return run_sizes(state.config.augment, state.meta.input_size, state.config.train.epochs)[-1]


def _progress_of_hardest_step(state: TrainState, side: int) -> Progress:
    """Return the progress before a step that takes as much memory as any: the whole network learns, images are mixed.

    Mixup takes more than CutMix, whose images stay uint8.
    """
    train = state.config.train
    epoch = max(state.epoch, min(train.head_epochs, train.epochs - 1))
    mixed_epoch = min(epoch, train.epochs - train.mix_off_epochs - 1)
    steps = range(state.progress.step, state.progress.step + (1000 if mixed_epoch >= epoch else 0))
    mixes = [(step, mix) for step in steps if (mix := draw_mix(train, step, mixed_epoch, side, side)) is not None]
    by_mixup = [(step, mix) for step, mix in mixes if mix.box is None]
    step = (by_mixup or mixes)[0][0] if mixes else state.progress.step
    return dataclasses.replace(state.progress, step=step, history=[{}] * epoch)


def _set_parts(state: TrainState, parts: int) -> None:
    config = state.config
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, accumulate=parts))
    state.meta = dataclasses.replace(state.meta, config=config)


def _remedy(state: TrainState, parts: int | None, *, resuming: bool) -> str:
    """Return what to do where a step does not fit; it does in `parts`, or in none."""
    if parts is not None and not resuming:
        return f"--train.accumulate {parts} fits"
    if parts is not None:
        return (
            f"the run began with --train.accumulate {state.config.train.num_parts} and keeps it: free the memory that "
            f"others hold (nvidia-smi lists them), or begin a new run from its checkpoint, with --init-from, "
            f"--train.accumulate {parts} and another --run-name"
        )
    smaller = ["a smaller --input-size", "a smaller --model.name"]
    if state.precision == "fp32" and state.device.type == "cuda":
        smaller.append("--train.precision auto")
    if state.teacher is not None:
        smaller.append("no --train.teacher")
    return f"try {', '.join(smaller[:-1])} or {smaller[-1]}"
