"""Whether the networks of a run take the images it will show them, found out before it starts."""

import torch
from torch import nn

from corolla.config import Config
from corolla.data.growth import refuse_shrinking, sizes_of_run
from corolla.errors import UserError


def refuse_sizes(
    config: Config, size: int, device: torch.device, *, model: nn.Module, teacher: nn.Module | None
) -> None:
    """Try training images of every size on the networks that have not been built for them.

    Raises:
        UserError: --augment.start-size is no smaller size, or --train.teacher or the network takes one size only.
    """
    refuse_shrinking(config.augment, size)
    sizes = sizes_of_run(config.augment, size, config.train.epochs)
    for each in sizes[:-1]:
        _refuse(model, each, device, "the network", f"--augment.start-size {config.augment.start_size}")
    if teacher is not None:
        for each in sizes:
            _refuse(teacher, each, device, "the teacher", f"--train.teacher {config.train.teacher}")


def _refuse(model: nn.Module, size: int, device: torch.device, what: str, setting: str) -> None:
    """One image of zeros in evaluation mode: no statistics change, nothing is drawn. Most ViTs are for one size."""
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, size, size, device=device))
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{setting}: {what} takes no images of {size} px ({reason}); leave it out") from None
    finally:
        model.train(training)
