"""`corolla bench scaling`: predict the rates of other machines, and of this one, from constants measured here."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from corolla.bench.cost import Machine, cores_to_keep_up, predicted_rate, simulated_rate
from corolla.bench.data import bench_data
from corolla.bench.options import BenchOptions
from corolla.bench.pairs import Report, Spread
from corolla.bench.train import bench_train
from corolla.config.experiments import find_experiment
from corolla.data.index import load_index
from corolla.device import choose_device
from corolla.models.factory import build_model, multiply_adds, num_parameters
from corolla.parallel import num_cores

GPUS = (1, 2, 4, 8, 16, 32, 64)
CORES = (2, 4, 8, 16, 32, 64, 128)
SIDES = (64, 128, 192, 224, 331, 512)
CLASSES = (104, 1_000, 10_000, 100_000)
GPU_STEP_US = 400.0
"""Microseconds of an image, ResNet-50 at 224 px in reduced precision: 2,500 images/s, as NVIDIA's DeepLearningExamples
state it for an A100 (ResNet50 v1.5 for PyTorch, AMP). The ResNet report's Titan RTX took 4,000 (250 images/s)."""


@dataclass(frozen=True)
class ScalingReport(Report):
    """A report with the tables that follow from its measurements."""

    tables: dict[str, list[str]] = field(default_factory=dict)

    def lines(self) -> list[str]:
        lines = super().lines()
        for title, rows in self.tables.items():
            lines += ["", title, *(f"  {row}" for row in rows)]
        return lines

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), "tables": self.tables}


def bench_scaling(experiment: str, options: BenchOptions) -> ScalingReport:
    """Measure the constants with `bench_data` and `bench_train`, predict with `corolla.bench.cost`.

    Raises:
        UserError: no such experiment or data.
    """
    find_experiment(experiment)  # a name that does not exist is told before anything is measured
    streaming = bench_data(dataclasses.replace(options, cache="off"))
    training = bench_train(experiment, options)
    index = load_index(options.data, options.size, options.cache_dir)
    split = index.splits["train"]
    cores = num_cores()
    pipeline, loop = streaming.comparisons[0], training.comparisons[0]
    model = build_model(find_experiment(experiment).model, len(index.class_names), options.input_size or index.size)
    here = Machine(
        data_us=(cores if options.workers is None else max(1, options.workers))
        / Spread.of(pipeline.ours_per_s).median
        * 1e6,
        step_us=1e6 / Spread.of(loop.reference_per_s).median,
        batch_size=options.batch_size,
        jpeg_bytes=float(split.length.mean()),
        gradient_bytes=4.0 * num_parameters(model),
        cores_train=choose_device(options.device).type == "cpu",
    )
    tables = {
        "this machine, training": _check(here, training, cores),
        f"images/s of {experiment} on GPUs of {1e6 / GPU_STEP_US:,.0f} images/s each; cores beside them:": _rates(here),
        "multiply-adds and parameters, by resolution and classes:": _growth(experiment),
    }
    return ScalingReport(
        "bench scaling", training.settings, (pipeline, loop), streaming.stages_us, training.device, tables
    )


def _check(here: Machine, training: Report, cores: int) -> list[str]:
    """Return the training loop's rate here as the formula predicts it and as it was measured.

    Its photos come from the cache, so the data's part is what the loop's workers spend then.
    """
    measured = Spread.of(training.comparisons[0].ours_per_s)
    wait_us = training.stages_us["wait for data"] + training.stages_us["normalise"]
    machine = dataclasses.replace(here, data_us=wait_us * cores)
    predicted = predicted_rate(machine, 1, cores).images_per_s
    return [
        f"predicted {predicted:,.0f} images/s, measured {measured.text()}; measured / predicted "
        f"{measured.median / predicted:.3f}"
    ]


def _rates(here: Machine) -> list[str]:
    """Return a row for each number of cores, with a column for each number of GPUs: the rate, and its limit."""
    there = dataclasses.replace(here, step_us=GPU_STEP_US, cores_train=False)
    rows = ["cores " + "".join(f"{gpus:>12} GPU" for gpus in GPUS)]
    for cores in CORES:
        cells = ""
        for gpus in GPUS:
            rate = predicted_rate(there, gpus, cores)
            cells += f"{rate.images_per_s:>9,.0f} {rate.limit[:6]:6}"
        rows.append(f"{cores:5} {cells}")
    needed = ", ".join(f"{cores_to_keep_up(there, gpus):,.0f}" for gpus in GPUS)
    rows.append(f"cores that keep up with {', '.join(map(str, GPUS))} GPUs: {needed}")
    for gpus, cores in ((1, 2), (1, 8), (8, 64), (64, 128)):
        simulated, predicted = simulated_rate(there, gpus, cores), predicted_rate(there, gpus, cores).images_per_s
        rows.append(
            f"simulated, {gpus} GPUs and {cores} cores: {simulated:,.0f} images/s, {simulated / predicted:.3f} of this"
        )
    return rows


def _growth(experiment: str) -> list[str]:
    """Return the cost of one image's forward pass; a training step is about three of them."""
    config = find_experiment(experiment).model
    rows = [
        f"{side:4} px: {multiply_adds(build_model(config, CLASSES[0], side), side) / 1e9:7.2f} G multiply-adds"
        for side in SIDES
    ]
    for classes in CLASSES:
        model = build_model(config, classes, 224)
        rows.append(
            f"{classes:7,} classes at 224 px: {multiply_adds(model, 224) / 1e9:6.2f} G multiply-adds, "
            f"{num_parameters(model) / 1e6:6.1f} M parameters"
        )
    return rows
