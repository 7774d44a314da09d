"""`corolla bench train`: the whole training loop against the model's bare step on one batch in memory."""

import copy
import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from corolla.arithmetic import exact_fp32
from corolla.bench.options import BenchOptions
from corolla.bench.pairs import Comparison, Report, images_per_s
from corolla.config import Config
from corolla.config.experiments import find_experiment
from corolla.data.cache import use_cache
from corolla.data.dataset import Samples
from corolla.data.index import load_index
from corolla.data.loader import Batch, load_batches, make_batch
from corolla.data.sampler import TrainBatchSampler
from corolla.device import Precision, autocast, choose_device, num_workers, synchronize
from corolla.runs.folder import Run
from corolla.temporary import scratch_folder
from corolla.training.build import new_state
from corolla.training.datasets import build_datasets, train_color
from corolla.training.log import RunLog
from corolla.training.loop import run_steps
from corolla.training.optim import make_optimizer
from corolla.training.photos import photos_for_batches, settle_photos
from corolla.training.state import TrainState
from corolla.training.stop import Stop

TURN_S = 3.0  # a turn has as many steps as fit, ten of them at least
LR = 1e-4  # small enough that random weights stay where they are


def bench_train(experiment: str, options: BenchOptions) -> Report:
    """Train `experiment` for a while, in turns with the same network's step on one normalised batch in memory.

    What the loop adds: waiting for data, normalising, logging, what decides that a loss is finite, and whatever the
    recipe does beside the step (the average of the weights, mixing).

    Raises:
        UserError: no such experiment or data.
    """
    index, device = load_index(options.data, options.size, options.cache_dir), choose_device(options.device)
    batch_size = min(options.batch_size, len(index.splits["train"]))
    torch.backends.cudnn.benchmark = True  # as in training
    config = measured_config(experiment, options, index.size, batch_size=batch_size)
    state = new_state(config, index, device, train_color(config, index))
    photos, _ = build_datasets(state.meta, index)
    settle_photos(state, index, begins=True)
    note = "device" if state.photos else use_cache([photos], config.pipeline.cache, options.cache_dir)
    workers = num_workers(options.workers, device)
    batch = make_batch(photos, Samples(0, np.arange(batch_size) % len(photos)))
    bare = _BareStep(state, batch)
    with scratch_folder("bench") as folder:
        run = Run(folder / "bench")
        run.folder.mkdir()
        sampler = TrainBatchSampler(len(photos), batch_size, 0, 0, 10**9)
        stop = Stop()
        with (
            closing(
                load_batches(photos_for_batches(state, photos), sampler, workers=workers, device=device)
            ) as batches,
            RunLog(run, rows=[], step=0, total=10**9, done=0, class_names=index.class_names) as run_log,
        ):
            turns = _Turns(batches, state, bare, batch_size, stop, options.pairs)
            # Epochs that never end: what they cost is evaluation, and no part of the step.
            run_steps(state, turns, run_log, stop, validate=lambda: None, epoch_steps=10**9)
    settings: dict[str, object] = {"experiment": experiment, "data": options.data.name}
    settings |= {"input": f"{config.input_size} px", "batch": batch_size, "precision": state.precision}
    settings |= {"workers": workers, "cache": note.removeprefix("cache: ").split(" in ")[0]}
    comparison = Comparison("training loop", "bare step", tuple(turns.ours[1:]), tuple(turns.bare[1:]))
    return Report("bench train", settings, (comparison,), turns.stages_us(state, batch), device)


def measured_config(
    experiment: str, options: BenchOptions, size: int, *, batch_size: int, accumulate: int = 1
) -> Config:
    """Return the settings of `experiment` without what a bare step has no counterpart of, or what changes in a run.

    Args:
        experiment: a name, or a TOML or JSON file.
        options: those of the benchmark.
        size: side of the stored photos.
        batch_size: photos of a whole batch.
        accumulate: its parts.

    Raises:
        UserError: no such experiment.
    """
    base = find_experiment(experiment)
    return dataclasses.replace(
        base,
        cache_dir=options.cache_dir,
        input_size=options.input_size or size,
        optim=dataclasses.replace(base.optim, lr=LR),
        augment=dataclasses.replace(base.augment, start_size=None),
        pipeline=dataclasses.replace(base.pipeline, cache=options.cache or "auto"),
        train=dataclasses.replace(
            base.train, batch_size=batch_size, compile=options.compile, accumulate=accumulate, head_epochs=0
        ),
    )


