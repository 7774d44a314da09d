"""Batch norms folded into convolutions: fewer modules, the same logits."""

import pytest
import torch
from torch import nn

from corolla.config import ModelConfig
from corolla.models.factory import build_model
from corolla.models.fold_batchnorm import fold_batch_norms

ALL_FOLDED = [
    "resnet18",
    "plain18",
    "resnet50",
    "timm:resnet26d",
    "timm:tf_efficientnet_lite0",
    "timm:regnetx_002",
    "timm:seresnet18",
]


def trained(name: str, size: int = 64) -> nn.Module:
    """A network whose norms are not the identity, as after training."""
    torch.manual_seed(0)
    model = build_model(ModelConfig(name=name), 7, size).eval()
    for norm in norms(model):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        for values, low, high in (
            (norm.weight, 0.5, 1.5),
            (norm.bias, -0.5, 0.5),
            (norm.running_mean, -0.5, 0.5),
            (norm.running_var, 0.5, 2.0),
        ):
            nn.init.uniform_(values, low, high)
    return model


def norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def folded_the_same(model: nn.Module, size: int = 64) -> int:
    """How many norms were folded, once the logits are seen to be those from before."""
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        before = model(images)
    num_folded = fold_batch_norms(model)
    with torch.inference_mode():
        after = model(images)
    assert before.abs().max() > 1e-3
    assert (after - before).abs().max() < 1e-4 * before.abs().max()
    return num_folded


@pytest.mark.parametrize("name", ALL_FOLDED)
def test_every_norm_is_folded(name: str) -> None:
    model = trained(name)
    num_norms = len(norms(model))
    assert num_norms > 0
    assert folded_the_same(model) == num_norms
    assert not norms(model)
    assert fold_batch_norms(model) == 0


@pytest.mark.parametrize("name", ["timm:resnetv2_50", "timm:densenet121"])
def test_norms_before_convolutions_stay(name: str) -> None:
    model = trained(name)
    num_norms = len(norms(model))
    num_folded = folded_the_same(model)
    assert 0 < num_folded < num_norms
    assert len(norms(model)) == num_norms - num_folded


def test_a_network_without_batch_norm_is_left_alone() -> None:
    model = trained("timm:vit_tiny_patch16_224")
    assert folded_the_same(model) == 0


class Shared(nn.Module):
    """One convolution, whose outcome is read twice, and which is used twice."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.bn = nn.BatchNorm2d(3)
        self.other = nn.BatchNorm2d(3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        given = self.conv(images)
        if self.kind == "read twice":
            return self.bn(given) + given
        if self.kind == "used twice":
            return self.bn(given) + self.other(self.conv(2 * images))
        if self.kind == "one norm, used twice":
            return self.bn(self.bn(given))
        return self.bn(given) if images.sum() > 0 else given  # cannot be traced


@pytest.mark.parametrize("kind", ["read twice", "used twice", "one norm, used twice", "depends on the data"])
def test_what_is_shared_or_cannot_be_traced_stays(kind: str) -> None:
    model = Shared(kind).eval()
    nn.init.uniform_(model.bn.weight, 0.5, 1.5)
    assert folded_the_same(model, 8) == 0
    assert len(norms(model)) == 2


def test_the_weights_have_their_layout_still() -> None:
    """channels_last is kept, and what was a parameter is one."""
    model = trained("resnet18").to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    assert folded_the_same(model) == 20
    weight = model.get_parameter("layer1.0.conv1.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert model.get_parameter("layer1.0.conv1.bias").shape == (64,)
