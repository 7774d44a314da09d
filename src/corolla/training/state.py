"""The state of training: network, moving average, optimizer and progress; and one update of it."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from corolla.arithmetic import exact_fp32
from corolla.config import Config
from corolla.data.loader import Batch
from corolla.data.parts import Parts
from corolla.data.photos_on_device import PhotosOnDevice
from corolla.device import Precision, autocast
from corolla.models.normalise import Normalise
from corolla.random import torch_seed
from corolla.runs.checkpoint import ModelMeta, Progress, checkpoint_content, save_checkpoint
from corolla.training.distillation import Teacher
from corolla.training.freezing import Freezing
from corolla.training.losses import TrainLoss, count_right
from corolla.training.mixing import draw_mix, mixed_parts
from corolla.training.optim import clip_gradients, complete_momentum, set_lr
from corolla.training.reduction import Reduction


class NonFiniteError(Exception):
    """The loss or the gradient of a step is not finite, or the weights after it; nothing was saved since."""

    def __init__(self, step: int, what: str, *, of_loss: bool = False) -> None:
        super().__init__(what)
        self.step, self.of_loss = step, of_loss


class NoFiniteGradientError(NonFiniteError):
    """Gradients in fp16 are finite at no scale, so that no step changes a weight."""


FIRST_SCALE = 2.0**16  # torch's default
LEAST_SCALE = 1e-6  # a gradient that overflows fp16 at this scale is above 6e10
CHECKED = ("loss is", "gradient's norm is", "weights' norm is")


class LossMeter:
    """Sums of the losses and of the images that were recognised, and the first step that was not finite.

    They are kept on the device, so that no step waits for the host.

    From that step on `found_inf` is 1, which the fused optimizers read on the device: they leave the weights as they
    are. The host learns of it at log steps and before anything is saved.
    """

    def __init__(self, device: torch.device, loss_sum: float = 0.0, num_right: int = 0) -> None:
        precise = torch.float32 if device.type == "mps" else torch.float64  # Apple's GPUs have no doubles
        self._sums = torch.tensor([loss_sum, num_right], dtype=precise, device=device)
        self._fault = torch.tensor([-1.0, 0.0, 0.0], dtype=precise, device=device)  # step, index in CHECKED, value
        self.found_inf = torch.zeros((), device=device)

    def add(self, loss: torch.Tensor, num_images: int, num_right: torch.Tensor) -> None:
        """Add the mean `loss` of that many images, `num_right` of which were recognised."""
        self._sums += torch.stack([loss.to(self._sums.dtype) * num_images, num_right.to(self._sums.dtype)])

    def check(self, value: torch.Tensor, step: int, what: int = 0) -> None:
        """Remember `value`, a scalar (see CHECKED), if it is the first that is not finite."""
        value = value.detach().to(self._fault.dtype)
        here = torch.stack([torch.full_like(value, step), torch.full_like(value, what), value])
        first = (self._fault[0] < 0) & ~torch.isfinite(value)
        self._fault = torch.where(first, here, self._fault)
        self.found_inf = (self._fault[0] >= 0).float()

    def sums(self) -> tuple[float, int]:
        """Return the sum of the losses and the number of images that were recognised. Waits for the device.

        Raises:
            NonFiniteError: a value was not finite at some step since the start.
        """
        loss_sum, num_right, step, what, value = torch.cat([self._sums, self._fault]).tolist()
        if step >= 0:
            raise NonFiniteError(int(step), f"the {CHECKED[int(what)]} {value}", of_loss=int(what) == 0)
        return loss_sum, int(num_right)

    def reset(self) -> None:
        """Start the sums of a new epoch at 0."""
        self._sums.zero_()


@dataclass(kw_only=True)
class TrainState:
    """Everything that training changes, and what one update needs."""

    meta: ModelMeta
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
    meter: LossMeter
    freezing: Freezing
    notes: list[str]
    """Notes on settings that the built network cannot use, a line each."""
    photos: PhotosOnDevice | None = None
    """Photos of train, where they live on the device."""
    reduction: Reduction | None = None
    """Joins the parts of several processes; None where there is one."""
    has_compiled: bool = False
    """True once a step was done, in which --train.compile acts."""
    loss_scale: float | None = None
    """In fp16: the factor of the loss when the host last waited for the device."""

    @property
    def config(self) -> Config:
        """Settings of the run."""
        return self.meta.config

    @property
    def epoch(self) -> int:
        """The epoch under way, from 0."""
        return len(self.progress.history)

    @property
    def eval_model(self) -> nn.Module:
        """The network that is evaluated: the moving average where it is on."""
        return self.ema.module if self.ema is not None else self.model

    def update(self, batch: Batch, lr: float) -> torch.Tensor:
        """Do one step on one batch, on the device, and return its mean loss, also there, without waiting for it.

        A loss that is not finite updates nothing; `sync_and_check` finds it out.
        """
        with exact_fp32(self.precision):
            return self._update(batch, lr)

    def _update(self, batch: Batch, lr: float) -> torch.Tensor:
        config, step = self.config, self.progress.step + 1
        set_lr(self.optimizer, lr)
        self.model.train()
        self.freezing.apply(self.epoch)
        self.optimizer.zero_grad(set_to_none=True)
        loss, num_right = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        reduction, own, num_images = self.reduction, Parts(config.train.num_parts), len(batch.labels)
        if reduction is not None:
            own, num_images = reduction.parts, reduction.num_images
            reduction.begin()
        sizes = own.sizes(num_images)
        mix = draw_mix(config.train, step - 1, self.epoch, *batch.images.shape[1:3])
        parts = mixed_parts(batch, mix, sizes.values(), len(self.meta.class_names))
        for part, (images, targets) in zip(sizes, parts, strict=True):
            torch.manual_seed(torch_seed(config.train.seed, step - 1, part))
            with autocast(self.device, self.precision):
                logits = self.model(self.normalise(images))
            taught = self.teacher(images) if self.teacher is not None else None
            summed = self.loss(logits.float(), targets, taught)
            self.scaler.scale(summed / num_images).backward()
            loss += summed.detach() / num_images
            num_right += count_right(logits.detach(), targets)
            if reduction is not None:
                reduction.keep(part)
        if reduction is not None:
            loss, num_right = reduction.add(loss, num_right)
        self.meter.check(loss, step)
        self._step_optimizer(step)
        self.progress.step = step
        self.progress.num_seen += num_images
        self.meter.add(loss, num_images, num_right)
        if self.ema is not None:
            self.ema.update(self.model, step=step)
        return loss

    def _step_optimizer(self, step: int) -> None:
        """Clip the gradients, and update the weights if they and the loss are finite."""
        optim = self.config.optim
        if optim.clip_norm or optim.agc:
            self.scaler.unscale_(self.optimizer)
            norm = clip_gradients(self.model, optim)
            if not self.scaler.is_enabled():  # in fp16 the scaler skips such a step
                self.meter.check(norm, step, what=1)
        complete_momentum(self.optimizer)
        if self.scaler.is_enabled():
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.found_inf = self.meter.found_inf  # pyright: ignore[reportAttributeAccessIssue]
            self.optimizer.step()

    def sync_and_check(self, *, is_last: bool = False) -> None:
        """Wait for the device, and bring the epoch's sums to `progress`.

        Args:
            is_last: the run's last step is done.

        Raises:
            NonFiniteError: a step since the start had a loss or gradient that is not, or the weights are not any more;
                in fp16: no step has had finite gradients for long, or none of the whole run.
        """
        # A gradient may overflow where the loss did not, and nothing else would tell before the weights are saved.
        norm = nn.utils.get_total_norm(list(self.model.parameters()))
        self.meter.check(norm, self.progress.step, what=2)
        self.progress.loss_sum, num_right = self.meter.sums()
        if self.progress.num_right is not None:
            self.progress.num_right = num_right
        if self.scaler.is_enabled():
            self._check_scale(is_last=is_last)

    def _check_scale(self, *, is_last: bool) -> None:
        """Read the scale, which each step with gradients that are not finite halves."""
        self.loss_scale, step = self.scaler.get_scale(), self.progress.step
        if self.loss_scale < LEAST_SCALE or (is_last and self.loss_scale <= math.ldexp(FIRST_SCALE, -step)):
            raise NoFiniteGradientError(step, f"gradients are finite at no scale, down to {self.loss_scale:.2g}")

    def next_epoch(self) -> None:
        """Start the sums of a new epoch at 0."""
        self.meter.reset()
        self.progress.loss_sum, self.progress.num_seen, self.progress.num_right = 0.0, 0, 0

    def save(self, path: Path, *copies: Path) -> None:
        """Save a checkpoint at `path`, and the same one at `copies`. Call `sync_and_check` before."""
        save_checkpoint(self._content(), path, *copies)

    def write(self, file: IO[bytes]) -> None:
        """Write a checkpoint into an open file."""
        torch.save(self._content(), file)

    def _content(self) -> dict[str, Any]:
        return checkpoint_content(
            self.meta,
            self.progress,
            model=self.model,
            ema=self.ema.module if self.ema is not None else None,
            optimizer=self.optimizer,
            scaler=self.scaler,
        )