class _BareStep:
    """Forward, backward and update of a twin of the state's network, on one batch that is there already."""

    def __init__(self, state: TrainState, batch: Batch) -> None:
        self.model: nn.Module = copy.deepcopy(state.model).train()
        if state.config.train.compile:
            self.model.compile()
        self.optimizer = make_optimizer(self.model, state.config.optim)
        self.device = state.device
        self.precision: Precision = state.precision
        self.images = state.normalise(batch.images.to(state.device))
        self.labels = batch.labels.to(state.device)

    def forward(self) -> torch.Tensor:
        with autocast(self.device, self.precision):
            logits = self.model(self.images)
        return F.cross_entropy(logits.float(), self.labels)

    def __call__(self) -> None:
        with exact_fp32(self.precision):  # as TrainState.update has it
            self.optimizer.zero_grad(set_to_none=True)
            self.forward().backward()
            self.optimizer.step()

    def stages_s(self, repeats: int = 5) -> dict[str, float]:
        """Return the seconds of each part of a step, the best of a few."""
        best: dict[str, float] = {}
        for _ in range(repeats):
            loss: list[torch.Tensor] = []
            self.optimizer.zero_grad(set_to_none=True)
            parts: tuple[tuple[str, Callable[[], object]], ...] = (
                ("forward", lambda loss=loss: loss.append(self.forward())),
                ("backward", lambda loss=loss: loss[0].backward()),
                ("optimizer", self.optimizer.step),
            )
            for name, part in parts:
                with exact_fp32(self.precision):
                    seconds = 1 / images_per_s(1, part, self.device)
                best[name] = min(best.get(name, seconds), seconds)
        return best


class _Turns(Iterator[Batch]):
    """Hands the loop its batches, and between two turns of it lets the bare step have one, until there are enough."""

    def __init__(
        self, batches: Iterator[Batch], state: TrainState, bare: _BareStep, batch_size: int, stop: Stop, pairs: int
    ) -> None:
        self.batches, self.bare_step, self.stop = batches, bare, stop
        self.batch_size, self.pairs, self.device = batch_size, pairs, state.device
        self.ours: list[float] = []
        self.bare: list[float] = []
        self.waited_s, self.num_steps = 0.0, 0
        bare()
        step_s = batch_size / images_per_s(batch_size, bare, self.device)
        self.turn_steps = max(10, round(TURN_S / step_s))
        self._steps = itertools.count()
        self._start = time.perf_counter()

    def __next__(self) -> Batch:
        step = next(self._steps)
        if step and step % self.turn_steps == 0:
            synchronize(self.device)
            self.ours.append(self.turn_steps * self.batch_size / (time.perf_counter() - self._start))
            num_images = self.turn_steps * self.batch_size
            self.bare.append(images_per_s(num_images, self._bare_turn, self.device))
            if len(self.ours) > self.pairs:
                self.stop.request("measured")
            self._start = time.perf_counter()
        start = time.perf_counter()
        batch = next(self.batches)
        self.waited_s, self.num_steps = self.waited_s + time.perf_counter() - start, self.num_steps + 1
        return batch

    def _bare_turn(self) -> None:
        for _ in range(self.turn_steps):
            self.bare_step()

    def stages_us(self, state: TrainState, batch: Batch) -> dict[str, float]:
        """Return the microseconds that an image takes in each part of the training loop."""
        images = batch.images.to(self.device)
        stages = {"wait for data": self.waited_s / self.num_steps}
        stages["normalise"] = min(1 / images_per_s(1, lambda: state.normalise(images), self.device) for _ in range(5))
        stages |= self.bare_step.stages_s()
        return {name: seconds / self.batch_size * 1e6 for name, seconds in stages.items()}
