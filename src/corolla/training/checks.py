"""Checks of what a run starts from, so that it does not fail at its first step: numbers, and sizes of images."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from corolla.config.progressive_resizing import run_sizes
from corolla.device import Precision, choose_precision
from corolla.errors import UserError
from corolla.models.factory import forward_error
from corolla.models.pretrained import Preprocessing
from corolla.models.weights_fit import check_tensors
from corolla.runs.checkpoint import ModelMeta
from corolla.training.distillation import Teacher


def check_checkpoint(path: Path, content: dict[str, Any], model: nn.Module) -> None:
    """Check that the weights and the optimizer's state in a checkpoint are numbers.

    Raises:
        UserError: some are NaN, or weights are infinite.
    """
    for part in ("model", "ema"):
        check_tensors(path, content[part] or {}, model.state_dict())
    for number, moments in content["optimizer"]["state"].items():
        for name, value in moments.items():
            if isinstance(value, torch.Tensor) and bool(value.isnan().any()):
                raise UserError(
                    f"{path}: the optimizer's {name} of parameter {number} holds NaN: the training that made it "
                    "diverged; take an earlier checkpoint, or the weights alone (--model.weights)"
                )


def check_normalisation(preprocessing: Preprocessing, source: object, remedy: str = "take another checkpoint") -> None:
    """Check that pixels can be normalised: each is divided by the std of its channel.

    Raises:
        UserError: a std is 0, or no number; the message names the channel.
    """
    for channel, mean, std in zip(("red", "green", "blue"), preprocessing.mean, preprocessing.std, strict=True):
        if not (std > 0 and math.isfinite(std) and math.isfinite(mean)):
            raise UserError(
                f"{source}: channel {channel} has std {std:g} (mean {mean:g}), by which no pixel can be divided; "
                f"{remedy}"
            )


def check_teacher(teacher: Teacher, digest: str | None) -> None:
    """Check that a teacher is the one a run has learned from so far, by its SHA-256, and that its numbers are finite.

    Raises:
        UserError: it is another one, or its weights or its normalisation are no numbers.
    """
    teacher.check_unchanged(digest)
    source = f"--train.teacher {teacher.name}"
    check_tensors(source, teacher.model.state_dict(), teacher.model.state_dict())
    check_normalisation(teacher.preprocessing, source)


def check_sizes(meta: ModelMeta, model: nn.Module, teacher: Teacher | None, device: torch.device) -> None:
    """Try images of every size that the run will show on its networks.

    Raises:
        UserError: the network or --train.teacher does not take one of them.
    """
    config, size = meta.config, meta.input_size
    sizes = run_sizes(config.augment, size, config.train.epochs)
    name, smaller = config.model.name, f"--augment.start-size {config.augment.start_size}"
    _check_size(model, size, device, f"--input-size {size}: {name}", "choose another size or network")
    for each in sizes[:-1]:
        _check_size(model, each, device, f"{smaller}: {name}", "leave it out")
    if teacher is not None:
        for each in sizes:
            _check_size(
                teacher.model, each, device, f"--train.teacher {config.train.teacher}: the teacher", "leave it out"
            )


def checked_precision(meta: ModelMeta, model: nn.Module, device: torch.device) -> tuple[Precision, list[str]]:
    """Return the precision that a run trains in, and a note where a CPU's bf16 is slower or has no right gradients.

    Raises:
        UserError: the run asks for bf16 where it has none.
    """
    asked = meta.config.train.precision
    precision = choose_precision(asked, device)
    if precision != "bf16" or device.type != "cpu":
        return precision, []
    size = run_sizes(meta.config.augment, meta.input_size, meta.config.train.epochs)[0]
    if not (name := _stride_past_input(model, size, device)):
        if asked == "auto" and _has_small_depthwise(model):
            return "fp32", ["note: in fp32, in which a CPU trains depthwise convolutions faster than in bf16"]
        return precision, []
    fault = f"images of {size} px leave {name} less to see than its stride, where bf16 on a CPU has no right gradient"
    if asked == "bf16":
        raise UserError(f"--train.precision bf16: {fault}; take fp32, or larger images")
    return "fp32", [f"note: in fp32, as {fault}"]


def _has_small_depthwise(model: nn.Module) -> bool:
    """Return whether a network has depthwise convolutions as EfficientNets and MobileNets have them.

    In bf16 their gradients make steps of EfficientNet-Lite0 on a CPU 2.2 times as long at 64 px, 1.5 times at 128 px
    and no shorter at 224 px (seen with torch 2.14); those of 7 x 7, as in ConvNeXt, do not.
    """
    convolutions = [part for part in model.modules() if isinstance(part, nn.Conv2d)]
    return any(1 < part.groups == part.in_channels and max(part.kernel_size) <= 5 for part in convolutions)


def _stride_past_input(model: nn.Module, size: int, device: torch.device) -> str | None:
    """Return the name of a convolution, if any, that is shown maps smaller than its stride and pads them.

    There oneDNN (seen with torch 2.14) leaves the bf16 gradient of its weights as it found the memory.
    """
    found: list[nn.Module] = []

    def look(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        assert isinstance(module, nn.Conv2d)
        sides = zip(inputs[0].shape[-2:], module.stride, module.padding, strict=False)
        if not isinstance(module.padding, str) and any(side < stride and pad for side, stride, pad in sides):
            found.append(module)

    hooks = [part.register_forward_pre_hook(look) for part in model.modules() if isinstance(part, nn.Conv2d)]
    forward_error(model, size, device)
    for hook in hooks:
        hook.remove()
    return next((name for name, part in model.named_modules() if part in found), None)


def _check_size(model: nn.Module, size: int, device: torch.device, what: str, remedy: str) -> None:
    if reason := forward_error(model, size, device):
        raise UserError(f"{what} takes no images of {size} px ({reason}); {remedy}")
