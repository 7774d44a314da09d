"""`corolla bench cost`: the time and memory that a training will take here, from a few seconds of it.

An epoch is its steps, one validation and one saved checkpoint. What a step costs is measured on the loop's own state
and batches: at full size, and apart from that with everything but the classifier frozen where the recipe begins so;
with progressive resizing the sizes of the epochs count by their areas.
"""

import dataclasses
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from corolla.bench.options import BenchOptions
from corolla.bench.pairs import Report, synchronize
from corolla.config import Config
from corolla.config.experiments import find_experiment
from corolla.config.progressive_resizing import epoch_size
from corolla.data.cache import use_cache
from corolla.data.dataset import TFRecordDataset
from corolla.data.index import Index, load_index
from corolla.data.loader import load_batches
from corolla.data.sampler import TrainBatchSampler
from corolla.data.subset import first_rows, subset_index
from corolla.data.transforms.views import ViewsTransform
from corolla.device import choose_device, num_workers
from corolla.evaluation.inference import predict_probabilities
from corolla.models.factory import multiply_adds
from corolla.runs.checkpoint import save_checkpoint
from corolla.training.build import build_datasets, new_state, train_color
from corolla.training.loop import evaluation_network

WARM_UP_STEPS, LEAST_STEPS, LEAST_S = 3, 6, 8.0  # of a measurement
VAL_PHOTOS = 512  # that are predicted to know how long all of them take
LR = 1e-4  # the weights stay about where they are
T4_MACS_PER_S = 425 * 3 * 4.09e9
"""Multiply-adds a second of training on a T4 in fp16, a backward pass counted as two forward passes.

NVIDIA's DeepLearningExamples state for ResNet-50 v1.5 (4.09 billion multiply-adds) in mixed precision 1,198 images/s
of inference on a T4, and on a V100 3,382 of inference and 1,200 of training: so a T4 would train some 425. Networks of
many cheap layers come nowhere near it.
"""


@dataclass(frozen=True)
class TrainingCost(Report):
    """The expected cost of a training."""

    epoch_s: tuple[float, ...] = ()
    """Seconds of each epoch."""
    images_per_s: float = 0.0
    """The rate of training at full size."""
    val_s: float = 0.0
    save_s: float = 0.0
    card_bytes: int = 0
    """Most that was taken on the card; 0 without one."""
    memory_bytes: int = 0
    """Most that this process and its workers took."""
    checkpoint_bytes: int = 0
    """The size of last.pt or best.pt."""
    cache_bytes: int = 0
    """Decoded photos that the user's cache may come to hold."""
    t4_hours: float = 0.0

    @property
    def seconds(self) -> float:
        """The whole training, without the seconds of its start."""
        return sum(self.epoch_s)

    def lines(self) -> list[str]:
        first, last = self.epoch_s[0], self.epoch_s[-1]
        epochs = f"{last:.1f} s" if abs(first - last) < 0.05 * last else f"{first:.1f} s, later {last:.1f} s"
        lines = super().lines()
        lines += [
            f"  an epoch     {epochs}: {self.images_per_s:,.0f} images/s, val {self.val_s:.1f} s"
            f", saving {self.save_s:.1f} s",
            f"  {len(self.epoch_s)} epochs".ljust(15) + f"{self.seconds / 60:.1f} minutes",
            f"  memory       {self.memory_bytes / 1e9:.1f} GB here"
            + (f", {self.card_bytes / 1e9:.1f} GB on the card" if self.card_bytes else ""),
            f"  disk         {2 * self.checkpoint_bytes / 1e6:.0f} MB for last.pt and best.pt"
            f", up to {self.cache_bytes / 1e6:.0f} MB of decoded photos in the cache",
            f"  on Kaggle    at least {self.t4_hours:.2f} GPU hours on a T4 (by its arithmetic; not measured)",
        ]
        return lines

    def as_dict(self) -> dict[str, Any]:
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)[5:]}
        return {**super().as_dict(), **own, "seconds": self.seconds}


