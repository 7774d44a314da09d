"""Build the state of a run: from scratch, from weights or from a checkpoint."""

import dataclasses
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from corolla.arithmetic import check_precision, has_bf16
from corolla.config import Config, TrainConfig
from corolla.config.checks import check_ignored
from corolla.config.weights_source import weights_file
from corolla.data.index import Index
from corolla.data.statistics import ColorStatistics
from corolla.device import describe
from corolla.errors import UserError
from corolla.models.factory import build_model, has_random_layers
from corolla.models.normalise import Normalise
from corolla.models.pretrained import DEFAULT_CROP_FRACTION, Preprocessing, fill_model, load_weights
from corolla.models.weights_fit import check_tensors
from corolla.runs.checkpoint import (
    ModelMeta,
    Progress,
    load_checkpoint,
    load_unchanged,
    read_meta,
    read_progress,
)
from corolla.runs.length import waits_from
from corolla.runs.same_data import check_same_data, notes_on_val, train_fingerprint
from corolla.runs.without_torch import read_without_tensors
from corolla.training.checks import (
    check_checkpoint,
    check_normalisation,
    check_sizes,
    check_teacher,
    checked_precision,
)
from corolla.training.distillation import Teacher
from corolla.training.freezing import Freezing
from corolla.training.losses import TrainLoss
from corolla.training.optim import has_layer_order, make_optimizer, restore_optimizer
from corolla.training.state import LossMeter, TrainState

BeforeDevice = Callable[[ModelMeta], None]
"""Called when everything is known of a network and nothing is on its device yet: CUDA may not have started."""


def new_state(
    config: Config,
    index: Index,
    device: torch.device,
    statistics: ColorStatistics,
    *,
    explicit: Collection[str] = (),
    before_device: BeforeDevice | None = None,
) -> TrainState:
    """Build a state with random weights, or those that `config.model.weights` names.

    Raises:
        UserError: weights that do not fit, or a setting in `explicit` that the network cannot use.
    """
    torch.manual_seed(config.train.seed)
    assert config.input_size is not None
    num_classes = len(index.class_names)
    ignored: list[str] = []
    model = build_model(config.model, num_classes, config.input_size, ignored=ignored)
    preprocessing = load_weights(model, config.model, num_classes, config.input_size)
    if preprocessing is not None:
        check_tensors(f"{config.model.weights} weights", model.state_dict(), model.state_dict())
        check_normalisation(preprocessing, f"{config.model.weights} weights")
    else:
        preprocessing = Preprocessing(
            mean=statistics.mean, std=statistics.std, interpolation="bilinear", crop_fraction=DEFAULT_CROP_FRACTION
        )
        check_normalisation(
            preprocessing,
            f"{index.folder}: the training photos' pixels",
            "look at the photos (corolla show), or start from --model.weights, which bring a mean and std of their own",
        )
    meta = ModelMeta(
        config=config,
        input_size=config.input_size,
        class_names=index.class_names,
        preprocessing=_with_crop_fraction(preprocessing, config),
        fingerprint=train_fingerprint(index),
    )
    state = _assemble(
        meta, Progress(), model, device, index, ignored=ignored, explicit=explicit, before_device=before_device
    )
    if (weights := weights_file(config.model.weights)) is not None:
        state.notes += _notes_on_source(weights, index, config.train)
    return state


def _notes_on_source(path: Path, index: Index, settings: TrainConfig) -> list[str]:
    """Return a note where the weights at `path` are of a run on as many other classes, or of one that may know val."""
    try:
        content = read_without_tensors(path)
        before = tuple(content["class_names"])
    except (UserError, KeyError):  # no file, or not one of corolla's
        return []
    if before == index.class_names:
        return notes_on_val(content, index, path, settings)
    if len(before) != len(index.class_names):
        return []
    number = next(i for i, (old, new) in enumerate(zip(before, index.class_names, strict=True)) if old != new)
    return [
        f"note: {path} was trained for other classes than {index.folder} has: class {number} was {before[number]}, now "
        f"it is {index.class_names[number]}; its classifier is where this one begins, and has to be learned anew"
    ]


def resumed_state(
    path: Path, config: Config, index: Index, device: torch.device, *, before_device: BeforeDevice | None = None
) -> TrainState:
    """Build the state exactly as this very run saved it in `path`."""
    return state_from(load_checkpoint(path), path, config, index, device, before_device=before_device)


def state_from(
    content: dict[str, Any],
    path: Path,
    config: Config,
    index: Index,
    device: torch.device,
    *,
    before_device: BeforeDevice | None = None,
) -> TrainState:
    """Build the state that a checkpoint holds, which messages call `path`."""
    check_same_data(content, index, path)
    meta = dataclasses.replace(read_meta(content), config=config)
    ignored: list[str] = []
    model = build_model(config.model, len(meta.class_names), meta.input_size, ignored=ignored)
    model.load_state_dict(content["model"])
    check_checkpoint(path, content, model)
    check_normalisation(meta.preprocessing, path)
    progress = read_progress(content)
    if config.train.stop_early:
        progress.waits_from = waits_from(content, config)
    state = _assemble(meta, progress, model, device, index, ignored=ignored, resuming=True, before_device=before_device)
    if state.ema is not None:
        state.ema.module.load_state_dict(content["ema"])
    _load_optimizer(state, content, config)
    state.notes += _notes_on_parts(content, config, model)
    if content["scaler"] and state.scaler.is_enabled():  # a checkpoint made in another precision has none
        state.scaler.load_state_dict(content["scaler"])
    return state


