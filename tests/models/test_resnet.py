import math

import pytest
import timm
import torch
import torchvision
from timm.layers.drop import DropPath
from torch import nn

from corolla.config.networks import BOTTLENECK_DEPTHS
from corolla.models.layers import Shortcut, Stem
from corolla.models.resnet import CIFAR_STAGES, STAGES, Init, ResNet

VARIANTS: list[tuple[int, Shortcut | None]] = [
    (18, None),
    (34, None),
    (18, "A"),
    (18, "B"),
    (18, "C"),
    (34, "B"),
    (50, "A"),
    (50, "B"),
    (50, "C"),
    (101, "B"),
    (152, "B"),
    (20, None),
    (20, "A"),
    (56, "C"),
    (110, "B"),
]


def num_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("depth", STAGES)
def test_as_many_parameters_as_torchvision_and_timm(depth: int) -> None:
    with torch.device("meta"):
        ours = ResNet(depth, 1000)
        theirs = timm.create_model("resnet26") if depth == 26 else torchvision.models.get_model(f"resnet{depth}")
    assert num_parameters(ours) == num_parameters(theirs)
    shapes = [{name: tensor.shape for name, tensor in model.state_dict().items()} for model in (ours, theirs)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_small_image_nets_have_the_papers_parameters(depth: int, millions: float) -> None:
    """Table 6 of He et al. 2015, for 10 classes and shortcut A; its 110 layers are rounded to 1.7."""
    with torch.device("meta"):
        model, plain = ResNet(depth, 10, shortcut="A"), ResNet(depth, 10, shortcut=None)
    assert num_parameters(model) / 1e6 == pytest.approx(millions, abs=0.006 if millions < 1 else 0.05)
    assert num_parameters(plain) == num_parameters(model)
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(layers) == depth


def test_small_image_nets_keep_the_resolution_and_take_a_width() -> None:
    """Section 4.2: maps of 32, 16 and 8 px with 16, 32 and 64 channels."""
    images = torch.randn(1, 3, 32, 32, device="meta")
    shapes = {}
    with torch.device("meta"):
        for width in (1, 2):
            for stem in ("7x7", "small-pool"):
                model = ResNet(20, 5, width=width, stem=stem)
                shapes.setdefault(width, set()).add(tuple(model.forward_features(images).shape))
                maps = model.maxpool(model.conv1(images))
                assert maps.shape == (1, 16 * width, 32, 32)
    assert shapes == {1: {(1, 64, 8, 8)}, 2: {(1, 128, 8, 8)}}
    assert list(CIFAR_STAGES.values()) == [(n, n, n) for n in (3, 5, 7, 9, 18)]


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_computes_what_torchvision_computes(depth: int) -> None:
    torch.manual_seed(0)
    ours, theirs = ResNet(depth, 12), torchvision.models.get_model(f"resnet{depth}", num_classes=12)
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 64, 64)
    for training in (True, False):  # batch statistics, then the running ones they left behind
        torch.testing.assert_close(ours.train(training)(images), theirs.train(training)(images))


@pytest.mark.parametrize(("depth", "shortcut"), VARIANTS)
def test_every_parameter_learns(depth: int, shortcut: Shortcut | None) -> None:
    with torch.device("meta"):
        model = ResNet(depth, 5, shortcut=shortcut)
        model(torch.randn(2, 3, 32, 32)).sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("depth", [18, 34])
def test_zero_padding_costs_no_parameters(depth: int) -> None:
    plain, padded = ResNet(depth, 10, shortcut=None), ResNet(depth, 10, shortcut="A")
    assert plain.state_dict().keys() == padded.state_dict().keys()


@pytest.mark.parametrize("depth", [18, 50])
def test_projections_stand_where_they_belong(depth: int) -> None:
    def projections(shortcut: Shortcut) -> int:
        return sum(name.endswith("downsample.0.weight") for name in ResNet(depth, 10, shortcut=shortcut).state_dict())

    assert projections("A") == 0
    assert projections("B") == (4 if depth in BOTTLENECK_DEPTHS else 3)  # bottlenecks widen the stem's 64 channels too
    assert projections("C") == sum(STAGES[depth])


