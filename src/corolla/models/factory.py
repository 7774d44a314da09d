"""From a model's name to a network with random weights: He et al.'s own nets, or any of timm's."""

import copy
import difflib
import re

import timm
import torch
from timm.models import get_pretrained_cfg
from timm.models.resnet import ResNet as TimmResNet
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from corolla.config import ModelConfig
from corolla.errors import UserError
from corolla.models.layers import shrink_stem
from corolla.models.resnet import BOTTLENECK_DEPTHS, STAGES, ResNet

TIMM_PREFIX = "timm:"
OWN_MODELS = ("plain18", "plain34", *(f"resnet{depth}" for depth in STAGES))


def build_model(config: ModelConfig, num_classes: int, input_size: int) -> nn.Module:
    """The architecture that `config` names, with random weights drawn from torch's global generator.

    The model takes normalised images (N, 3, input_size, input_size) and gives logits (N, num_classes). Convolutional
    nets take other sizes too; a timm model of fixed size (most ViTs) is built for `input_size`.

    Raises:
        UserError: The name is unknown (the nearest valid ones are given), or a setting has no effect on that model.
    """
    if config.name.startswith(TIMM_PREFIX):
        model = _timm_model(config, num_classes, input_size)
    elif config.name in OWN_MODELS:
        model = _own_model(config, num_classes)
    else:
        raise UserError(_unknown(config.name))
    if config.weights != "none" and config.zero_gamma is not None:
        raise UserError("--model.zero-gamma is for random weights: leave it out, or leave out --model.weights")
    if config.freeze_norms and not any(isinstance(module, BatchNorm) for module in model.modules()):
        _refuse(config, "freeze_norms")
    return model


def _own_model(config: ModelConfig, num_classes: int) -> ResNet:
    depth = int(re.sub(r"\D", "", config.name))
    plain = config.name.startswith("plain")
    if depth not in BOTTLENECK_DEPTHS:
        _refuse(config, "stride_in_1x1")
    if plain:
        _refuse(config, "shortcut", "avg_shortcut", "zero_gamma", "drop_path")
    if config.shortcut == "A" and config.avg_shortcut:
        raise UserError("--model.avg-shortcut has no effect with --model.shortcut A, which has no 1x1: leave it out")
    return ResNet(
        depth,
        num_classes,
        shortcut=None if plain else config.shortcut,
        init=config.init,
        stride_in_1x1=config.stride_in_1x1,
        stem=config.stem,
        avg_shortcut=config.avg_shortcut,
        activation=config.activation or "relu",
        width=config.width,
        zero_gamma=bool(config.zero_gamma),
        dropout=config.dropout,
        drop_path=config.drop_path,
    )


def _timm_model(config: ModelConfig, num_classes: int, input_size: int) -> nn.Module:
    _refuse(config, "shortcut", "init", "stride_in_1x1", "avg_shortcut", "width")
    model = create_timm_model(
        config.name.removeprefix(TIMM_PREFIX),
        input_size,
        num_classes=num_classes,
        drop_rate=config.dropout or None,  # None: timm's default, and no error from models without the option
        drop_path_rate=config.drop_path or None,
        act_layer=config.activation,
        zero_init_last=config.zero_gamma,
    )
    if config.stem == "3x3":
        raise UserError("--model.stem 3x3 is for the own ResNets: timm has it in timm:resnet50d and its like")
    if not isinstance(model, TimmResNet):
        _refuse(config, "stem")
    elif config.stem != "7x7":
        shrink_stem(model, pool=config.stem == "small-pool")
    return model


def create_timm_model(architecture: str, input_size: int, **options: object) -> nn.Module:
    """`timm.create_model`, built for square images of `input_size` pixels where the architecture fixes its size.

    Raises:
        UserError: timm has no such architecture, or it doesn't take one of the `options`.
    """
    if not timm.is_model(architecture) or "." in architecture:
        raise UserError(_unknown(TIMM_PREFIX + architecture))
    cfg = get_pretrained_cfg(architecture)
    if cfg is not None and cfg.fixed_input_size:
        options["img_size"] = input_size
    try:
        return timm.create_model(architecture, **options)  # pyright: ignore[reportArgumentType]
    except TypeError as error:
        # timm hands options to the model's constructor unchecked.
        if unexpected := re.search(r"unexpected keyword argument(?:\(s\):)? \[?'(\w+)'", str(error)):
            raise UserError(f"{TIMM_PREFIX}{architecture} has no option {unexpected[1]}") from error
        if options.get("act_layer") is not None and "'str' object is not callable" in str(error):
            raise UserError(f"{TIMM_PREFIX}{architecture} has no other activation: leave --model.activation") from error
        raise


def classifier_names(model: nn.Module) -> tuple[str, ...]:
    """Names of the modules that make the logits: one, or several in models with a distillation head."""
    classifier = model.get_classifier()  # pyright: ignore[reportCallIssue]  # timm's models and ours have it
    parts = classifier if isinstance(classifier, tuple) else (classifier,)
    return tuple(name for name, module in model.named_modules() if any(module is part for part in parts))


def num_parameters(model: nn.Module) -> int:
    """How many numbers training can change."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def multiply_adds(model: nn.Module, input_size: int) -> int:
    """Multiply-adds of one forward pass on one image of `input_size` pixels a side, as the papers count "FLOPs".

    Convolutions and matrix products alone; on the meta device, so nothing is computed and `model` isn't touched.
    """
    twin = copy.deepcopy(model).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        twin(torch.empty(1, 3, input_size, input_size, device="meta"))
    return counter.get_total_flops() // 2  # torch counts a multiply-add as two


def _refuse(config: ModelConfig, *fields: str) -> None:
    """A setting that would be ignored silently makes two unlike experiments out of one network."""
    defaults = ModelConfig()
    for field in fields:
        if getattr(config, field) != getattr(defaults, field):
            raise UserError(f"--model.{field.replace('_', '-')} has no effect on {config.name}: leave it out")


def _unknown(name: str) -> str:
    names = [*OWN_MODELS, *(TIMM_PREFIX + model for model in timm.list_models())]
    architecture, _, tag = name.partition(".")
    if architecture in names and tag:
        hint = f"write --model.name {architecture} --model.pretrained-tag {tag}"
    elif TIMM_PREFIX + name in names:
        hint = f"did you mean {TIMM_PREFIX}{name}?"
    elif nearest := difflib.get_close_matches(name, names, n=3):
        hint = f"did you mean {' or '.join(nearest)}?"
    else:
        hint = f"choose {', '.join(OWN_MODELS)} or timm:NAME"
    return f"no model is called {name!r}: {hint}"
