"""Adaptive gradient clipping: each unit by its own weights' norm, the classifier never, and training with it."""

import dataclasses
import math

import pytest
import timm
import torch
from timm.utils.agc import unitwise_norm
from torch import nn

from corolla.config import Config, ModelConfig, OptimConfig
from corolla.models.resnet import ResNet
from corolla.training.loop import TrainingFailed
from corolla.training.optim import clip_gradients
from corolla.training.train import train


def with_gradients(size: float) -> nn.Module:
    torch.manual_seed(0)
    model = ResNet(18, 5)
    for parameter in model.parameters():
        parameter.grad = size * torch.randn_like(parameter)
    return model


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_each_unit_is_clipped_to_its_share_and_the_classifier_is_not() -> None:
    model = with_gradients(100.0)
    before = gradients(model)
    clip_gradients(model, OptimConfig(agc=0.01))
    for name, parameter in model.named_parameters():
        after = gradients(model)[name]
        if name.startswith("fc."):
            assert torch.equal(after, before[name])
        else:
            bound = 0.01 * unitwise_norm(parameter.detach()).clamp(min=1e-3)
            torch.testing.assert_close(unitwise_norm(after), bound.expand_as(unitwise_norm(after)), rtol=1e-4, atol=0)
            direction = nn.functional.cosine_similarity(after.flatten(), before[name].flatten(), dim=0)
            assert direction > 0.9


def test_the_gains_of_a_network_without_norms_are_clipped_as_whole_vectors() -> None:
    """timm has them as C x 1 x 1 x 1, of which each number would count as a unit."""
    torch.manual_seed(0)
    model = timm.create_model("nf_resnet26", num_classes=5).to(memory_format=torch.channels_last)
    for parameter in model.parameters():
        parameter.grad = 100 * torch.randn_like(parameter)
    before = gradients(model)
    clip_gradients(model, OptimConfig(agc=0.01))
    gains = {name: p for name, p in model.named_parameters() if name.endswith("conv1.gain")}
    assert gains
    for name, gain in gains.items():
        assert gain.grad is not None
        assert gain.grad.norm().item() == pytest.approx(0.01 * gain.norm().item(), rel=1e-4)
        torch.testing.assert_close(gain.grad / gain.grad.norm(), before[name] / before[name].norm())


def test_small_gradients_are_left_alone() -> None:
    model = with_gradients(1e-6)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
    before = gradients(model)
    norm = clip_gradients(model, OptimConfig(agc=0.01))
    after = gradients(model)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert norm.item() == pytest.approx(math.sqrt(sum(g.square().sum().item() for g in before.values())), rel=1e-4)


@pytest.mark.parametrize("bad", [math.inf, math.nan])
@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_a_gradient_that_is_not_finite_shows(bad: float, clip_norm: float) -> None:
    model = with_gradients(1.0)
    gradient = model.get_parameter("layer1.0.conv1.weight").grad
    assert gradient is not None
    gradient[0, 0, 0, 0] = bad
    assert not clip_gradients(model, OptimConfig(agc=0.01, clip_norm=clip_norm)).isfinite()


def nf_config(config: Config, model: str, seed: int, agc: float, epochs: int) -> Config:
    return dataclasses.replace(
        config,
        run_name=f"agc{agc}",
        model=ModelConfig(name=model),
        optim=OptimConfig(lr=0.1, schedule="cosine", weight_decay=0.0, agc=agc),
        train=dataclasses.replace(config.train, epochs=epochs, seed=seed, precision="fp32"),
    )


def assert_agc_makes_the_difference(config: Config, model: str, seed: int, epochs: int) -> None:
    """At batch 8 and lr 0.1, without normalisation: the loss is not finite any more, or a fifth of its chance value."""
    with pytest.raises(TrainingFailed, match="loss is"):
        train(nf_config(config, model, seed, 0.0, epochs))
    last = train(nf_config(config, model, seed, 0.02, epochs)).metrics[-1]
    assert last["train_loss"] < math.log(5) / 5
    assert last["top1"] > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_small_net_without_norms_diverges_without_agc_and_learns_with_it(tiny_config: Config, seed: int) -> None:
    assert_agc_makes_the_difference(tiny_config, "timm:test_nfnet", seed, epochs=12)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_nf_resnet26_diverges_without_agc_and_learns_with_it(tiny_config: Config, seed: int) -> None:
    """Brock et al. 2021, Figure 2: clipping allows the rates and batches that batch norm does."""
    assert_agc_makes_the_difference(tiny_config, "timm:nf_resnet26", seed, epochs=6)
