"""Where a run starts: from random or given weights, where it stopped, or from another run's checkpoint."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from corolla.config import Config
from corolla.data.index import Index
from corolla.data.loader import steps_per_epoch
from corolla.data.stats import ColorStatistics
from corolla.device import choose_precision
from corolla.errors import UserError
from corolla.models.factory import build_model
from corolla.models.normalise import Normalise
from corolla.models.weights import Preprocessing, load_weights
from corolla.training.checkpoint import Description, Progress, describe_checkpoint, load_checkpoint
from corolla.training.learner import Learner
from corolla.training.losses import TrainLoss
from corolla.training.optim import make_optimizer, restore_optimizer
from corolla.training.sizes import refuse_sizes
from corolla.training.tally import Tally
from corolla.training.teacher import Teacher
from corolla.training.transfer import Freezing


def new_learner(config: Config, index: Index, device: torch.device, statistics: ColorStatistics) -> Learner:
    """A network with random weights, or those that `config.model.weights` names.

    Raises:
        UserError: weights that do not fit, or frozen norms without any.
    """
    if config.model.freeze_norms and config.model.weights == "none":
        raise UserError("--model.freeze-norms keeps what weights brought, and there are none: leave it out")
    torch.manual_seed(config.train.seed)
    assert config.input_size is not None
    num_classes = len(index.class_names)
    model = build_model(config.model, num_classes, config.input_size)
    preprocessing = load_weights(model, config.model, num_classes, config.input_size)
    if preprocessing is None:
        preprocessing = Preprocessing(
            mean=statistics.mean, std=statistics.std, interpolation="bilinear", crop_fraction=0.875
        )
    description = Description(
        config=config,
        input_size=config.input_size,
        class_names=index.class_names,
        preprocessing=_cropped(preprocessing, config),
        fingerprint=_fingerprint(index),
    )
    return _assemble(description, Progress(), model, device, index)


def _cropped(preprocessing: Preprocessing, config: Config) -> Preprocessing:
    """With the crop fraction of --augment.crop-fraction, where that is given."""
    fraction = config.augment.crop_fraction
    return preprocessing if fraction is None else dataclasses.replace(preprocessing, crop_fraction=fraction)


def resumed_learner(path: Path, index: Index, device: torch.device, config: Config) -> Learner:
    """The learner exactly as it was saved in `path` by this very run."""
    content = load_checkpoint(path)
    refuse_other_data(content, index, path)
    description = dataclasses.replace(describe_checkpoint(content), config=config)
    model = build_model(config.model, len(description.class_names), description.input_size)
    model.load_state_dict(content["model"])
    learner = _assemble(description, Progress(**content["progress"]), model, device, index)
    if learner.ema is not None:
        learner.ema.module.load_state_dict(content["ema"])
    _load_moments(learner, content, config)
    _load_scaler(learner, content)
    return learner


def _load_moments(learner: Learner, content: dict[str, Any], before: Config) -> None:
    """The optimizer's state, by the parameters, wherever the groups of the config of `before` had them."""
    restore_optimizer(learner.optimizer, content["optimizer"], make_optimizer(learner.model, before.optim))


def _load_scaler(learner: Learner, content: dict[str, Any]) -> None:
    """The scale of fp16; a checkpoint made in another precision has none, and the scaler starts anew."""
    if content["scaler"] and learner.scaler.is_enabled():
        learner.scaler.load_state_dict(content["scaler"])


def continued_learner(source: Path, config: Config, index: Index, device: torch.device) -> Learner:
    """A new run that goes on from another run's checkpoint with other settings (--resume-from).

    Weights, average, epochs and steps go on; the optimizer's state too, where the optimizer is the same kind.

    Raises:
        UserError: other data, another network, a checkpoint in mid-epoch where the epochs have another length now,
            or a checkpoint that is already past the last epoch.
    """
    path = _checkpoint_of(source)
    content = load_checkpoint(path)
    refuse_other_data(content, index, path)
    before = describe_checkpoint(content)
    progress = Progress(**content["progress"])
    progress.inherited = len(progress.rows)
    if before.config.augment.crop_fraction is not None and config.augment.crop_fraction is None:
        raise UserError(
            f"{path}: was trained with --augment.crop-fraction {before.config.augment.crop_fraction:g}; give it again, "
            "or another (0.875 is what networks from scratch have)"
        )
    _move_step(progress, before.config, config, len(index.splits["train"].label), path)
    assert config.input_size is not None
    model = build_model(config.model, len(before.class_names), config.input_size)
    try:
        model.load_state_dict(content["model"])
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: its network is not {config.model.name} as configured: {reason}") from None
    description = dataclasses.replace(
        before,
        config=config,
        input_size=config.input_size,
        preprocessing=_cropped(before.preprocessing, config),
        teacher=None,
    )
    learner = _assemble(description, progress, model, device, index)
    if learner.ema is not None and content["ema"] is not None:
        learner.ema.module.load_state_dict(content["ema"])
    if before.config.optim.name == config.optim.name:
        _load_moments(learner, content, before.config)
    _load_scaler(learner, content)
    return learner


