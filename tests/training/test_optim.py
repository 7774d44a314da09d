"""The learning rate is a pure function; plateau and step agree with torch's schedulers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from corolla.config import OptimConfig
from corolla.training.optim import learning_rate, make_optimizer, num_plateaus


@given(st.lists(st.floats(0.01, 10), max_size=60), st.integers(0, 9))
def test_plateau_is_torchs(losses: list[float], patience: int) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=patience, eps=0)
    for loss in losses:
        scheduler.step(loss)
    assert optimizer.param_groups[0]["lr"] == 0.5 ** num_plateaus(losses, patience)


def test_step_falls_at_30_60_90_of_120() -> None:
    config = OptimConfig(schedule="step", lr=1.0)
    rates = [learning_rate(config, epoch * 10, steps_per_epoch=10, epochs=120) for epoch in range(120)]
    assert [epoch for epoch in range(1, 120) if rates[epoch] < rates[epoch - 1]] == [30, 60, 90]
    assert rates[-1] == pytest.approx(1e-3)


def test_cosine_with_warmup() -> None:
    config = OptimConfig(schedule="cosine", lr=0.4, warmup_epochs=2)
    rates = [learning_rate(config, step, steps_per_epoch=5, epochs=12) for step in range(60)]
    assert rates[:10] == pytest.approx([0.4 * (n + 1) / 11 for n in range(10)])
    assert rates[10] == pytest.approx(0.4)
    assert rates[35] == pytest.approx(0.2)
    assert rates[-1] == pytest.approx(0.4 * 0.5 * (1 + math.cos(math.pi * 49 / 50)))
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_plateau_looks_at_finished_epochs_only() -> None:
    config = OptimConfig(schedule="plateau", lr=1.0, patience=1, factor=0.1)
    rate = [
        learning_rate(config, 0, steps_per_epoch=1, epochs=9, val_losses=losses)
        for losses in ([], [1.0], [1.0, 1.0], [1.0, 1.0, 1.0])
    ]
    assert rate == pytest.approx([1, 1, 1, 0.1])


def test_norms_and_biases_are_not_decayed_when_asked() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
    optimizer = make_optimizer(model, OptimConfig(lr=1.0, weight_decay=0.5, decay_norms=False, momentum=0))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for parameter in model.parameters():
        assert (parameter == (0.5 if parameter.ndim > 1 else 1.0)).all()


def test_adamw_and_nesterov() -> None:
    model = nn.Linear(2, 2)
    assert isinstance(make_optimizer(model, OptimConfig(name="adamw")), torch.optim.AdamW)
    assert make_optimizer(model, OptimConfig(nesterov=True)).param_groups[0]["nesterov"]
