"""The sum of the losses and the first fault are counted on the device, and no step waits for it."""

import dataclasses
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from support import changed
from torch.utils._python_dispatch import TorchDispatchMode

from corolla.config import Config
from corolla.data.dataset import Samples
from corolla.data.index import load_index
from corolla.data.loader import make_batch
from corolla.data.statistics import data_statistics
from corolla.training.build import new_state
from corolla.training.datasets import build_datasets
from corolla.training.state import LossMeter, NonFiniteError, TrainState

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_sum_is_pythons(dtype: torch.dtype) -> None:
    rng = np.random.default_rng(0)
    losses = torch.from_numpy(rng.lognormal(0, 4, 1000)).to(dtype)
    counts = rng.integers(1, 512, 1000).tolist()
    start = 1234.5678901234567
    meter, expected = LossMeter(CPU, start), start
    for loss, count in zip(losses, counts, strict=True):
        meter.add(loss, count, torch.tensor(float(count - 1)))
        expected += loss.item() * count
    assert meter.sums() == (expected, sum(counts) - 1000)
    assert meter.sums() == (expected, sum(counts) - 1000)  # looking changes nothing


def test_a_new_epoch_starts_at_zero() -> None:
    meter = LossMeter(CPU, 3.0, 5)
    meter.add(torch.tensor(2.0), 4, torch.tensor(3.0))
    assert meter.sums() == (11.0, 8)
    meter.reset()
    assert meter.sums() == (0.0, 0)
    meter.add(torch.tensor(0.5), 2, torch.tensor(1.0))
    assert meter.sums() == (1.0, 1)


@pytest.mark.parametrize(
    ("value", "what", "message"),
    [
        (math.nan, 0, "the loss is nan"),
        (math.inf, 0, "the loss is inf"),
        (math.inf, 1, "the gradient's norm is inf"),
        (-math.inf, 1, "the gradient's norm is -inf"),
    ],
)
def test_the_first_fault_is_kept(value: float, what: int, message: str) -> None:
    meter = LossMeter(CPU)
    meter.check(torch.tensor(1.0), 6)
    assert meter.found_inf == 0
    meter.check(torch.tensor(value), 7, what)
    meter.check(torch.tensor(math.nan), 8)
    meter.check(torch.tensor(1.0), 9)
    meter.check(torch.tensor(math.nan), 3, 1)
    assert meter.found_inf == 1
    for _ in range(2):
        with pytest.raises(NonFiniteError, match=f"^{message}$") as caught:
            meter.sums()
        assert caught.value.step == 7


def test_a_new_epoch_forgets_no_fault() -> None:
    meter = LossMeter(CPU)
    meter.check(torch.tensor(math.nan), 2)
    meter.reset()
    assert meter.found_inf == 1
    with pytest.raises(NonFiniteError):
        meter.sums()


def test_large_steps_are_exact() -> None:
    meter = LossMeter(CPU)
    meter.check(torch.tensor(math.nan), 2**24 + 1)
    with pytest.raises(NonFiniteError) as caught:
        meter.sums()
    assert caught.value.step == 2**24 + 1


def test_only_finite_steps_change_a_weight(tiny_config: Config) -> None:
    """Both fused optimizers read found_inf; no moment changes either."""
    for name in ("sgd", "adamw"):
        state, batch = state_and_batch(changed(tiny_config, "optim", name=name))
        state.update(batch, 0.01)
        before = [parameter.clone() for parameter in state.model.parameters()]
        state.meter.check(torch.tensor(math.nan), 1)
        state.update(batch, 0.01)
        assert all(torch.equal(a, b) for a, b in zip(before, state.model.parameters(), strict=True))
        with pytest.raises(NonFiniteError):
            state.sync_and_check()


WAITING = {"aten::_local_scalar_dense", "aten::item", "aten::is_nonzero", "aten::equal", "aten::nonzero"}
"""Operators that hand a number from the device to the host."""


class Counted(TorchDispatchMode):
    """Counts the calls of each operator."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls[func._schema.name] += 1
        return func(*args, **kwargs or {})


def state_and_batch(config: Config) -> tuple[TrainState, Any]:
    config = dataclasses.replace(config, input_size=32)
    index = load_index(config.data, None)
    state = new_state(config, index, CPU, data_statistics(index, ("train",)).color)
    photos, _ = build_datasets(state.meta, index)
    return state, make_batch(photos, Samples(0, np.arange(8)))


def test_the_count_sees_what_waits() -> None:
    with Counted() as counted:
        assert torch.ones(()).add(1).item() == 2
        if torch.ones(()) > 0:
            torch.ones(3).nonzero()
    assert counted.calls["aten::_local_scalar_dense"] == 2
    assert counted.calls["aten::nonzero"] == 1


@pytest.mark.parametrize(
    ("optim", "train"),
    [
        ({}, {}),
        ({"name": "adamw"}, {"precision": "bf16"}),
        ({"clip_norm": 1.0}, {}),
        ({}, {"ema": 0.9}),
        ({}, {"accumulate": 3}),
        ({"clip_norm": 1.0}, {"ema": 0.9, "accumulate": 2, "precision": "bf16"}),
        ({"name": "adamw", "clip_norm": 1.0}, {"ema": 0.9, "accumulate": 2, "label_smoothing": 0.1}),
        ({}, {"mixup": 0.2, "logit_adjustment": 1.0, "class_balance": 0.9}),
        ({}, {"cutmix": 1.0, "accumulate": 2}),
    ],
)
def test_no_step_waits_for_the_device(optim: dict[str, Any], train: dict[str, Any], tiny_config: Config) -> None:
    config = changed(changed(tiny_config, "train", **train), "optim", **optim)
    state, batch = state_and_batch(config)
    with Counted() as counted:
        for _ in range(2):  # the first makes the optimizer's state
            state.update(batch, 0.01)
    assert not WAITING & set(counted.calls)
    assert "aten::convolution" in counted.calls
    state.sync_and_check()


def test_no_step_in_fp16_waits_either(tiny_config: Config) -> None:
    """The scale is read where the host waits anyway."""
    state, batch = state_and_batch(changed(tiny_config, "optim", clip_norm=1.0))
    state.precision, state.scaler = "fp16", torch.amp.GradScaler("cpu")
    state.update(batch, 0.01)
    with Counted() as counted:
        state.update(batch, 0.01)
    assert not WAITING & set(counted.calls)
    assert state.loss_scale is None
    state.sync_and_check()
    assert state.loss_scale == state.scaler.get_scale()
