"""`corolla bench train`: the whole training loop against the model's bare step on one batch in memory."""

import copy
import dataclasses
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from corolla.bench.pairs import Comparison, Report, images_per_s, synchronize
from corolla.config import Config
from corolla.data.cache import Cache, use_cache
from corolla.data.flowers import Batch
from corolla.data.index import load_index
from corolla.data.loader import TrainBatches, load_batches
from corolla.data.stats import data_statistics
from corolla.device import Precision, autocast, choose_device, num_workers
from corolla.experiments import find_experiment
from corolla.training.learner import Learner
from corolla.training.log import RunLog
from corolla.training.loop import run_steps
from corolla.training.optim import make_optimizer
from corolla.training.run import Run
from corolla.training.sets import data_sets
from corolla.training.start import new_learner
from corolla.training.stop import Stop

TURN_S = 3.0  # a turn has as many steps as fit, ten of them at least
LR = 1e-4  # small enough that random weights stay where they are


def bench_train(
    experiment: str = "resnet50",
    *,
    data: Path,
    size: int | None = None,
    input_size: int | None = None,
    workers: int | None = None,
    batch_size: int = 64,
    cache: Cache = "auto",
    pairs: int = 10,
    device: str = "auto",
    compile: bool = False,
    index: Path | None = None,
) -> Report:
    """Train `experiment` for a while, in turns with the same network's step on one normalised batch in memory.

    What the loop adds: waiting for data, normalising, logging, what decides that a loss is finite, and whatever the
    recipe does beside the step (the average of the weights, mixing).

    Raises:
        UserError: no such experiment or data.
    """
    loaded, chosen = load_index(data, size, index), choose_device(device)
    base = find_experiment(experiment)
    batch_size = min(batch_size, len(loaded.splits["train"]))
    torch.backends.cudnn.benchmark = True  # as in training
    config = dataclasses.replace(
        base,
        input_size=input_size or loaded.size,
        optim=dataclasses.replace(base.optim, lr=LR),
        augment=dataclasses.replace(base.augment, start_size=None),
        # What the bare step has no counterpart of, and what changes in the course of a run.
        train=dataclasses.replace(base.train, batch_size=batch_size, compile=compile, accumulate=1, head_epochs=0),
    )
    learner = new_learner(config, loaded, chosen, data_statistics(loaded, ("train",), cache=index).color)
    photos, _ = data_sets(learner, config, loaded)
    note = use_cache([photos], cache, index)
    processes = num_workers(workers, chosen)
    batch = photos.batch([(0, i % len(photos)) for i in range(batch_size)])
    bare = _BareStep(learner, config, batch)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder) / "bench")
        run.folder.mkdir()
        plan = TrainBatches(len(photos), batch_size, 0, 0, 10**9)
        stop = Stop()
        with (
            closing(load_batches(photos, plan, workers=processes, device=chosen)) as batches,
            RunLog(run, rows=[], step=0, total=10**9, done=0, class_names=loaded.class_names) as log,
        ):
            turns = _Turns(batches, learner, bare, batch_size, stop, pairs)
            # Epochs that never end: what they cost is evaluation, and no part of the step.
            run_steps(learner, run, config, turns, log, stop, check_val=lambda: None, length=10**9)
    settings: dict[str, object] = {"experiment": experiment, "data": data.name, "input": f"{config.input_size} px"}
    settings |= {"batch": batch_size, "precision": learner.precision, "workers": processes}
    settings["cache"] = note.removeprefix("cache: ").split(" in ")[0]
    comparison = Comparison("training loop", "bare step", tuple(turns.ours[1:]), tuple(turns.bare[1:]))
    return Report("bench train", settings, (comparison,), turns.stages_us(learner, batch), chosen)


class _BareStep:
    """Forward, backward and update of a twin of the learner's network, on one batch that is there already."""

    def __init__(self, learner: Learner, config: Config, batch: Batch) -> None:
        self.model: nn.Module = copy.deepcopy(learner.model).train()
        if config.train.compile:
            self.model.compile()
        self.optimizer = make_optimizer(self.model, config.optim)
        self.device = learner.device
        self.precision: Precision = learner.precision
        self.images = learner.normalise(batch.images.to(learner.device))
        self.labels = batch.labels.to(learner.device)

    def forward(self) -> torch.Tensor:
        with autocast(self.device, self.precision):
            logits = self.model(self.images)
        return F.cross_entropy(logits.float(), self.labels)

    def __call__(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.forward().backward()
        self.optimizer.step()

    def stages_s(self, repeats: int = 5) -> dict[str, float]:
        """Seconds of each part of a step, the best of a few."""
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
                seconds = 1 / images_per_s(1, part, self.device)
                best[name] = min(best.get(name, seconds), seconds)
        return best


class _Turns(Iterator[Batch]):
    """Hands the loop its batches, and between two turns of it lets the bare step have one, until there are enough."""

    def __init__(
        self, batches: Iterator[Batch], learner: Learner, bare: _BareStep, batch_size: int, stop: Stop, pairs: int
    ) -> None:
        self.batches, self.bare_step, self.stop = batches, bare, stop
        self.batch_size, self.pairs, self.device = batch_size, pairs, learner.device
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

    def stages_us(self, learner: Learner, batch: Batch) -> dict[str, float]:
        """Microseconds an image."""
        images = batch.images.to(self.device)
        stages = {"wait for data": self.waited_s / self.num_steps}
        stages["normalise"] = min(1 / images_per_s(1, lambda: learner.normalise(images), self.device) for _ in range(5))
        stages |= self.bare_step.stages_s()
        return {name: seconds / self.batch_size * 1e6 for name, seconds in stages.items()}
