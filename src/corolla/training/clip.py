"""Keeping the gradient of one update in bounds; nothing here waits for the device."""

import torch
from timm.utils.agc import adaptive_clip_grad
from torch import nn

from corolla.config import OptimConfig
from corolla.models.factory import classifier_names
from corolla.training.optim import is_vector


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
    """The same memory in the shape that timm goes by: the gains of its convolutions without batch norm are vectors."""
    if parameter.ndim <= 1 or not is_vector(parameter) or parameter.grad is None:
        return parameter
    vector = parameter.detach().view(-1)  # not flatten, which may copy
    vector.grad = parameter.grad.detach().view(-1)
    return vector
