"""Keeping the gradient of one update in bounds; nothing here waits for the device."""

import torch
from timm.utils.agc import adaptive_clip_grad
from torch import nn

from corolla.config import OptimConfig
from corolla.models.factory import classifier_names


def clip_gradients(model: nn.Module, config: OptimConfig) -> torch.Tensor:
    """Clip `model`'s gradients in place as `config` asks, adaptively before by the norm; unscaled gradients in fp16.

    Adaptive (Brock et al. 2021, §4.1): the gradient of each row of a weight, or of a whole vector, is scaled down to
    `agc` times the norm of that row, which is taken for 0.001 where it is smaller. The classifier is left out.

    Returns:
        A scalar that is finite only if all gradients are: their norm before `clip_norm`.
    """
    if config.agc:
        classifier = tuple(f"{name}." for name in classifier_names(model))
        body = [parameter for name, parameter in model.named_parameters() if not name.startswith(classifier)]
        adaptive_clip_grad(body, clip_factor=config.agc)
    if config.clip_norm:
        return nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
    return nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