def _notes_on_parts(content: dict[str, Any], config: Config, model: nn.Module) -> list[str]:
    """Return a note where an earlier version began a run in parts that goes on with other random numbers."""
    if content.get("seeds_parts") or config.train.num_parts == 1:
        return []
    mixes = config.train.mixup > 0 or config.train.cutmix > 0
    changed = ["images are mixed with others of their part alone"] * mixes
    changed += ["dropout and stochastic depth are drawn anew for each part"] * has_random_layers(model)
    if not changed:
        return []
    return [
        f"note: an earlier version began this run in parts (--train.accumulate {config.train.num_parts}); from here on "
        f"{' and '.join(changed)}, so it does not end as it would have there"
    ]


def initialised_state(
    path: Path,
    config: Config,
    index: Index,
    device: torch.device,
    *,
    explicit: Collection[str] = (),
    before_device: BeforeDevice | None = None,
) -> TrainState:
    """Build the state of a new run from a checkpoint's weights and, where it fits, its optimizer state (--init-from).

    The classifier is taken over where the classes are as many.

    Raises:
        UserError: another network, or a crop fraction that would be dropped in silence.
    """
    content = load_unchanged(path, config.init_sha256) if config.init_sha256 else load_checkpoint(path)
    before = read_meta(content)
    fraction = before.config.augment.crop_fraction
    if fraction is not None and config.augment.crop_fraction is None:
        raise UserError(
            f"{path}: was trained with --augment.crop-fraction {fraction:g}; give it again, "
            f"or another ({DEFAULT_CROP_FRACTION} is what networks from scratch have)"
        )
    assert config.input_size is not None
    torch.manual_seed(config.train.seed)
    ignored: list[str] = []
    model = build_model(config.model, len(index.class_names), config.input_size, ignored=ignored)
    fill_model(model, content["model"], f"{path}: its network is not {config.model.name} as configured")
    check_checkpoint(path, content, model)
    check_normalisation(before.preprocessing, path)
    meta = ModelMeta(
        config=config,
        input_size=config.input_size,
        class_names=index.class_names,
        preprocessing=_with_crop_fraction(before.preprocessing, config),
        fingerprint=train_fingerprint(index),
    )
    state = _assemble(
        meta, Progress(), model, device, index, ignored=ignored, explicit=explicit, before_device=before_device
    )
    if content["ema"]:
        state.notes.append(
            f"note: {path} holds a moving average, too; this run starts from the weights themselves, to which the "
            "optimizer's state belongs (--model.weights takes the average)"
        )
    state.notes += _notes_on_source(path, index, config.train)
    if before.config.optim.name == config.optim.name and not before.imported:  # whose optimizer is unknown
        _load_optimizer(state, content, before.config)
    return state


def _with_crop_fraction(preprocessing: Preprocessing, config: Config) -> Preprocessing:
    fraction = config.augment.crop_fraction
    return preprocessing if fraction is None else dataclasses.replace(preprocessing, crop_fraction=fraction)


def _load_optimizer(state: TrainState, content: dict[str, Any], before: Config) -> None:
    """Load the optimizer's state parameter by parameter, wherever the groups of the config of `before` had them."""
    restore_optimizer(state.optimizer, content["optimizer"], make_optimizer(state.model, before.optim))


def _assemble(
    meta: ModelMeta,
    progress: Progress,
    model: nn.Module,
    device: torch.device,
    index: Index,
    *,
    ignored: Collection[str] = (),
    explicit: Collection[str] = (),
    resuming: bool = False,
    before_device: BeforeDevice | None = None,
) -> TrainState:
    parts = meta.config.train.num_parts  # what auto begins with (training/trial.py)
    config = dataclasses.replace(meta.config, train=dataclasses.replace(meta.config.train, accumulate=parts))
    meta = dataclasses.replace(meta, config=config)
    unused = list(ignored)
    if config.optim.layer_decay != 1 and not has_layer_order(model):
        unused.append("optim.layer_decay")
    notes = check_ignored(unused, config.model.name, explicit=explicit)
    if before_device is not None:
        before_device(meta)
    if not resuming:
        check_precision(config.train.precision, device)
    if config.train.precision == "bf16" and not has_bf16(device):  # the run began on another card
        notes.append(f"note: {describe(device)} has no bf16 and emulates it; a run in fp16 or fp32 is faster there")
    memory_format = torch.channels_last if config.train.channels_last else torch.contiguous_format
    model = model.to(device=device, memory_format=memory_format)  # pyright: ignore[reportCallIssue] - an overload is missing
    precision, because = checked_precision(meta, model, device)
    notes += because
    teacher = Teacher(config.train, index.class_names, device, precision) if config.train.teacher else None
    if teacher is not None:
        check_teacher(teacher, meta.teacher)
        meta = dataclasses.replace(meta, teacher=teacher.sha256)
        notes += _notes_on_source(teacher.path, index, config.train)
    check_sizes(meta, model, teacher, device)
    # The warm-up keeps the random first weights out of the average of a short run.
    ema = ModelEmaV3(model, decay=config.train.ema, use_warmup=True) if config.train.ema else None
    if config.train.compile:
        model.compile()
    has_weights = config.model.weights != "none" or bool(config.init_sha256) or progress.inherited > 0
    counts = np.bincount(index.splits["train"].label, minlength=len(index.class_names))
    return TrainState(
        meta=meta,
        progress=progress,
        device=device,
        precision=precision,
        model=model,
        ema=ema,
        normalise=Normalise(meta.preprocessing, channels_last=config.train.channels_last).to(device),
        loss=TrainLoss(config.train, counts, device),
        teacher=teacher,
        optimizer=make_optimizer(model, config.optim),
        scaler=torch.amp.GradScaler(device.type, enabled=precision == "fp16"),
        meter=LossMeter(device, progress.loss_sum, progress.num_right or 0),
        freezing=Freezing.build(model, config, freeze_norms=config.model.freeze_norms and has_weights),
        notes=notes,
    )
