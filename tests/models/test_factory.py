import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from corolla.config import ModelConfig
from corolla.config.experiments import load_config
from corolla.errors import UserError
from corolla.models.factory import OWN_MODELS, build_model, classifier_names, multiply_adds, num_parameters


@pytest.mark.parametrize("name", OWN_MODELS)
def test_own_nets_give_logits(name: str) -> None:
    with torch.device("meta"):
        model = build_model(ModelConfig(name=name), 9, 32)
        assert model(torch.randn(2, 3, 32, 32)).shape == (2, 9)
    assert classifier_names(model) == ("fc",)


@pytest.mark.parametrize(
    ("config", "giga"),
    [
        (ModelConfig(name="plain18"), 1.8),
        (ModelConfig(name="resnet18"), 1.8),
        (ModelConfig(name="plain34"), 3.6),
        (ModelConfig(name="resnet34", shortcut="A"), 3.6),
        (ModelConfig(name="resnet34"), 3.6),
        (ModelConfig(name="resnet50", stride_in_1x1=True), 3.8),
        (ModelConfig(name="resnet50"), 4.1),
        (ModelConfig(name="resnet101", stride_in_1x1=True), 7.6),
        (ModelConfig(name="resnet152", stride_in_1x1=True), 11.3),
    ],
)
def test_multiply_adds_are_the_papers(config: ModelConfig, giga: float) -> None:
    """Table 1 of He et al. 2015, whose figures are partly cut and partly rounded; 4.1 is torchvision's."""
    with torch.device("meta"):
        model = build_model(config, 1000, 224)
    assert multiply_adds(model, 224) / 1e9 == pytest.approx(giga, abs=0.07)


def test_the_baseline_of_bag_of_tricks_is_the_first_resnet_50() -> None:
    """3.86 G multiply-adds at 224 px with 1,000 classes, before any tweak; ResNet-B has 4.09."""
    config = load_config(Path(__file__).parents[2] / "configs" / "bag_of_tricks.toml").model
    for design, giga in ((config, 3.858), (dataclasses.replace(config, stride_in_1x1=False), 4.089)):
        with torch.device("meta"):
            model = build_model(design, 1000, 224)
        assert multiply_adds(model, 224) / 1e9 == pytest.approx(giga, abs=0.001)


def test_counting_leaves_the_model_alone() -> None:
    model = build_model(ModelConfig(name="resnet18"), 5, 32)
    assert multiply_adds(model, 64) < multiply_adds(model, 128)
    assert model.training
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}
    assert num_parameters(model) == 11_176_512 + 5 * 513  # torchvision's without its classifier