def test_zero_padding_passes_every_second_pixel_on_and_fills_with_zeros() -> None:
    block = ResNet(18, 10, shortcut="A").eval().get_submodule("layer2.0")
    nn.init.zeros_(block.get_submodule("bn2").weight)  # type: ignore[arg-type]  # only the shortcut is left
    x = torch.rand(1, 64, 8, 8)
    out = block(x)
    assert torch.equal(out[:, :64], x[:, :, ::2, ::2])
    assert out.shape == (1, 128, 4, 4)
    assert not out[:, 64:].any()


def test_resnet_d_computes_what_timm_computes() -> None:
    torch.manual_seed(0)
    ours, theirs = ResNet(50, 12, stem="3x3", avg_shortcut=True), timm.create_model("resnet50d", num_classes=12)
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 50, 70)  # odd sides within: the pool's edges
    for training in (True, False):
        torch.testing.assert_close(ours.train(training)(images), theirs.train(training)(images))


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("stem", ["3x3", "small", "small-pool"])
def test_every_parameter_of_the_tweaked_nets_learns(depth: int, stem: Stem) -> None:
    with torch.device("meta"):
        model = ResNet(depth, 5, stem=stem, avg_shortcut=True, activation="silu", width=0.4)
        model(torch.randn(2, 3, 32, 32)).sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    assert {parameter.shape[0] % 8 for name, parameter in model.named_parameters() if not name.startswith("fc.")} <= {
        0,
        12 % 8,  # half of a stem of 24
    }
    assert model.fc.in_features == {18: 208, 50: 4 * 208}[depth]  # 0.4 x 512, rounded


def test_zero_gamma_starts_as_the_shortcuts_alone() -> None:
    torch.manual_seed(0)
    model = ResNet(50, 5, zero_gamma=True).eval()
    block = model.get_submodule("layer1.1")
    x = torch.rand(1, 256, 8, 8)
    assert torch.equal(block(x), x)


def test_stochastic_depth_and_dropout_are_for_training_alone() -> None:
    torch.manual_seed(0)
    off = ResNet(18, 5).eval()
    on = ResNet(18, 5, drop_path=0.4, dropout=0.5).eval()
    on.load_state_dict(off.state_dict())
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(on(images), off(images))
    assert not torch.equal(on.train()(images), off.train()(images))
    rates = [round(module.drop_prob, 4) for module in on.modules() if isinstance(module, DropPath)]
    assert rates == [round(0.4 * n / 7, 4) for n in range(1, 8)]


@pytest.mark.parametrize("init", ["he", "he-fan-in", "xavier"])
def test_initial_weights_have_the_spread_of_the_papers(init: Init) -> None:
    torch.manual_seed(0)
    weight = ResNet(18, 10, init=init).get_submodule("layer4.0.conv1").weight  # 512 from 256 channels, 3×3
    assert isinstance(weight, torch.Tensor)
    variance = {"he": 2 / (512 * 9), "he-fan-in": 2 / (256 * 9), "xavier": 2 / (256 * 9 + 512 * 9)}[init]
    assert weight.std().item() == pytest.approx(math.sqrt(variance), rel=0.01)
    largest = weight.abs().max().item() / math.sqrt(variance)
    assert largest > 4 if init != "xavier" else largest == pytest.approx(math.sqrt(3), rel=0.01)  # normal; uniform


@pytest.mark.parametrize(("depth", "shortcut"), [(18, "A"), (50, "B")])
def test_channels_last_under_bf16_autocast(depth: int, shortcut: Shortcut | None) -> None:
    torch.manual_seed(0)
    model = ResNet(depth, 7, shortcut=shortcut).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(2, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        features = model.forward_features(images)
        logits = model(images)
    assert features.is_contiguous(memory_format=torch.channels_last)
    assert logits.shape == (2, 7)
    assert logits.isfinite().all()


def test_any_input_size_and_the_features_of_it() -> None:
    model = ResNet(18, 7).eval()
    assert model(torch.randn(1, 3, 50, 70)).shape == (1, 7)
    assert model.forward_features(torch.randn(1, 3, 50, 70)).shape == (1, 512, 2, 3)


def test_traces_without_a_graph_break() -> None:
    model = ResNet(18, 7, shortcut="A").eval()
    images = torch.randn(1, 3, 32, 32)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images), model(images))


def test_the_paper_has_no_deep_plain_nets() -> None:
    with pytest.raises(ValueError, match="no plain network of 50 layers"):
        ResNet(50, 10, shortcut=None)
