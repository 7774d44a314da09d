"""The optimizer over a model's parameters in groups, and the clipping of its gradients."""

from typing import Any, cast

import torch
from timm.models import group_parameters
from timm.utils.agc import adaptive_clip_grad
from torch import nn

from corolla.config import OptimConfig
from corolla.models.factory import classifier_names


def make_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """Return SGD or AdamW over all parameters, with a `lr_scale` in every group (see `set_lr`)."""
    groups = _parameter_groups(model, config)
    # Fused: one pass over all weights, which can be left out on the device (LossMeter in training/state.py).
    if config.name == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)
    nesterov = config.nesterov and config.momentum > 0
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=nesterov, fused=True)


def _parameter_groups(model: nn.Module, config: OptimConfig) -> list[dict[str, Any]]:
    """Return the parameters that decay, then those that without `decay_norms` do not: vectors (biases, normalisation)
    and what timm names in `no_weight_decay` (position embeddings, say); each divided by learning rate."""
    scales = _lr_scales(model, config)
    parameters = dict(model.named_parameters())
    no_decay = model.no_weight_decay() if hasattr(model, "no_weight_decay") else ()  # pyright: ignore[reportCallIssue]
    decays = {name: not is_vector(p) and name not in cast("set[str]", no_decay) for name, p in parameters.items()}
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
    """Return whether it is one number per channel, in whatever shape (gains of timm's convolutions: C x 1 x 1 x 1)."""
    return parameter.ndim <= 1 or parameter.numel() == parameter.shape[0]


def has_layer_order(model: nn.Module) -> bool:
    """Return whether the order of a network's layers is known, which `layer_decay` needs."""
    return hasattr(model, "group_matcher")


def _lr_scales(model: nn.Module, config: OptimConfig) -> dict[str, float]:
    """Return what each parameter's learning rate is multiplied by: `layer_decay` per layer above it, and `head_lr`."""
    scales = dict.fromkeys((name for name, _ in model.named_parameters()), 1.0)
    if config.layer_decay != 1 and has_layer_order(model):
        matcher = model.group_matcher(coarse=False)  # pyright: ignore[reportCallIssue]  # timm's models and ours have it
        layers = cast("dict[str, int]", group_parameters(model, matcher, reverse=True))
        scales = {name: config.layer_decay ** (max(layers.values()) - layers[name]) for name in scales}
    if config.head_lr != 1:
        classifier = tuple(f"{name}." for name in classifier_names(model))
        scales |= {name: scale * config.head_lr for name, scale in scales.items() if name.startswith(classifier)}
    return scales


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any], saved: torch.optim.Optimizer) -> None:
    """Load the optimizer state of a checkpoint, where it has a parameter's shape; the settings stay those of
    `optimizer`, which this start's config has made.

    Args:
        saved: an optimizer over the same parameters, in the groups of the checkpoint's config; it is used up.
    """
    groups = [{**group, "fused": True} for group in state["param_groups"]]  # older checkpoints' were not
    saved.load_state_dict({**state, "param_groups": groups})
    for parameter, kept in saved.state.items():
        tensors = {name: value for name, value in kept.items() if isinstance(value, torch.Tensor) and value.ndim}
        if all(value.shape == parameter.shape for value in tensors.values()):
            # In the parameter's own memory order (--train.channels-last), without which fused updates refuse to work.
            tensors = {name: torch.empty_like(parameter, dtype=v.dtype).copy_(v) for name, v in tensors.items()}
            optimizer.state[parameter] = {**kept, **tensors}


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of the next step, times each group's own scale."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


def complete_momentum(optimizer: torch.optim.Optimizer) -> None:
    """Give momentum 0 to parameters that begin to learn; call it before a step.

    From 0 the first step is what it is without a buffer. But torch's fused SGD wants the buffers of all of a group or
    of none, and leaves what is in their memory where a first step is not finite and therefore left out.
    """
    for group in optimizer.param_groups:
        if group.get("momentum"):
            for parameter in group["params"]:
                if parameter.grad is not None and optimizer.state[parameter].get("momentum_buffer") is None:
                    optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def clip_gradients(model: nn.Module, config: OptimConfig) -> torch.Tensor:
    """Clip `model`'s gradients in place as `config` asks, adaptively before by the norm; unscaled gradients in fp16.

    Adaptive (Brock et al. 2021, §4): the gradient of each row of a weight, or of a whole vector, is scaled down to
    `agc` times the norm of that row, which is taken for 0.001 where it is smaller. The classifier is left out (§4.1).

    Returns:
        A scalar that is finite only if all gradients are: their norm before `clip_norm`.
    """
    if config.agc:
        classifier = tuple(f"{name}." for name in classifier_names(model))
        body = [parameter for name, parameter in model.named_parameters() if not name.startswith(classifier)]
        adaptive_clip_grad([_as_clipped(parameter) for parameter in body], clip_factor=config.agc)
    if config.clip_norm:
        return nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
    return nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])


def _as_clipped(parameter: nn.Parameter) -> torch.Tensor:
    """Return the same memory in the shape that timm goes by: gains of its convolutions are vectors."""
    if parameter.ndim <= 1 or not is_vector(parameter) or parameter.grad is None:
        return parameter
    vector = parameter.detach().view(-1)  # not flatten, which may copy
    vector.grad = parameter.grad.detach().view(-1)
    return vector