def test_the_seed_is_the_callers() -> None:
    weights = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        weights.append(build_model(ModelConfig(name="plain18"), 5, 32).get_submodule("fc").weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(
    ("name", "classifiers"),
    [
        ("timm:tf_efficientnet_lite0", ("classifier",)),
        ("timm:test_convnext", ("head.fc",)),
        ("timm:test_vit", ("head",)),
        ("timm:deit_tiny_distilled_patch16_224", ("head", "head_dist")),
    ],
)
def test_timm_models_at_another_input_size(name: str, classifiers: tuple[str, ...]) -> None:
    model = build_model(ModelConfig(name=name), 104, 96).eval()
    assert model(torch.randn(1, 3, 96, 96)).shape == (1, 104)
    assert classifier_names(model) == classifiers


@pytest.mark.parametrize("name", ["timm:convnext_tiny", "timm:resnetv2_50x1_bit", "timm:vit_small_patch16_224"])
def test_timm_models_of_the_documentation(name: str) -> None:
    with torch.device("meta"):
        model = build_model(ModelConfig(name=name), 104, 224)
    assert num_parameters(model) > 20_000_000
    assert multiply_adds(model, 224) > 4 * 10**9


def test_dropout_and_stochastic_depth_reach_timm() -> None:
    model = build_model(ModelConfig(name="timm:test_vit", dropout=0.3, drop_path=0.2), 10, 160)
    text = str(model)
    assert "Dropout(p=0.3" in text
    assert "DropPath(drop_prob=0.200" in text


def built(**settings: Any) -> nn.Module:
    with torch.device("meta"):
        return build_model(ModelConfig(**settings), 10, 64)


@pytest.mark.parametrize(
    "name",
    [
        "resnet50d", "seresnet50", "resnext50_32x4d", "wide_resnet50_2", "ecaresnet50d", "nf_resnet26", "nf_resnet50",
        "nf_regnet_b0", "nfnet_f0", "dm_nfnet_f0",
    ],
)  # fmt: skip
def test_timm_nets_of_the_help_get_gradients_everywhere(name: str) -> None:
    model = built(name=f"timm:{name}")
    model(torch.randn(2, 3, 64, 64, device="meta")).sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("name", ["resnet18", "timm:resnet18"])
def test_small_stems_keep_the_resolution(name: str) -> None:
    sides = {}
    for stem in ("7x7", "small-pool", "small"):
        features = built(name=name, stem=stem).forward_features(torch.randn(1, 3, 64, 64, device="meta"))  # pyright: ignore[reportCallIssue]
        sides[stem] = features.shape[-1]
    assert sides == {"7x7": 2, "small-pool": 4, "small": 8}
    assert built(name=name, stem="small").get_parameter("conv1.weight").shape == (64, 3, 3, 3)


def test_a_small_stem_changes_a_timm_net_nowhere_else() -> None:
    states = []
    for stem in ("7x7", "small"):
        torch.manual_seed(0)
        states.append(build_model(ModelConfig(name="timm:resnet18", stem=stem), 10, 64).state_dict())
    assert [name for name, tensor in states[0].items() if not torch.equal(tensor, states[1][name])] == ["conv1.weight"]


@pytest.mark.parametrize("name", ["resnet18", "timm:resnet18", "timm:nf_resnet26", "timm:tf_efficientnet_lite0"])
def test_the_activation_is_replaced_everywhere(name: str) -> None:
    kinds = [
        {type(module).__name__ for module in built(name=name, activation=kind).modules()}
        & {"ReLU", "ReLU6", "SiLU", "GELU"}  # by name, as timm has a GELU of its own
        for kind in ("relu", "silu", "gelu")
    ]
    assert kinds == [{"ReLU"}, {"SiLU"}, {"GELU"}]


@pytest.mark.parametrize(
    ("name", "setting", "zeros"),
    [
        ("resnet18", None, 0), ("resnet18", True, 8), ("resnet50", True, 16),
        ("timm:resnet18", None, 8), ("timm:resnet18", False, 0),
    ],
)  # fmt: skip
def test_zero_gamma_is_the_last_norm_of_each_block(name: str, setting: bool | None, zeros: int) -> None:
    model = build_model(ModelConfig(name=name, zero_gamma=setting), 10, 64)
    found = [name for name, parameter in model.named_parameters() if not parameter.any()]
    last = ".bn3.weight" if name == "resnet50" else ".bn2.weight"
    assert len([name for name in found if name.endswith(last)]) == zeros
    assert [name for name in found if not name.endswith((last, ".bias"))] == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet35", "no model is called 'resnet35': did you mean resnet"),
        ("plain50", "did you mean plain"),
        ("convnext_tiny", "did you mean timm:convnext_tiny"),
        ("timm:convnxt_tiny", "did you mean timm:convnext_tiny"),
        ("timm:resnet50.a1_in1k", "--model.name timm:resnet50 --model.pretrained-tag a1_in1k"),
        ("§", "choose plain18, "),
    ],
)
def test_an_unknown_name_is_one_line_that_helps(name: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        build_model(ModelConfig(name=name), 10, 64)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("timm:test_vit", {"stem": "small"}),
        ("timm:test_vit", {"freeze_norms": True}),
        ("timm:test_vit", {"zero_gamma": True}),
        ("timm:vgg11", {"activation": "silu"}),
        ("timm:vgg11", {"drop_path": 0.1}),
        ("timm:vgg11", {"drop_path": 0.1, "activation": "silu", "stem": "small-pool", "freeze_norms": True}),
        ("timm:hrnet_w18_small", {"drop_path": 0.1}),
    ],
)
def test_settings_that_a_network_cannot_use_come_back(name: str, settings: dict[str, Any]) -> None:
    """And the network is the one without them."""
    ignored: list[str] = []
    with torch.device("meta"):
        model = build_model(ModelConfig(name=name, **settings), 10, 64, ignored=ignored)
    assert set(ignored) == {f"model.{key}" for key in settings}
    assert str(model) == str(built(name=name))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("timm:resnet10t", {"stem": "small", "freeze_norms": True, "zero_gamma": True, "activation": "silu"}),
        ("resnet18", {"stem": "small", "freeze_norms": True, "zero_gamma": True, "activation": "silu"}),
        ("timm:test_vit", {"drop_path": 0.1, "dropout": 0.1}),
        ("timm:test_vit", {}),
    ],
)
def test_settings_that_a_network_uses_do_not(name: str, settings: dict[str, Any]) -> None:
    ignored: list[str] = []
    with torch.device("meta"):
        build_model(ModelConfig(name=name, **settings), 10, 64, ignored=ignored)
    assert ignored == []


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("plain18", {"drop_path": 0.1, "zero_gamma": True, "avg_shortcut": True, "shortcut": "A"}),
        ("resnet18", {"stride_in_1x1": True}),
        ("timm:resnet10t", {"shortcut": "C", "init": "xavier", "stride_in_1x1": True, "width": 0.5, "stem": "3x3"}),
    ],
)
def test_settings_of_other_networks_change_nothing(name: str, settings: dict[str, Any]) -> None:
    """config/checks.py speaks of them, by the name alone; here they must not make an error, or another network."""
    states = []
    for each in ({}, settings):
        torch.manual_seed(0)
        states.append(build_model(ModelConfig(name=name, **each), 10, 64).state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(tensor, states[1][key]) for key, tensor in states[0].items())
