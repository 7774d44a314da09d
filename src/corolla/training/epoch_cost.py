"""The seconds of an epoch on this machine, from a few of its steps, a validation and a checkpoint.

Everything is measured on the loop's own state and batches. Where a recipe begins with the classifier alone, its steps
are measured apart; with progressive resizing the smallest and the largest images are, and between them a photo's time
is taken to grow with its area.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from corolla.config import Config
from corolla.config.progressive_resizing import epoch_size
from corolla.data.cache import Cache, use_cache
from corolla.data.dataset import TFRecordDataset
from corolla.data.index import Index
from corolla.data.loader import Batch, Photos, load_batches
from corolla.data.sampler import EvalBatchSampler, TrainBatchSampler, steps_per_epoch
from corolla.data.transforms.views import ViewsTransform
from corolla.device import synchronize
from corolla.temporary import temporary_folder
from corolla.training.datasets import build_datasets
from corolla.training.failures import update
from corolla.training.photos import photos_for_batches
from corolla.training.state import TrainState
from corolla.training.validation import evaluation_network

WARM_UP_STEPS, LEAST_STEPS, LEAST_S = 3, 12, 8.0
"""Steps that are not counted, and the number and the seconds of those that are: fewer where they take twice as long."""
VAL_PHOTOS = 512
"""Photos that are predicted to know how long all of val takes."""
MOST_EPOCHS = 100_000
LR = 1e-4
"""Learning rate of the steps: the weights stay about where they are."""


@dataclass(frozen=True, kw_only=True)
class EpochCost:
    """The seconds of an epoch's parts."""

    shown: int
    """Photos that an epoch shows."""
    photo_s: Mapping[tuple[bool, int], float]
    """Seconds of a photo in training, by whether the classifier alone learns and by the side of the images in px."""
    val_s: float
    save_s: float
    """Seconds of both checkpoints, or of last.pt where nothing is validated."""
    checkpoint_bytes: int

    def steps_s(self, side: int, *, head: bool = False) -> float:
        """Return the seconds of an epoch's steps on images of this side, between measured ones by their areas."""
        sides = sorted(measured for is_head, measured in self.photo_s if is_head == head)
        times = [self.photo_s[head, measured] for measured in sides]
        return self.shown * float(np.interp(side**2, [measured**2 for measured in sides], times))

    def shared_by(self, num_ranks: int) -> Self:
        """Return the seconds where so many processes, each as fast as this one, share the photos."""
        photo_s = {measured: seconds / num_ranks for measured, seconds in self.photo_s.items()}
        return dataclasses.replace(self, photo_s=photo_s, val_s=self.val_s / num_ranks)

    def epoch_s(self, config: Config, size: int) -> list[float]:
        """Return the seconds of each of the epochs of `config` at input size `size`."""
        epochs, beside = config.train.epochs, self.val_s + self.save_s
        steps_s = functools.cache(self.steps_s)
        return [
            steps_s(epoch_size(config.augment, size, epoch, epochs), head=epoch < config.train.head_epochs) + beside
            for epoch in range(epochs)
        ]

    def epochs_within(self, seconds: float, config: Config, size: int) -> int:
        """Return how many epochs, each as `config` would have it in a run of so many, fit into `seconds`.

        They are at most MOST_EPOCHS, however long the time is.
        """

        def fits(epochs: int) -> bool:
            train = dataclasses.replace(config.train, epochs=epochs)
            return sum(self.epoch_s(dataclasses.replace(config, train=train), size)) <= seconds

        fitting, too_many = 0, 1
        while too_many <= MOST_EPOCHS and fits(too_many):
            fitting, too_many = too_many, min(2 * too_many, MOST_EPOCHS + 1)
        while too_many - fitting > 1:
            middle = (fitting + too_many) // 2
            fitting, too_many = (middle, too_many) if fits(middle) else (fitting, middle)
        return fitting


class _StoppedError(Exception):
    """Raised where somebody has asked to stop in the middle of a measurement."""


