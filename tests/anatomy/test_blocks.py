"""Blocks are found and cut by one rule in own and timm's networks, and are as before afterwards."""

import pytest
import timm
import torch
from torch import Tensor, nn

from corolla.anatomy.blocks import exchangeable, find_blocks, left_out, reordered
from corolla.models.fold_batchnorm import fold_batch_norms
from corolla.models.resnet import ResNet

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def network(model: nn.Module, seed: int = 0) -> nn.Module:
    """Return it with batch norms unlike any fresh one, in eval mode."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return model.eval()


@torch.inference_mode()
def output(model: nn.Module) -> Tensor:
    return model(IMAGES)


@pytest.mark.parametrize(
    ("model", "count"),
    [
        (lambda: ResNet(20, 5, width=0.5), 9),
        (lambda: ResNet(20, 5, width=0.5, shortcut="A", drop_path=0.1), 9),
        (lambda: ResNet(50, 5, width=0.1), 16),
        (lambda: timm.create_model("test_resnet"), 4),
        (lambda: timm.create_model("test_convnext"), 9),
        (lambda: timm.create_model("test_vit", img_size=32), 6),
        (lambda: timm.create_model("dla46_c"), 0),
    ],
)  # fmt: skip
def test_blocks_are_found_in_the_order_of_computing(model: object, count: int) -> None:
    blocks = find_blocks(network(model()), IMAGES)  # pyright: ignore[reportCallIssue]
    assert len(blocks) == count
    assert all(block.is_residual and block.can_be_left_out for block in blocks)
    names = [block.name for block in blocks]
    assert names == sorted(names)


def test_blocks_without_a_shortcut_are_none() -> None:
    """Those of MobileNet whose shape changes have none."""
    model = network(timm.create_model("mobilenetv3_small_050"))
    blocks = find_blocks(model, IMAGES)
    inverted = [name for name, module in model.named_modules() if hasattr(module, "drop_path")]
    assert 0 < len(blocks) < len(inverted)
    assert all(block.keeps_shape for block in blocks)


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize(("depth", "shortcut"), [(20, "A"), (20, "B"), (20, "C"), (50, "B")])
@torch.inference_mode()
def test_a_block_that_is_left_out_is_its_shortcut_alone(depth: int, shortcut: str, folded: bool) -> None:
    model = network(ResNet(depth, 5, width=0.25, shortcut=shortcut))  # pyright: ignore[reportArgumentType]
    expected = network(ResNet(depth, 5, width=0.25, shortcut=shortcut))  # pyright: ignore[reportArgumentType]
    expected.load_state_dict(model.state_dict())
    if folded:
        assert fold_batch_norms(model) > 0
    blocks = find_blocks(model, IMAGES)
    block = expected.get_submodule("layer2.0")
    last = "bn3" if depth == 50 else "bn2"
    nn.init.zeros_(block.get_submodule(last).weight)  # pyright: ignore[reportArgumentType]
    nn.init.zeros_(block.get_submodule(last).bias)  # pyright: ignore[reportArgumentType]
    before = output(model)
    with left_out([each for each in blocks if each.name == "layer2.0"]):
        torch.testing.assert_close(output(model), output(expected), rtol=1e-4, atol=1e-4)
        assert not torch.allclose(output(model), before)
    assert torch.equal(output(model), before)


@torch.inference_mode()
def test_a_plain_pair_that_is_left_out_is_gone() -> None:
    model = network(ResNet(20, 5, width=0.5, shortcut=None))
    blocks = find_blocks(model, IMAGES)
    assert [block.name for block in blocks if not block.can_be_left_out] == ["layer2.0", "layer3.0"]
    expected = network(ResNet(20, 5, width=0.5, shortcut=None))
    expected.load_state_dict(model.state_dict())
    expected.set_submodule("layer2.1", nn.Identity())
    before = output(model)
    with left_out([each for each in blocks if each.name == "layer2.1"]):
        assert torch.equal(output(model), output(expected))
    assert torch.equal(output(model), before)


@torch.inference_mode()
def test_exchanged_blocks_compute_in_each_others_place() -> None:
    model = network(ResNet(20, 5, width=0.5))
    blocks = find_blocks(model, IMAGES)
    assert exchangeable(blocks) == [[0, 1, 2], [4, 5], [7, 8]]
    expected = network(ResNet(20, 5, width=0.5))
    state = model.state_dict()
    swapped = {"layer1.0": "layer1.2", "layer1.2": "layer1.0"}
    expected.load_state_dict({name: state[name.replace(name[:8], swapped.get(name[:8], name[:8]))] for name in state})
    before = output(model)
    with reordered(blocks, [2, 1, 0, *range(3, 9)]):
        assert torch.equal(output(model), output(expected))
        assert not torch.equal(output(model), before)
    assert torch.equal(output(model), before)
    assert [name for name, _ in model.named_children()] == [name for name, _ in expected.named_children()]
