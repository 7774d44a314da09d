"""The network of timm that has the very weights of a run, by its name and arguments."""

from dataclasses import dataclass
from typing import Any

from timm.models import get_pretrained_cfg

from corolla.config import ModelConfig
from corolla.config.networks import TIMM_PREFIX, has_bottlenecks, is_cifar, is_own, is_plain
from corolla.errors import UserError
from corolla.models.factory import build_model


@dataclass(frozen=True)
class TimmNetwork:
    """A call of `timm.create_model`, but for the number of classes."""

    architecture: str
    arguments: dict[str, Any]

    def call(self, **more: object) -> str:
        """Return the call as Python's source."""
        given = "".join(f", {name}={value!r}" for name, value in (self.arguments | more).items())
        return f"timm.create_model({self.architecture!r}{given})"


def timm_network(config: ModelConfig, num_classes: int, input_size: int) -> TimmNetwork:
    """Return timm's network for the weights of a run.

    Raises:
        UserError: timm has none; the line says why.
    """
    small = f"--model.stem {config.stem}" if config.stem in ("small", "small-pool") else ""
    if is_own(config.name):
        if reason := _own_design(config) or small:
            raise UserError(f"timm has no network like {config.name} with {reason}; --to onnx takes it")
        return _own_in_timm(config)
    unused: list[str] = []
    if config.activation or small:
        build_model(config, num_classes, input_size, ignored=unused)
    if small and "model.stem" not in unused:
        raise UserError(f"timm's {config.name.removeprefix(TIMM_PREFIX)} has no {small}; --to onnx takes it")
    architecture = config.name.removeprefix(TIMM_PREFIX)
    arguments: dict[str, Any] = {}
    if config.activation and "model.activation" not in unused:
        arguments["act_layer"] = config.activation
    if (cfg := get_pretrained_cfg(architecture)) is not None and cfg.fixed_input_size:
        arguments["img_size"] = input_size
    return TimmNetwork(architecture, arguments)


def _own_design(config: ModelConfig) -> str:
    """Return the setting of an own network that timm's ResNet has not; empty where there is none."""
    if is_plain(config.name):
        return "no shortcuts"
    if is_cifar(config.name):
        return "three stages"
    if config.shortcut != "B":
        return f"--model.shortcut {config.shortcut}"
    if config.width != 1:
        return f"--model.width {config.width:g}"
    return "--model.stride-in-1x1" if config.stride_in_1x1 and has_bottlenecks(config.name) else ""


def _own_in_timm(config: ModelConfig) -> TimmNetwork:
    """Return timm's ResNet of the same design: its parts have the same names and order (models/resnet.py)."""
    name, arguments = config.name, dict[str, Any]()
    if config.stem == "3x3" and config.avg_shortcut:
        name += "d"
    elif config.stem == "3x3":
        arguments |= {"stem_type": "deep", "stem_width": 32}
    elif config.avg_shortcut:
        arguments |= {"avg_down": True}
    if config.activation not in (None, "relu"):
        arguments |= {"act_layer": config.activation}
    return TimmNetwork(name, arguments)
