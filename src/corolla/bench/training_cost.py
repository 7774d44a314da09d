"""`corolla bench cost`: the time and memory that a training will take here, from a few seconds of it.

The seconds of an epoch are measured as for --train.fit-hours (training/epoch_cost.py).
"""

import dataclasses
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from corolla.bench.options import BenchOptions
from corolla.bench.pairs import Report
from corolla.config.experiments import find_experiment
from corolla.config.progressive_resizing import epoch_size
from corolla.data.corrections import training_index
from corolla.data.index import load_index, split_of
from corolla.device import choose_device, num_workers
from corolla.models.factory import multiply_adds
from corolla.runs.folder import Run
from corolla.training.build import new_state
from corolla.training.datasets import train_color
from corolla.training.epoch_cost import LEAST_S, measure_epoch
from corolla.training.photos import settle_photos

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
        hours = f"at least {self.t4_hours:.2f}" if self.t4_hours >= 0.005 else "perhaps less than 0.01"
        lines = super().lines()
        lines += [
            f"  an epoch     {epochs}: {self.images_per_s:,.0f} images/s, val {self.val_s:.1f} s"
            f", saving {self.save_s:.1f} s",
            f"  {len(self.epoch_s)} epochs".ljust(15) + f"{self.seconds / 60:.1f} minutes",
            f"  memory       {self.memory_bytes / 1e9:.1f} GB here"
            + (f", {self.card_bytes / 1e9:.1f} GB on the card" if self.card_bytes else ""),
            f"  disk         {2 * self.checkpoint_bytes / 1e6:.0f} MB for last.pt and best.pt"
            f", up to {self.cache_bytes / 1e6:.0f} MB of decoded photos in the cache",
            f"  on Kaggle    {hours} GPU hours on a T4 (by its arithmetic; not measured)",
        ]
        return lines

    def as_dict(self) -> dict[str, Any]:
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)[5:]}
        return {**super().as_dict(), **own, "seconds": self.seconds}


def training_cost(experiment: str, options: BenchOptions) -> TrainingCost:
    """Measure some steps, a validation and a checkpoint of `experiment`, and return what the whole training takes.

    Args:
        experiment: a name, a TOML or JSON file, or the folder of a run, whose settings are taken.
        options: those of a training count; what else they say has no effect.

    Raises:
        UserError: no such experiment or data, or the data have no photos of train or val.
    """
    index, device = load_index(options.data, options.size, options.cache_dir), choose_device(options.device)
    for split in ("train", "val"):
        split_of(index, split)
    is_run = (Path(experiment) / "config.json").is_file()
    base = Run(Path(experiment)).config if is_run else find_experiment(experiment)
    index = training_index(index, base.train, cache_dir=options.cache_dir)
    size = options.input_size or base.input_size or index.size
    config = dataclasses.replace(
        base,
        cache_dir=options.cache_dir,
        input_size=size,
        model=dataclasses.replace(base.model, weights="none"),  # their values cost nothing
        pipeline=dataclasses.replace(base.pipeline, cache=options.cache or "auto"),
        train=dataclasses.replace(base.train, accumulate=base.train.num_parts),
    )
    torch.backends.cudnn.benchmark = True  # as in training
    state = new_state(config, index, device, train_color(config, index))
    settle_photos(state, index, begins=True)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    workers = num_workers(options.workers, device)
    with tempfile.TemporaryDirectory() as folder:
        cache = config.pipeline.cache
        cost = measure_epoch(state, index, Path(folder), workers=workers, cache=cache, seconds=LEAST_S)
    assert cost is not None, "nobody stops it"
    num_train, num_val = (len(index.splits[name]) if name in index.splits else 0 for name in ("train", "val"))
    epochs = config.train.epochs
    areas = [(epoch_size(config.augment, size, epoch, epochs) / size) ** 2 for epoch in range(epochs)]
    macs = multiply_adds(state.model, size)
    settings = {"experiment": experiment, "data": options.data.name, "photos": f"{num_train} + {num_val} of val"}
    settings |= {"input": f"{size} px", "precision": state.precision}
    return TrainingCost(
        "bench cost",
        settings,
        (),
        device=device,
        epoch_s=tuple(cost.epoch_s(config, size)),
        images_per_s=cost.shown / cost.steps_s(size),
        val_s=cost.val_s,
        save_s=cost.save_s,
        card_bytes=torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0,
        memory_bytes=_peak_bytes(workers),
        checkpoint_bytes=cost.checkpoint_bytes,
        cache_bytes=(num_train + num_val) * index.size**2 * 3,
        t4_hours=macs * (3 * cost.shown * sum(areas) + num_val * epochs) / T4_MACS_PER_S / 3600,
    )


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