def training_cost(experiment: str, options: BenchOptions) -> TrainingCost:
    """Measure some steps, a validation and a checkpoint of `experiment`, and return what the whole training takes.

    Raises:
        UserError: no such experiment or data.
    """
    index, device = load_index(options.data, options.size, options.cache_dir), choose_device(options.device)
    base = find_experiment(experiment)
    index = subset_index(index, base.train.share, base.train.seed)
    size = options.input_size or base.input_size or index.size
    config = dataclasses.replace(
        base,
        cache_dir=options.cache_dir,
        input_size=size,
        model=dataclasses.replace(base.model, weights="none"),  # their values cost nothing
        optim=dataclasses.replace(base.optim, lr=LR),
        augment=dataclasses.replace(base.augment, start_size=None),
        train=dataclasses.replace(base.train, head_epochs=0, accumulate=base.train.num_parts),
    )
    torch.backends.cudnn.benchmark = True  # as in training
    whole = _Measured(config, index, device, options)
    head_rate = whole.rate
    if base.train.head_epochs:
        frozen = dataclasses.replace(config.train, head_epochs=base.train.epochs)
        head_rate = _Measured(dataclasses.replace(config, train=frozen), index, device, options, only_rate=True).rate
    num_train, num_val = (len(index.splits[name]) for name in ("train", "val"))
    shown = num_train * base.train.repeat // base.train.batch_size * base.train.batch_size  # without the incomplete
    val_s = whole.val_s * num_val / whole.num_val
    areas = _areas(base, size)
    rates = [head_rate if epoch < base.train.head_epochs else whole.rate for epoch in range(base.train.epochs)]
    macs = multiply_adds(whole.state.model, size)
    settings = {"experiment": experiment, "data": options.data.name, "photos": f"{num_train} + {num_val} of val"}
    settings |= {"input": f"{size} px", "precision": whole.state.precision}
    return TrainingCost(
        "bench cost",
        settings,
        (),
        device=device,
        epoch_s=tuple(
            max(1, shown) * area / rate + val_s + whole.save_s for area, rate in zip(areas, rates, strict=True)
        ),
        images_per_s=whole.rate,
        val_s=val_s,
        save_s=whole.save_s,
        card_bytes=whole.card_bytes,
        memory_bytes=whole.memory_bytes,
        checkpoint_bytes=whole.checkpoint_bytes,
        cache_bytes=(num_train + num_val) * index.size**2 * 3,
        t4_hours=macs * (3 * shown * sum(areas) + num_val * len(areas)) / T4_MACS_PER_S / 3600,
    )


def _areas(base: Config, size: int) -> list[float]:
    """Return the area of each epoch's training images, as a fraction of the last one's."""
    epochs = base.train.epochs
    return [(epoch_size(base.augment, size, epoch, epochs) / size) ** 2 for epoch in range(epochs)]


class _Measured:
    """A few steps of training, a validation and a checkpoint, measured."""

    def __init__(
        self, config: Config, index: Index, device: torch.device, options: BenchOptions, *, only_rate: bool = False
    ) -> None:
        self.state = new_state(config, index, device, train_color(config, index))
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        self.workers = num_workers(options.workers, device)
        train, _ = build_datasets(self.state.meta, index)
        use_cache([train], options.cache or "auto", options.cache_dir)
        self.rate = self._steps(train, min(config.train.batch_size, len(train)))
        if only_rate:
            return
        self.num_val = min(VAL_PHOTOS, len(index.splits["val"]))
        _, val = build_datasets(self.state.meta, first_rows(index, "val", self.num_val))
        use_cache([val], options.cache or "auto", options.cache_dir)
        self.val_s = self._validation(val)
        self.save_s, self.checkpoint_bytes = self._saving()
        self.card_bytes = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
        self.memory_bytes = _peak_bytes(self.workers)

    def _steps(self, train: TFRecordDataset, batch_size: int) -> float:
        """Return the images/s of training."""
        sampler = TrainBatchSampler(len(train), batch_size, 0, 0, 10**9)
        start, steps = 0.0, 0
        with closing(load_batches(train, sampler, workers=self.workers, device=self.state.device)) as batches:
            for number, batch in enumerate(batches):
                self.state.update(batch, LR)
                if number + 1 == WARM_UP_STEPS:
                    synchronize(self.state.device)
                    start = time.perf_counter()
                steps = number + 1 - WARM_UP_STEPS
                if steps >= LEAST_STEPS and time.perf_counter() - start >= LEAST_S:
                    break
            synchronize(self.state.device)
            return steps * batch_size / (time.perf_counter() - start)

    def _validation(self, val: TFRecordDataset) -> float:
        """Return the seconds of predicting `val` as training does."""
        start = time.perf_counter()
        assert isinstance(val.transform, ViewsTransform)
        model = evaluation_network(self.state, val.transform)
        predict_probabilities(
            model, val, batch_size=model.batch_size, device=self.state.device, workers=self.workers, title="evaluate"
        )
        return time.perf_counter() - start

    def _saving(self) -> tuple[float, int]:
        """Return the seconds and the bytes of a checkpoint."""
        state = self.state
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "last.pt"
            start = time.perf_counter()
            save_checkpoint(
                path,
                state.meta,
                state.progress,
                model=state.model,
                ema=state.ema.module if state.ema is not None else None,
                optimizer=state.optimizer,
                scaler=state.scaler if state.scaler.is_enabled() else None,
            )
            return time.perf_counter() - start, path.stat().st_size


def _peak_bytes(workers: int) -> int:
    """Return the most memory that this process and its workers have held; what they share counts for each.

    0 where the system does not tell.
    """
    try:
        import resource  # POSIX alone has it
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    own, child = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return unit * (own + workers * child)
