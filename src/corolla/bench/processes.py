"""`corolla bench train --gpus N`: steps of several processes, each by itself and together, and what joining them costs.

Each has one batch in memory, so that nothing waits for data.
"""

import dataclasses
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from corolla.bench.options import BenchOptions
from corolla.bench.pairs import Comparison, Report, images_per_s
from corolla.bench.train import LR, TURN_S, measured_config
from corolla.data.dataset import Samples
from corolla.data.index import load_index
from corolla.data.loader import Batch, make_batch
from corolla.data.parts import Parts
from corolla.device import choose_device
from corolla.errors import UserError
from corolla.parallel import num_cores
from corolla.started_process import status_of
from corolla.training.agreed_stop import AgreedStop
from corolla.training.build import new_state
from corolla.training.datasets import build_datasets, train_color
from corolla.training.launch import run_processes
from corolla.training.ranks import Ranks, joined, own_device, start_device
from corolla.training.reduction import Reduction
from corolla.training.state import TrainState
from corolla.training.stop import Stop


@dataclass(frozen=True)
class JoiningReport(Report):
    """The rates of several processes, joined and each by itself."""

    sum_mb: float = 0.0
    """Gradients and the statistics of batch norm, which each step adds up."""
    sum_ms: float = 0.0
    """How long that takes, median of as many as there are pairs."""

    def lines(self) -> list[str]:
        return [*super().lines(), f"  the sum alone   {self.sum_ms:.1f} ms for {self.sum_mb:.1f} MB (all-reduce)"]

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), "sum_mb": self.sum_mb, "sum_ms": self.sum_ms}


def bench_processes(experiment: str, options: BenchOptions) -> JoiningReport:
    """Measure the steps of `options.gpus` processes in turns, together and each by itself.

    Raises:
        UserError: no such experiment or data, or fewer GPUs.
    """
    assert options.gpus is not None
    device = choose_device(options.device)
    if device.type != "cpu" and (options.device not in ("auto", "cuda") or torch.cuda.device_count() < options.gpus):
        raise UserError(
            f"--gpus {options.gpus}: torch sees {torch.cuda.device_count()} here; --device cpu measures on the cores"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.json"
        values = {**dataclasses.asdict(options), "device": device.type, "experiment": experiment}
        path.write_text(json.dumps(values, default=str), encoding="utf-8")
        run_processes(options.gpus, "corolla.bench.processes", path)
        found = json.loads(path.with_suffix(".found").read_text(encoding="utf-8"))
    joined, apart, sums = found.pop("joined"), found.pop("apart"), sorted(found.pop("sums"))
    comparison = Comparison("together", "each by itself", tuple(joined), tuple(apart))
    megabytes = found.pop("bytes") / 1e6
    return JoiningReport(
        "bench train", found, (comparison,), device=device, sum_mb=megabytes, sum_ms=1e3 * sums[len(sums) // 2]
    )


def measure(experiment: str, options: BenchOptions, ranks: Ranks) -> dict[str, Any]:
    """Return the rates that this process and the others have measured, what was added up, and the settings.

    Raises:
        UserError: no such experiment or data.
    """
    device = start_device(own_device(options.device))
    if device.type == "cpu":
        torch.set_num_threads(max(1, num_cores() // ranks.number))
    torch.backends.cudnn.benchmark = True  # as in training
    index = load_index(options.data, options.size, options.cache_dir)
    own = min(options.batch_size, len(index.splits["train"]))
    whole, number = own * ranks.number, ranks.number
    config = measured_config(experiment, options, index.size, batch_size=whole, accumulate=number)
    state = new_state(config, index, device, train_color(config, index))
    photos, _ = build_datasets(state.meta, index)
    decoded = make_batch(photos, Samples(0, (ranks.rank * own + np.arange(own)) % len(photos)))
    batch = Batch(*(values.to(device) for values in decoded))
    by_itself = measured_config(experiment, options, index.size, batch_size=own)
    alone = dataclasses.replace(state, meta=dataclasses.replace(state.meta, config=by_itself))
    reduction = _reduction(state, ranks, whole)
    state.reduction = reduction

    def rate(state: TrainState, steps: int) -> float:
        def work() -> None:
            for _ in range(steps):
                state.update(batch, LR)

        ranks.gather(None)  # all begin at once
        return sum(ranks.gather(images_per_s(own * steps, work, device)))

    for measured in (alone, state):  # the first steps prepare
        rate(measured, 2)
    steps = ranks.tell(max(5, round(TURN_S * rate(alone, 2) / whole)))
    joined, apart = [], []
    for _ in range(options.pairs):
        joined.append(rate(state, steps))
        apart.append(rate(alone, steps))
    flat = torch.zeros_like(reduction.flat)
    sums = [1 / images_per_s(1, _add(ranks, flat), device) for _ in range(options.pairs + 1)][1:]
    settings: dict[str, Any] = {"experiment": experiment, "data": options.data.name, "processes": number}
    settings |= {"input": f"{config.input_size} px", "batch": f"{number} x {own}", "precision": state.precision}
    return {**settings, "joined": joined, "apart": apart, "sums": sums, "bytes": flat.nbytes}


def _reduction(state: TrainState, ranks: Ranks, num_images: int) -> Reduction:
    parts = Parts(ranks.number, ranks.rank, ranks.number)
    return Reduction(state.model, ranks, AgreedStop(Stop(), ranks), parts=parts, num_images=num_images)


def _add(ranks: Ranks, values: torch.Tensor) -> Callable[[], None]:
    ranks.gather(None)
    return lambda: ranks.add(values)


def main(path: Path) -> int:
    """Measure what a file says, and return the exit status."""
    values = json.loads(path.read_text(encoding="utf-8"))
    experiment = values.pop("experiment")
    paths = {name: Path(values[name]) for name in ("data", "cache_dir") if values[name] is not None}

    def work() -> None:
        with joined(0) as ranks:
            found = measure(experiment, BenchOptions(**{**values, **paths}), ranks)
        if ranks.leads:
            path.with_suffix(".found").write_text(json.dumps(found), encoding="utf-8")

    return status_of(work, path.with_suffix(".error"))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
