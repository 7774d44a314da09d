"""What training changes: the network, its average, the optimizer and how far they are; and one step of it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from corolla.data.flowers import Batch
from corolla.device import Precision, autocast
from corolla.models.normalise import Normalise
from corolla.training.checkpoint import Description, Progress, save_checkpoint
from corolla.training.clip import clip_gradients
from corolla.training.losses import TrainLoss
from corolla.training.mixing import draw_mix, mixed_parts
from corolla.training.optim import complete_momentum, set_rate
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
