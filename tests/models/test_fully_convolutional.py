"""The fully convolutional form against the ordinary forward pass."""

import pytest
import torch
from torch import nn

from corolla.config import ModelConfig
from corolla.errors import UserError
from corolla.models.factory import build_model
from corolla.models.fully_convolutional import FullyConvolutional, takes_one_size

SIZE = 64


def built(name: str) -> nn.Module:
    torch.manual_seed(0)
    model = build_model(ModelConfig(name=name), 5, SIZE).eval()
    for module in model.modules():  # fresh ones are the identity, which hides mistakes
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return model


@pytest.mark.parametrize("size", [SIZE, 90])
@pytest.mark.parametrize(
    "name",
    ["resnet18", "resnet50", "plain18", "resnet20", "timm:resnet10t", "timm:tf_efficientnet_lite0", "timm:regnetx_002"],
)
@torch.inference_mode()
def test_the_mean_of_the_scores_is_the_score_of_the_mean(name: str, size: int) -> None:
    model = built(name)
    dense = FullyConvolutional(model, SIZE, name=name)
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    logits = model(images)
    assert dense.by_position
    torch.testing.assert_close(dense(images), logits, rtol=1e-4, atol=1e-4 * float(logits.abs().max()))


@pytest.mark.parametrize("name", ["timm:convnext_atto", "timm:mobilenetv3_small_050"])
@torch.inference_mode()
def test_a_head_with_more_than_a_linear_layer_is_kept(name: str) -> None:
    model = built(name)
    dense = FullyConvolutional(model, SIZE, name=name)
    images = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    assert not dense.by_position
    assert torch.equal(dense(images), model(images))


@pytest.mark.parametrize("name", ["timm:vit_tiny_patch16_224", "timm:mixer_s32_224"])
def test_a_network_without_a_feature_map_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=rf"^--tta multi-scale: {name} has no feature map of any size; take flip"):
        FullyConvolutional(built(name), SIZE, name=name)


def test_which_networks_take_one_size_alone() -> None:
    assert takes_one_size(built("timm:vit_tiny_patch16_224"))
    assert not takes_one_size(built("timm:resnet10t"))
    assert not takes_one_size(built("resnet18"))