def measure_epoch(
    state: TrainState,
    index: Index,
    folder: Path,
    *,
    workers: int,
    cache: Cache,
    seconds: float = LEAST_S,
    stopped: Callable[[], bool] = lambda: False,
) -> EpochCost | None:
    """Measure what an epoch of a state takes, which its steps change; None if `stopped` said so.

    Args:
        folder: where a checkpoint is written for a moment.
        seconds: of each measurement of steps.
    """
    own, size = state.meta, state.meta.input_size
    config, start = own.config, own.config.augment.start_size
    state.meta = dataclasses.replace(own, config=_in_mid_run(config))
    try:
        train_set, val_set = build_datasets(state.meta, index)
        here = [train_set] if state.photos is None else []
        here += [] if val_set is None else [val_set]
        use_cache(here, cache, config.cache_dir, stopped=stopped)
        trial = _Trial(state, workers, seconds, stopped)
        photo_s = {}
        for side in {size, size if start is None else min(size, start)}:
            train_set.transform = build_datasets(dataclasses.replace(state.meta, input_size=side), index)[0].transform
            for is_head in (False, True)[: 1 + bool(config.train.head_epochs)]:
                state.progress.history = [{}] * (0 if is_head else config.train.head_epochs)
                photo_s[is_head, side] = trial.photo_s(photos_for_batches(state, train_set))
        val_s = 0.0 if val_set is None else trial.validation_s(val_set)
        save_s, num_bytes = trial.saving(folder)
    except _StoppedError:
        return None
    finally:
        state.meta = own
    num_shown, batch_size = len(train_set) * config.train.repeat, config.train.batch_size
    return EpochCost(
        shown=steps_per_epoch(len(train_set), batch_size, config.train.repeat) * min(batch_size, num_shown),
        photo_s=photo_s,
        val_s=val_s,
        save_s=save_s,
        checkpoint_bytes=num_bytes,
    )


def _in_mid_run(config: Config) -> Config:
    """Return `config` with full-size images, and enough epochs that those in which the network learns are mixed."""
    epochs = config.train.head_epochs + config.train.mix_off_epochs + 1
    return dataclasses.replace(
        config,
        augment=dataclasses.replace(config.augment, start_size=None),
        train=dataclasses.replace(config.train, epochs=epochs),
    )


@dataclass(frozen=True)
class _Trial:
    """A few seconds of training."""

    state: TrainState
    workers: int
    seconds: float
    stopped: Callable[[], bool]

    def _batches(self, photos: Photos, sampler: TrainBatchSampler | EvalBatchSampler) -> Generator[Batch, None, None]:
        with closing(load_batches(photos, sampler, workers=self.workers, device=self.state.device)) as batches:
            for batch in batches:
                if self.stopped():
                    raise _StoppedError
                yield batch

    def photo_s(self, photos: Photos) -> float:
        """Return the seconds of a photo in training."""
        train = self.state.config.train
        batch_size = min(train.batch_size, len(photos) * train.repeat)
        sampler = TrainBatchSampler(len(photos), batch_size, train.seed, 0, 10**9, repeat=train.repeat)
        start, steps, is_warm = time.perf_counter(), 0, False
        with closing(self._batches(photos, sampler)) as batches:
            for batch in batches:
                update(self.state, batch, LR)
                steps += 1
                passed = time.perf_counter() - start
                if is_warm and passed >= self.seconds and (steps >= LEAST_STEPS or passed >= 2 * self.seconds):
                    break
                if not is_warm and (steps == WARM_UP_STEPS or passed >= self.seconds):
                    synchronize(self.state.device)
                    start, steps, is_warm = time.perf_counter(), 0, True
            synchronize(self.state.device)
            return (time.perf_counter() - start) / (steps * batch_size)

    def validation_s(self, val: TFRecordDataset) -> float:
        """Return the seconds of a validation, as training does it, from its first photos.

        It takes a while to its first batch, however many photos there are.
        """
        start = first = time.perf_counter()
        assert isinstance(val.transform, ViewsTransform)
        model = evaluation_network(self.state, val.transform)
        num_photos = min(VAL_PHOTOS, len(val))
        with closing(self._batches(val, EvalBatchSampler(num_photos, model.batch_size))) as batches:
            for number, batch in enumerate(batches):
                first = first if number else time.perf_counter()
                model(batch.images).cpu()
        return first - start + (time.perf_counter() - first) * len(val) / num_photos

    def saving(self, folder: Path) -> tuple[float, int]:
        """Return the seconds of last.pt and best.pt, where a run has one, and the bytes of one."""
        with temporary_folder(folder, "trial") as place:
            paths = [place / "last.pt"] + [place / "best.pt"] * (self.state.config.train.on == "train")
            start = time.perf_counter()
            self.state.save(*paths)
            return time.perf_counter() - start, paths[0].stat().st_size
