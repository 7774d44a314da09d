"""The optimizer, and the learning rate as a pure function of the step and the validation losses so far."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from timm.models import group_parameters
from torch import nn

from corolla.config import OptimConfig
from corolla.errors import UserError
from corolla.models.factory import classifier_names

# Of schedule one-cycle, as in torch's OneCycleLR: where it starts below the peak, and ends below the start.
ONE_CYCLE_RISE = 25.0
ONE_CYCLE_FALL = 1e4


def make_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """SGD or AdamW over all parameters, whose rate is that of the step times their group's `lr_scale`.

    Raises:
        UserError: `layer_decay` for a network whose layers have no order that is known, or a warm-up before a schedule
            that has its own.
    """
    if config.schedule == "one-cycle" and config.warmup_epochs:
        raise UserError("--optim.warmup-epochs: schedule one-cycle has its own (--optim.one-cycle-start): leave it 0")
    groups = _parameter_groups(model, config)
    # Fused: one pass over all weights, which can be left out on the device (training/tally.py).
    if config.name == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)
    nesterov = config.nesterov and config.momentum > 0
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=nesterov, fused=True)


def _parameter_groups(model: nn.Module, config: OptimConfig) -> list[dict[str, Any]]:
    """What decays, then what without `decay_norms` does not: vectors (biases, normalisation) and what timm names in
    `no_weight_decay` (position embeddings, say); each by its rate."""
    scales = _rate_scales(model, config)
    parameters = dict(model.named_parameters())
    spared = model.no_weight_decay() if hasattr(model, "no_weight_decay") else ()  # pyright: ignore[reportCallIssue]
    decays = {name: not is_vector(p) and name not in cast("set[str]", spared) for name, p in parameters.items()}
    return [
        {
            "params": [p for name, p in parameters.items() if decays[name] == decay and scales[name] == scale],
            "weight_decay": config.weight_decay if decay or config.decay_norms else 0.0,
            "lr_scale": scale,
        }
        for decay in (True, False)
        for scale in sorted(set(scales.values()))
    ]


def is_vector(parameter: torch.Tensor) -> bool:
    """Whether it is one number per channel, in whatever shape: timm's gains of a convolution are C x 1 x 1 x 1."""
    return parameter.ndim <= 1 or parameter.numel() == parameter.shape[0]


def _rate_scales(model: nn.Module, config: OptimConfig) -> dict[str, float]:
    """What the learning rate of each parameter is multiplied by: `layer_decay` per layer below it, and `head_lr`."""
    scales = dict.fromkeys((name for name, _ in model.named_parameters()), 1.0)
    if config.layer_decay != 1:
        if not hasattr(model, "group_matcher"):
            raise UserError("--optim.layer-decay: the order of this network's layers is not known; leave it out")
        matcher = model.group_matcher(coarse=False)  # pyright: ignore[reportCallIssue]  # timm's models and ours have it
        layers = cast("dict[str, int]", group_parameters(model, matcher, reverse=True))
        scales = {name: config.layer_decay ** (max(layers.values()) - layers[name]) for name in scales}
    if config.head_lr != 1:
        classifier = tuple(f"{name}." for name in classifier_names(model))
        scales |= {name: scale * config.head_lr for name, scale in scales.items() if name.startswith(classifier)}
    return scales


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any], saved: torch.optim.Optimizer) -> None:
    """Load the moments of a checkpoint; the settings stay those of `optimizer`, which this start's config has made.

    Args:
        saved: an optimizer over the same parameters, in the groups of the checkpoint's config; it is used up.
    """
    groups = [{**group, "fused": True} for group in state["param_groups"]]  # older checkpoints' were not
    saved.load_state_dict({**state, "param_groups": groups})
    optimizer.state.update(saved.state)


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """The learning rate of the next step, times each group's own share of it."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


def complete_momentum(optimizer: torch.optim.Optimizer) -> None:
    """Momentum 0 for what begins to learn; call it before a step.

    From 0 the first step is what it is without a buffer. But torch's fused SGD wants the buffers of all of a group or
    of none, and leaves what is in their memory where a first step is not finite and therefore left out.
    """
    for group in optimizer.param_groups:
        if group.get("momentum"):
            for parameter in group["params"]:
                if parameter.grad is not None and optimizer.state[parameter].get("momentum_buffer") is None:
                    optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def scale_rate(config: OptimConfig, batch_size: int) -> OptimConfig:
    """`config`, its rate for batches of `batch_size`, where `lr_batch` asks for it (Goyal et al. 2017, §2.1)."""
    return replace(config, lr=config.lr * batch_size / config.lr_batch) if config.lr_batch else config


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
    if config.schedule == "one-cycle":
        return _one_cycle(config, step, epochs * steps_per_epoch)
    if config.schedule == "step":
        passed = sum(step >= milestone * epochs * steps_per_epoch for milestone in config.milestones)
        return config.lr * config.factor**passed
    if config.schedule == "plateau":
        return config.lr * config.factor ** num_plateaus(val_losses, config.patience)
    return config.lr


def _one_cycle(config: OptimConfig, step: int, num_steps: int) -> float:
    """Half a cosine up and one down (Smith 2018, "A disciplined approach", §4; super-convergence), by torch's steps."""
    start = config.lr / ONE_CYCLE_RISE
    top, last = config.one_cycle_start * num_steps - 1, num_steps - 1
    if step <= top:
        low, done = start, 1 - step / top if top > 0 else 0.0
    else:
        low, done = start / ONE_CYCLE_FALL, (step - top) / (last - top)
    return low + (config.lr - low) * 0.5 * (1 + math.cos(math.pi * done))


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
