"""Whether the networks of a run take the images it will show them, found out before it starts."""

import torch
from torch import nn

from corolla.config import Config
from corolla.data.growth import refuse_shrinking, sizes_of_run
from corolla.errors import UserError
from corolla.models.trial import fault_at


def refuse_sizes(
    config: Config, size: int, device: torch.device, *, model: nn.Module, teacher: nn.Module | None
) -> None:
    """Try images of every size that the run will show on its networks.

    Raises:
        UserError: --augment.start-size is no smaller size, or the network or --train.teacher does not take one of them.
    """
    refuse_shrinking(config.augment, size)
    sizes = sizes_of_run(config.augment, size, config.train.epochs)
    name, smaller = config.model.name, f"--augment.start-size {config.augment.start_size}"
    _refuse(model, size, device, f"--input-size {size}: {name}", "choose another size or network")
    for each in sizes[:-1]:
        _refuse(model, each, device, f"{smaller}: {name}", "leave it out")
    if teacher is not None:
        for each in sizes:
            _refuse(teacher, each, device, f"--train.teacher {config.train.teacher}: the teacher", "leave it out")


def _refuse(model: nn.Module, size: int, device: torch.device, what: str, remedy: str) -> None:
    if fault := fault_at(model, size, device):
        raise UserError(f"{what} takes no images of {size} px ({fault}); {remedy}")
