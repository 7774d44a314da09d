"""The learning rate is a pure function; plateau and step agree with torch's schedulers."""

import math

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from corolla.config import OptimConfig
from corolla.models.resnet import ResNet
from corolla.training.optim import (
    complete_momentum,
    make_optimizer,
    restore_optimizer,
    set_lr,
)
from corolla.training.schedule import learning_rate, num_plateaus, scale_lr


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


@pytest.mark.parametrize(("epochs", "start"), [(12, 0.25), (3, 0.3), (40, 0.5)])
def test_one_cycle_is_torchs(epochs: int, start: float) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.4, total_steps=epochs * 5, pct_start=start, cycle_momentum=False, three_phase=False
    )
    config = OptimConfig(schedule="one-cycle", lr=0.4, one_cycle_start=start)
    for step in range(epochs * 5):
        expected = optimizer.param_groups[0]["lr"]
        assert learning_rate(config, step, steps_per_epoch=5, epochs=epochs) == pytest.approx(expected, rel=1e-6)
        optimizer.step()
        if step < epochs * 5 - 1:
            scheduler.step()


def test_one_cycle_has_its_own_warm_up() -> None:
    """One that a file asks for beside it has no effect, as its note says."""
    plain, warm = OptimConfig(schedule="one-cycle"), OptimConfig(schedule="one-cycle", warmup_epochs=1)
    for step in (0, 4, 9):
        assert learning_rate(warm, step, steps_per_epoch=5, epochs=2) == (
            learning_rate(plain, step, steps_per_epoch=5, epochs=2)
        )


def test_the_rate_is_scaled_with_the_batch() -> None:
    config = OptimConfig(lr=0.1, lr_batch=256, schedule="cosine")
    assert scale_lr(config, 1024).lr == pytest.approx(0.4)
    assert scale_lr(config, 64).lr == pytest.approx(0.025)
    off = OptimConfig(lr=0.1)
    assert scale_lr(off, 1024) is off


def decayed(model: nn.Module) -> set[str]:
    groups = make_optimizer(model, OptimConfig(weight_decay=0.5, decay_norms=False)).param_groups
    found = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    return {name for name, p in model.named_parameters() if id(p) in found}


def test_gains_of_convolutions_are_not_decayed_either() -> None:
    """They are C x 1 x 1 x 1 in networks without batch norm."""
    with torch.device("meta"):
        model = timm.create_model("nf_resnet26", num_classes=5)
    weights = {name for name, _ in model.named_parameters() if name.endswith(".weight")}
    assert decayed(model) == weights
    assert any(name.endswith(".gain") for name, _ in model.named_parameters())


def test_position_embeddings_are_not_decayed_either() -> None:
    model = timm.create_model("test_vit", num_classes=5)
    spared = {"pos_embed", "cls_token"} & dict(model.named_parameters()).keys()
    assert spared
    assert not decayed(model) & spared
    assert "blocks.0.attn.qkv.weight" in decayed(model)


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


def layer_rates(model: nn.Module, config: OptimConfig) -> dict[str, float]:
    """Return each parameter's learning rate, where the step's is 1."""
    optimizer = make_optimizer(model, config)
    set_lr(optimizer, 1.0)
    found = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    return {name: found[id(p)] for name, p in model.named_parameters()}


@pytest.mark.parametrize(("depth", "stages"), [(18, 4), (20, 3)])
def test_each_layer_of_an_own_net_learns_slower_than_the_next(depth: int, stages: int) -> None:
    found = layer_rates(ResNet(depth, 5, stem="3x3"), OptimConfig(layer_decay=0.5, head_lr=3))
    exponents = {"conv1": stages + 1, "bn1": stages + 1}
    exponents |= {f"layer{number}": stages + 1 - number for number in range(1, stages + 1)}
    for name, rate in found.items():
        top = name.split(".")[0]
        assert rate == (3.0 if top == "fc" else 0.5 ** exponents[top]), name


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_convnext", "nf_resnet26", "tf_efficientnet_lite0"])
def test_layer_decay_reaches_timm(name: str) -> None:
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=5)
    found = list(layer_rates(model, OptimConfig(layer_decay=0.9)).values())
    assert found[-1] == 1
    assert min(found) == found[0] < 0.9**2


def test_moments_find_their_parameters_in_other_groups() -> None:
    """As when a run goes on from another one's checkpoint with layer decay switched on."""
    torch.manual_seed(0)
    model = ResNet(18, 5)
    before, after = OptimConfig(), OptimConfig(layer_decay=0.7, decay_norms=False)
    trained = make_optimizer(model, before)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    trained.step()
    restored = make_optimizer(model, after)
    restore_optimizer(restored, trained.state_dict(), make_optimizer(model, before))
    for parameter in model.parameters():
        assert torch.equal(restored.state[parameter]["momentum_buffer"], trained.state[parameter]["momentum_buffer"])
    assert len(restored.param_groups) == 12


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_moments_take_the_memory_order_of_their_parameters(name: str) -> None:
    """As when a run in channels-last order begins from a checkpoint of one that was not; CUDA asks for it."""
    config = OptimConfig(name=name)  # pyright: ignore[reportArgumentType]
    models = [nn.Conv2d(3, 8, 3, bias=False), nn.Conv2d(3, 8, 3, bias=False).to(memory_format=torch.channels_last)]  # pyright: ignore[reportCallIssue]
    trained, restored = (make_optimizer(model, config) for model in models)
    models[0].weight.grad = torch.randn(8, 3, 3, 3)
    trained.step()
    restore_optimizer(restored, trained.state_dict(), make_optimizer(models[1], config))
    state, expected = restored.state[models[1].weight], trained.state[models[0].weight]
    for key, value in expected.items():
        assert torch.equal(state[key], value)
        assert value.ndim == 0 or state[key].is_contiguous(memory_format=torch.channels_last)


def test_adamw_and_nesterov() -> None:
    model = nn.Linear(2, 2)
    assert isinstance(make_optimizer(model, OptimConfig(name="adamw")), torch.optim.AdamW)
    assert make_optimizer(model, OptimConfig(nesterov=True)).param_groups[0]["nesterov"]


def test_a_first_step_that_is_left_out_leaves_no_trace() -> None:
    """As fp16 does it while its scale is too large; torch's own buffers would hold what was in their memory."""
    weights: list[torch.Tensor] = []
    for left_out in (True, False):
        torch.manual_seed(0)
        model = nn.Linear(64, 64)
        optimizer = make_optimizer(model, OptimConfig(lr=0.1))
        images = torch.randn(8, 64)
        for found_inf in (1.0, 0.0, 0.0) if left_out else (0.0, 0.0):
            optimizer.zero_grad()
            model(images).square().mean().backward()
            complete_momentum(optimizer)
            optimizer.found_inf = torch.tensor(found_inf)  # pyright: ignore[reportAttributeAccessIssue]
            optimizer.step()
        weights.append(model.weight.detach().clone())
    assert torch.equal(*weights)
