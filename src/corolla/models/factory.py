"""From a model's name to a network with random weights: He et al.'s own nets, or any of timm's."""

import copy
import difflib
import re
from collections.abc import Callable

import timm
import torch
from timm.models import get_pretrained_cfg
from timm.models.resnet import ResNet as TimmResNet
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from corolla.config import ModelConfig
from corolla.config.networks import TIMM_PREFIX, is_plain
from corolla.device_errors import fault_of
from corolla.errors import UserError
from corolla.models.layers import shrink_stem
from corolla.models.resnet import CIFAR_STAGES, STAGES, ResNet

OWN_MODELS = (
    "plain18",
    "plain34",
    *(f"resnet{depth}" for depth in STAGES),
    *(f"{kind}{depth}" for kind in ("plain", "resnet") for depth in CIFAR_STAGES),
)


def build_model(
    config: ModelConfig, num_classes: int, input_size: int, *, ignored: list[str] | None = None
) -> nn.Module:
    """Return the architecture that `config` names, with random weights drawn from torch's global generator.

    The model takes normalised images (N, 3, input_size, input_size) and gives logits (N, num_classes). Convolutional
    nets take other sizes too; a timm model of fixed size (most ViTs) is built for `input_size`.

    Args:
        ignored: a list to which the keys of settings are added that this network cannot use; only building it tells.

    Raises:
        UserError: The name is unknown (the nearest valid ones are given).
    """
    unused: list[str] = []
    if config.name.startswith(TIMM_PREFIX):
        model = _timm_model(config, num_classes, input_size, unused)
    elif config.name in OWN_MODELS:
        model = _own_model(config, num_classes)
    else:
        raise UserError(_unknown(config.name))
    if config.freeze_norms and not any(isinstance(module, BatchNorm) for module in model.modules()):
        unused.append("model.freeze_norms")
    if ignored is not None:
        ignored += unused
    return model


def _own_model(config: ModelConfig, num_classes: int) -> ResNet:
    plain = is_plain(config.name)
    return ResNet(
        int(re.sub(r"\D", "", config.name)),
        num_classes,
        shortcut=None if plain else config.shortcut,
        init=config.init,
        stride_in_1x1=config.stride_in_1x1,
        stem=config.stem,
        avg_shortcut=config.avg_shortcut,
        activation=config.activation or "relu",
        width=config.width,
        zero_gamma=bool(config.zero_gamma) and not plain,
        dropout=config.dropout,
        drop_path=0.0 if plain else config.drop_path,
    )


def _timm_model(config: ModelConfig, num_classes: int, input_size: int, unused: list[str]) -> nn.Module:
    """Build one of timm's networks, without those of the settings that its constructor does not take."""
    options = {
        "model.dropout": ("drop_rate", config.dropout or None),  # None: timm's default, and no error from models
        "model.drop_path": ("drop_path_rate", config.drop_path or None),  # that do not take the option
        "model.activation": ("act_layer", config.activation),
        "model.zero_gamma": ("zero_init_last", config.zero_gamma),
    }
    architecture = config.name.removeprefix(TIMM_PREFIX)
    while True:
        asked = dict(options.values())
        try:
            model = create_timm_model(architecture, input_size, num_classes=num_classes, **asked)
            break
        except UnusedOption as error:
            key = next(key for key, (name, _) in options.items() if name == error.option)
            del options[key]
            unused.append(key)
    # Up to timm 1.0.26 some constructors (HRNet, ConvMixer, Res2Net) take whatever they are given, and drop it.
    if config.drop_path and "model.drop_path" in options and not _drops_paths(model):
        unused.append("model.drop_path")
    if isinstance(model, TimmResNet) and config.stem in ("small", "small-pool"):
        shrink_stem(model, pool=config.stem == "small-pool")
    elif config.stem in ("small", "small-pool"):
        unused.append("model.stem")
    return model


def has_random_layers(model: nn.Module) -> bool:
    """Return whether a network in training mode drops units or paths at random."""
    if getattr(model, "drop_rate", 0):  # timm's, some of which call the function without a module
        return True
    rates = ("p", "drop_prob", "prob")  # of torch's dropout, and of timm's DropPath, DropBlock and PatchDropout
    droppers = [module for module in model.modules() if "drop" in type(module).__name__.lower()]
    return any(getattr(module, name, 0) for module in droppers for name in rates)


def _drops_paths(model: nn.Module) -> bool:
    return any("droppath" in type(module).__name__.lower() for module in model.modules())


class UnusedOption(UserError):
    """Raised where one of timm's architectures does not take an option."""

    def __init__(self, architecture: str, option: str) -> None:
        super().__init__(f"{TIMM_PREFIX}{architecture} has no option {option}")
        self.option = option


def create_timm_model(architecture: str, input_size: int, **options: object) -> nn.Module:
    """Create one of timm's models, for square images of `input_size` pixels where the architecture fixes its size.

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
            raise UnusedOption(architecture, unexpected[1]) from error
        if options.get("act_layer") is not None and "'str' object is not callable" in str(error):
            raise UnusedOption(architecture, "act_layer") from error
        raise


def classifier_names(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the modules that make the logits: one, or several in models with a distillation head."""
    classifier = model.get_classifier()  # pyright: ignore[reportCallIssue]  # timm's models and ours have it
    parts = classifier if isinstance(classifier, tuple) else (classifier,)
    return tuple(name for name, module in model.named_modules() if any(module is part for part in parts))


def num_parameters(model: nn.Module) -> int:
    """Return how many numbers training can change."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def multiply_adds(model: nn.Module, input_size: int) -> int:
    """Return the multiply-adds of one forward pass on an image of `input_size` pixels a side (the papers' "FLOPs").

    Only convolutions and matrix products count. It runs on the meta device, so nothing is computed and `model` isn't
    touched.
    """
    twin = copy.deepcopy(model).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        twin(torch.empty(1, 3, input_size, input_size, device="meta"))
    return counter.get_total_flops() // 2  # torch counts a multiply-add as two


@torch.no_grad()
def forward_error(
    model: nn.Module, size: int, device: torch.device, forward: Callable[..., object] | None = None
) -> str:
    """Return why `model` (or its `forward`) takes no images of `size` pixels a side; empty if it does.

    One image of zeros in evaluation mode: no statistics change, nothing is drawn. A fault of the device (a lack of
    memory, what CUDA or cuDNN report) is no answer and goes on to the caller.
    """
    training = model.training
    try:
        model.eval()
        (forward or model)(torch.zeros(1, 3, size, size, device=device))
    except (AssertionError, RuntimeError, ValueError) as error:
        if fault_of(error):
            raise
        return " ".join(str(error).split())[:120] or type(error).__name__
    finally:
        model.train(training)
    return ""


def _unknown(name: str) -> str:
    """Return the line about a name that no model has, with the nearest ones that there are."""
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
