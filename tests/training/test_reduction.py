"""Two trainings in threads, which have half of each batch each, against one that has all of it: every bit of the state.

Real processes are in test_processes.py. Here is what they can't do on a CPU, such as fp16 with a loss scale.
"""

import dataclasses
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from state_bits import assert_same_bits, state_content
from support import changed

from corolla.config import Config
from corolla.data.index import load_index
from corolla.data.loader import Batch, make_batch
from corolla.data.parts import Parts
from corolla.data.sampler import TrainBatchSampler
from corolla.data.statistics import data_statistics
from corolla.training.agreed_stop import AgreedStop
from corolla.training.build import new_state
from corolla.training.datasets import build_datasets
from corolla.training.ranks import ALONE, Ranks
from corolla.training.reduction import Reduction
from corolla.training.state import NonFiniteError, TrainState
from corolla.training.stop import Stop

CPU = torch.device("cpu")


@dataclasses.dataclass(frozen=True)
class Threads(Ranks):
    """Ranks that are threads of this process."""

    values: list[Any] = dataclasses.field(default_factory=list)
    barrier: threading.Barrier = dataclasses.field(default_factory=lambda: threading.Barrier(2))

    def gather(self, value: Any) -> list[Any]:
        self.values[self.rank] = value
        self.barrier.wait(60)
        values = list(self.values)
        self.barrier.wait(60)
        return values

    def add(self, values: torch.Tensor) -> None:
        first, second = self.gather(values.clone())
        values.copy_(first + second)


def state_of(config: Config, *, fp16: bool) -> TrainState:
    config = dataclasses.replace(config, input_size=32)
    index = load_index(config.data, None)
    state = new_state(config, index, CPU, data_statistics(index, ("train",)).color)
    if fp16:  # it scales its losses as on a GPU
        state.precision, state.scaler = "fp16", torch.amp.GradScaler("cpu")
    return state


def batches(state: TrainState, parts: Parts, steps: int) -> list[Batch]:
    photos, _ = build_datasets(state.meta, load_index(state.config.data, None))
    sampler = TrainBatchSampler(len(photos), 8, 0, 0, steps, parts=parts)
    return [make_batch(photos, keys) for keys in sampler]


def together(
    config: Config, steps: int, lrs: Sequence[float], *, fp16: bool = False, spoiled: bool = False
) -> list[TrainState]:
    """Return the states of two threads after steps together; a `spoiled` second one has infinite gradients."""
    values, barrier = [None, None], threading.Barrier(2)
    states = [state_of(config, fp16=fp16) for _ in range(2)]
    if spoiled:
        next(states[1].model.parameters()).register_hook(lambda gradient: gradient * torch.inf)

    def work(rank: int) -> TrainState:
        state, ranks, parts = states[rank], Threads(rank, 2, 0, values, barrier), Parts(2, rank, 2)
        stop = AgreedStop(Stop(), ranks)
        state.reduction = Reduction(state.model, ranks, stop, parts=parts, num_images=8)
        for batch, lr in zip(batches(state, parts, steps), lrs, strict=True):
            state.update(batch, lr)
        return state

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(work, range(2)))


@pytest.mark.parametrize(
    ("optim", "settings", "fp16"),
    [
        ({}, {"ema": 0.9, "mixup": 0.2}, True),
        ({"name": "adamw", "clip_norm": 1.0}, {"cutmix": 1.0}, True),
        ({"agc": 0.1}, {"head_epochs": 1}, False),
    ],
)
def test_every_bit_is_that_of_one(
    optim: dict[str, Any], settings: dict[str, Any], fp16: bool, tiny_config: Config
) -> None:
    config = changed(changed(tiny_config, "train", accumulate=2, epochs=2, **settings), "optim", **optim)
    lrs = [0.01] * 3
    alone = state_of(config, fp16=fp16)
    for batch, lr in zip(batches(alone, Parts(2), 3), lrs, strict=True):
        alone.update(batch, lr)
    for state in together(config, 3, lrs, fp16=fp16):
        assert_same_bits(_without_random(state), _without_random(alone))


def test_one_process_with_all_parts_does_what_it_does_without_the_sum(tiny_config: Config) -> None:
    """It is the test that a single GPU can run (tests/gpu/test_processes.py)."""
    config = changed(tiny_config, "train", accumulate=2)
    states = [state_of(config, fp16=False) for _ in range(2)]
    states[1].reduction = Reduction(states[1].model, ALONE, AgreedStop(Stop(), ALONE), parts=Parts(2), num_images=8)
    for batch in batches(states[0], Parts(2), 3):
        for state in states:
            state.update(batch, 0.01)
    assert_same_bits(_without_random(states[0]), _without_random(states[1]))


@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_a_step_that_overflows_in_one_half_is_left_out_by_both(clip_norm: float, tiny_config: Config) -> None:
    config = changed(changed(tiny_config, "train", accumulate=2, epochs=2), "optim", clip_norm=clip_norm)
    before = state_of(config, fp16=True)
    names = [name for name, _ in before.model.named_parameters()]
    for state in together(config, 1, [1.0], fp16=True, spoiled=True):
        now, then = state.model.state_dict(), before.model.state_dict()
        assert_same_bits([now[name] for name in names], [then[name] for name in names])
        assert state.scaler.get_scale() == before.scaler.get_scale() / 2


def test_numbers_that_are_not_finite_reach_both(tiny_config: Config) -> None:
    states = together(changed(tiny_config, "train", accumulate=2, precision="fp32"), 3, [1e30, 1e30, 1e30])
    said = []
    for state in states:
        with pytest.raises(NonFiniteError) as caught:
            state.sync_and_check()
        said.append((caught.value.step, str(caught.value)))
    assert said[0] == said[1]


def _without_random(state: TrainState) -> dict[str, Any]:
    """Return a state's content without torch's generators, which the threads share."""
    return {name: value for name, value in state_content(state).items() if not name.startswith("random")}
