"""The optimizer, and the learning rate as a pure function of the step and the validation losses so far."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from corolla.config import OptimConfig


def make_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """SGD or AdamW over all parameters; without `decay_norms`, vectors (biases, normalisation) are not decayed."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": config.weight_decay if config.decay_norms else 0.0},
    ]
    # Fused: one pass over all weights, which can be left out on the device (training/tally.py).
    if config.name == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)
    nesterov = config.nesterov and config.momentum > 0
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=nesterov, fused=True)


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load the moments of a checkpoint; the settings stay those of `optimizer`, which this start's config has made."""
    settings = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, own in zip(optimizer.param_groups, settings, strict=True):
        group.update(own)


def learning_rate(
    config: OptimConfig, step: int, *, steps_per_epoch: int, epochs: int, val_losses: Sequence[float] = ()
) -> float:
    """The rate of update `step` (from 0).

    Args:
        val_losses: of the epochs that are over, which schedule plateau looks at.
    """
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


def num_plateaus(val_losses: Sequence[float], patience: int, threshold: float = 1e-4) -> int:
    """How often the loss stood still: more than `patience` epochs without one lower than the best by `threshold` of it.

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
