"""The learning rate as a pure function of the step and the validation losses so far."""

import math
from collections.abc import Sequence
from dataclasses import replace

from corolla.config import OptimConfig

# Of schedule one-cycle, as in torch's OneCycleLR: where it starts below the peak, and ends below the start.
ONE_CYCLE_RISE = 25.0
ONE_CYCLE_FALL = 1e4


def scale_lr(config: OptimConfig, batch_size: int) -> OptimConfig:
    """Return `config` with the learning rate of batches of `batch_size`, by `lr_batch` (Goyal et al. 2017, §2.1)."""
    return replace(config, lr=config.lr * batch_size / config.lr_batch) if config.lr_batch else config


def learning_rate(
    config: OptimConfig, step: int, *, steps_per_epoch: int, epochs: int, val_losses: Sequence[float] = ()
) -> float:
    """Return the learning rate of update `step` (from 0).

    Args:
        val_losses: of the epochs that are over, which schedule plateau looks at.
    """
    if config.schedule == "one-cycle":  # its rise takes the warm-up's place
        return _one_cycle(config, step, epochs * steps_per_epoch)
    warmup = config.warmup_epochs * steps_per_epoch
    if step < warmup:
        return config.lr * (step + 1) / (math.floor(warmup) + 1)
    if config.schedule == "cosine":
        done = (step - warmup) / max(1.0, epochs * steps_per_epoch - warmup)
        return config.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    if config.schedule == "step":
        passed = sum(step >= milestone * epochs * steps_per_epoch for milestone in config.milestones)
        return config.lr * config.factor**passed
    if config.schedule == "plateau":
        return config.lr * config.factor ** num_plateaus(val_losses, config.patience)
    return config.lr


def _one_cycle(config: OptimConfig, step: int, num_steps: int) -> float:
    """Return half a cosine up and one down by torch's steps (Smith 2018, "A disciplined approach", §4)."""
    start = config.lr / ONE_CYCLE_RISE
    top, last = config.one_cycle_start * num_steps - 1, num_steps - 1
    if step <= top:
        low, done = start, 1 - step / top if top > 0 else 0.0
    else:
        low, done = start / ONE_CYCLE_FALL, (step - top) / (last - top)
    return low + (config.lr - low) * 0.5 * (1 + math.cos(math.pi * done))


def num_plateaus(val_losses: Sequence[float], patience: int, threshold: float = 1e-4) -> int:
    """Return how often the loss stood still.

    That is: more than `patience` epochs without one that is lower than the best by `threshold` of it.

    The rule of torch's ReduceLROnPlateau (its defaults), without a state to save.
    """
    best, waited, plateaus = math.inf, 0, 0
    for loss in val_losses:
        if loss < best * (1 - threshold):
            best, waited = loss, 0
        else:
            waited += 1
        if waited > patience:
            plateaus, waited = plateaus + 1, 0
    return plateaus
