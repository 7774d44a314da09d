"""What training changes: the network, its average, the optimizer and how far they are; new or from a checkpoint."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from corolla.config import Config
from corolla.data.flowers import Batch
from corolla.data.index import Index
from corolla.data.loader import steps_per_epoch
from corolla.data.stats import ColorStatistics
from corolla.device import Precision, autocast, choose_precision
from corolla.errors import UserError
from corolla.models.factory import build_model
from corolla.models.normalise import Normalise
from corolla.models.weights import Preprocessing, load_weights
from corolla.training.checkpoint import (
    Description,
    Progress,
    describe_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from corolla.training.clip import clip_gradients
from corolla.training.losses import TrainLoss
from corolla.training.mixing import draw_mix, mixed_parts
from corolla.training.optim import complete_momentum, make_optimizer, restore_optimizer, set_rate
from corolla.training.sizes import refuse_sizes
from corolla.training.tally import Tally
from corolla.training.teacher import Teacher
from corolla.training.transfer import Freezing


@dataclass(kw_only=True)
class Learner:
    """The state of a training run."""

    description: Description
    progress: Progress
    device: torch.device
    precision: Precision
    model: nn.Module
    ema: ModelEmaV3 | None
    normalise: Normalise
    loss: TrainLoss
    teacher: Teacher | None
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    tally: Tally
    freezing: Freezing

    @property
    def evaluated(self) -> nn.Module:
        """The weights that count: the moving average where it is on."""
        return self.ema.module if self.ema is not None else self.model

    def update(self, batch: Batch, lr: float) -> torch.Tensor:
        """One step on one batch, on the device; its mean loss, also there. Nothing here waits for the device.

        A loss that is not finite updates nothing, and is found out by `look`.
        """
        config, step = self.description.config, self.progress.step + 1
        torch.manual_seed(_step_seed(config.train.seed, self.progress.step))
        set_rate(self.optimizer, lr)
        self.model.train()
        self.freezing.apply(len(self.progress.rows))
        self.optimizer.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=self.device)
        num_images = len(batch.labels)
        parts = min(config.train.accumulate, num_images)
        mix = draw_mix(config.train, step - 1, len(self.progress.rows), *batch.images.shape[1:3])
        for images, targets in mixed_parts(batch, mix, parts, len(self.description.class_names)):
            with autocast(self.device, self.precision):
                logits = self.model(self.normalise(images))
            taught = self.teacher(images) if self.teacher is not None else None
            summed = self.loss(logits.float(), targets, taught)
            self.scaler.scale(summed / num_images).backward()
            loss += summed.detach() / num_images
        self.tally.check(loss, step)
        self._step_optimizer(step)
        self.progress.step = step
        self.progress.num_seen += num_images
        self.tally.add(loss, num_images)
        if self.ema is not None:
            self.ema.update(self.model, step=step)
        return loss

    def _step_optimizer(self, step: int) -> None:
        """Clip the gradients, and update the weights if they and the loss are finite."""
        optim = self.description.config.optim
        if optim.clip_norm or optim.agc:
            self.scaler.unscale_(self.optimizer)
            norm = clip_gradients(self.model, optim)
            if not self.scaler.is_enabled():  # in fp16 the scaler skips such a step
                self.tally.check(norm, step, what=1)
        complete_momentum(self.optimizer)
        if self.scaler.is_enabled():
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.found_inf = self.tally.found_inf  # pyright: ignore[reportAttributeAccessIssue]
            self.optimizer.step()

    def look(self) -> None:
        """Wait for the device, and bring the epoch's sum of losses to `progress`.

        Raises:
            NotFinite: a step since the start had a loss or gradient that is not, or the weights are not any more.
        """
        # A gradient may overflow where the loss did not, and nothing else would tell before the weights are saved.
        norm = nn.utils.get_total_norm(list(self.model.parameters()))
        self.tally.check(norm, self.progress.step, what=2)
        self.progress.loss_sum = self.tally.loss_sum()

    def next_epoch(self) -> None:
        """The sums of the epoch start at 0."""
        self.tally.reset()
        self.progress.loss_sum, self.progress.num_seen = 0.0, 0

    def save(self, path: Path, *copies: Path) -> None:
        """A checkpoint at `path`, and the same one at `copies`. Call `look` before."""
        save_checkpoint(
            path,
            self.description,
            self.progress,
            model=self.model,
            ema=self.ema.module if self.ema is not None else None,
            optimizer=self.optimizer,
            scaler=self.scaler,
            copies=copies,
        )


def _step_seed(seed: int, step: int) -> int:
    """torch is seeded per (seed, step), so dropout and stochastic depth do not depend on where a run was resumed."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> 1)


def new_learner(config: Config, index: Index, device: torch.device, statistics: ColorStatistics) -> Learner:
    """A network with random weights, or those that `config.model.weights` names."""
    torch.manual_seed(config.train.seed)
    assert config.input_size is not None
    num_classes = len(index.class_names)
    model = build_model(config.model, num_classes, config.input_size)
    preprocessing = load_weights(model, config.model, num_classes, config.input_size)
    if preprocessing is None:
        preprocessing = Preprocessing(
            mean=statistics.mean, std=statistics.std, interpolation="bilinear", crop_fraction=0.875
        )
    if config.augment.crop_fraction is not None:
        preprocessing = dataclasses.replace(preprocessing, crop_fraction=config.augment.crop_fraction)
    description = Description(
        config=config,
        input_size=config.input_size,
        class_names=index.class_names,
        preprocessing=preprocessing,
        fingerprint=_fingerprint(index),
    )
    return _assemble(description, Progress(), model, device, index)


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
    _move_step(progress, before.config, config, len(index.splits["train"].label), path)
    assert config.input_size is not None
    model = build_model(config.model, len(before.class_names), config.input_size)
    try:
        model.load_state_dict(content["model"])
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: its network is not {config.model.name} as configured: {reason}") from None
    preprocessing = before.preprocessing
    if config.augment.crop_fraction is not None:
        preprocessing = dataclasses.replace(preprocessing, crop_fraction=config.augment.crop_fraction)
    description = dataclasses.replace(
        before, config=config, input_size=config.input_size, preprocessing=preprocessing, teacher=None
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