def input_size_of(source: Path) -> int:
    """The input size of the checkpoint or run that --resume-from names."""
    return int(load_checkpoint(_checkpoint_of(source))["input_size"])


def _checkpoint_of(source: Path) -> Path:
    return source / "last.pt" if source.is_dir() else source


def _move_step(progress: Progress, before: Config, now: Config, num_samples: int, path: Path) -> None:
    """The checkpoint's step in epochs of another length, where the batch size has changed."""
    lengths = [steps_per_epoch(num_samples, c.train.batch_size) for c in (before, now)]
    if progress.step >= now.train.epochs * lengths[0]:
        raise UserError(f"{path}: has finished {len(progress.rows)} epochs; ask for more than that with --train.epochs")
    if lengths[0] != lengths[1]:
        if progress.step % lengths[0]:
            raise UserError(
                f"{path}: is in mid-epoch (step {progress.step}), so --train.batch-size must stay "
                f"{before.train.batch_size}; or start from the checkpoint of an epoch's end"
            )
        progress.step = progress.step // lengths[0] * lengths[1]


def _assemble(
    description: Description, progress: Progress, model: nn.Module, device: torch.device, index: Index
) -> Learner:
    config = description.config
    memory_format = torch.channels_last if config.train.channels_last else torch.contiguous_format
    model = model.to(device=device, memory_format=memory_format)  # pyright: ignore[reportCallIssue] - an overload is missing
    precision = choose_precision(config.train.precision, device)
    teacher = Teacher(config.train, index.class_names, device, precision) if config.train.teacher else None
    if teacher is not None:
        teacher.refuse_change(description.teacher)
        description = dataclasses.replace(description, teacher=teacher.digest)
    refuse_sizes(config, description.input_size, device, model=model, teacher=teacher and teacher.model)
    # The warm-up keeps the random first weights out of the average of a short run.
    ema = ModelEmaV3(model, decay=config.train.ema, use_warmup=True) if config.train.ema else None
    if config.train.compile:
        model.compile()
    return Learner(
        description=description,
        progress=progress,
        device=device,
        precision=precision,
        model=model,
        ema=ema,
        normalise=Normalise(description.preprocessing, channels_last=config.train.channels_last).to(device),
        loss=TrainLoss(config.train, _class_counts(index), device),
        teacher=teacher,
        optimizer=make_optimizer(model, config.optim),
        scaler=torch.amp.GradScaler(device.type, enabled=precision == "fp16"),
        tally=Tally(device, progress.loss_sum),
        freezing=Freezing.of(model, config),
    )


def _class_counts(index: Index) -> np.ndarray:
    return np.bincount(index.splits["train"].label, minlength=len(index.class_names))


def _fingerprint(index: Index) -> dict[str, str]:
    return {name: split for name, split in index.fingerprint.items() if name in ("train", "val")}


def refuse_other_data(content: dict[str, Any], index: Index, path: Path) -> None:
    """UserError if the checkpoint at `path` was not trained with the data of `index`, wherever that lay."""
    if tuple(content["class_names"]) != index.class_names:
        raise UserError(f"{index.folder}: its classes (classes.txt) are not those that {path} was trained for")
    for split, fingerprint in _fingerprint(index).items():
        if content["fingerprint"].get(split) != fingerprint:
            raise UserError(
                f"{index.folder}: its {split} images are not those that {path} was trained with; give the same data "
                "with --data, or start a new run from its weights with --model.weights"
            )
