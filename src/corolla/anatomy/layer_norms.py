"""Norms of the gradient of the training loss in each layer of a network."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from corolla.anatomy.moments import Moment, Source
from corolla.arithmetic import exact_fp32
from corolla.data.loader import Batch, load_batches
from corolla.data.sampler import TrainBatchSampler
from corolla.device import choose_device, find_device, num_workers
from corolla.device_errors import faults_told
from corolla.errors import UserError
from corolla.models.normalise import Normalise
from corolla.random import torch_seed
from corolla.training.datasets import build_datasets
from corolla.training.freezing import Freezing
from corolla.training.losses import TrainLoss

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


class LayerNorms(NamedTuple):
    """A layer, and the Euclidean norms of its weights and of their gradient."""

    layer: str
    is_linear: bool
    gradient_norm: float
    weight_norm: float


def norms_of_moments(
    source: Source, *, batches: int, batch_size: int, device: str, workers: int | None
) -> Iterator[tuple[Moment, list[LayerNorms]]]:
    """Yield each moment of a training with its layers, in the order in which they compute, all on the same photos.

    Raises:
        UserError: the network has no convolution and no linear layer, or does not take so few photos.
        Failure: the device fails, or its memory is too small.
    """
    find_device(device)
    held = _first_batches(source, batches, batch_size, device, workers)
    there = choose_device(device)
    for moment in source.moments:
        with faults_told(there, "in a backward pass", memory="take a smaller --batch-size, or --device cpu"):
            found = _norms(moment.network().to(there), source, held, there)
        if not found:
            raise UserError(f"{source.name}: {source.meta.config.model.name} has no convolution and no linear layer")
        yield moment, found


def _first_batches(source: Source, number: int, size: int, device: str, workers: int | None) -> list[Batch]:
    """Return the first batches of training, uint8, on the CPU; at full size, whatever its first epochs have."""
    config = source.meta.config
    whole = replace(config, augment=replace(config.augment, start_size=None))
    photos, _ = build_datasets(replace(source.meta, config=whole), source.index)
    train = config.train
    sampler = TrainBatchSampler(
        len(photos),
        size,
        train.seed,
        0,
        number,
        balance=train.balance,
        labels=photos.split.label,
        repeat=train.repeat,
    )
    processes = num_workers(workers, find_device(device))
    with closing(load_batches(photos, sampler, workers=processes, device=torch.device("cpu"))) as made:
        return [Batch(*(tensor.clone() for tensor in batch)) for batch in made]


def _norms(model: nn.Module, source: Source, batches: list[Batch], device: torch.device) -> list[LayerNorms]:
    """Return the layers whose weights have a gradient, in the order in which they compute."""
    meta = source.meta
    config = replace(meta.config, train=replace(meta.config.train, head_epochs=0))
    counts = np.bincount(source.index.splits["train"].label, minlength=len(meta.class_names))
    loss, normalise = TrainLoss(config.train, counts, device), Normalise(meta.preprocessing, channels_last=False)
    normalise = normalise.to(device)
    has_weights = config.model.weights != "none" or bool(config.init_sha256)
    freezing = Freezing.build(model, config, freeze_norms=config.model.freeze_norms and has_weights)
    model.train()
    freezing.apply(0)
    names: dict[Any, str] = {each: name for name, each in model.named_modules() if isinstance(each, LAYERS)}
    order = dict[Any, None]()
    hooks = [module.register_forward_hook(lambda module, _, __: order.setdefault(module)) for module in names]
    sums = dict[Any, float]()
    with exact_fp32("fp32"):
        for step, batch in enumerate(batches):
            torch.manual_seed(torch_seed(config.train.seed, step))
            model.zero_grad(set_to_none=True)
            logits = model(normalise(batch.images.to(device)))
            (loss(logits.float(), batch.labels.to(device)) / len(batch.labels)).backward()
            for module in order:
                if module.weight.grad is not None:
                    sums[module] = sums.get(module, 0.0) + module.weight.grad.norm().item()
    for hook in hooks:
        hook.remove()
    return [
        LayerNorms(
            names[module],
            isinstance(module, nn.Linear),
            sums[module] / len(batches),
            module.weight.detach().norm().item(),
        )
        for module in order
        if module in sums
    ]
