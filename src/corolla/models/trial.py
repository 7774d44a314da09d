"""A network tried on one image: whether it takes a size is known for sure by nothing else."""

from collections.abc import Callable

import torch
from torch import nn


@torch.no_grad()
def fault_at(model: nn.Module, size: int, device: torch.device, forward: Callable[..., object] | None = None) -> str:
    """Why `model` (or its `forward`) takes no images of `size` pixels a side; empty if it does.

    One image of zeros in evaluation mode: no statistics change, nothing is drawn. A lack of memory is no answer and
    goes on to the caller.
    """
    training = model.training
    try:
        model.eval()
        (forward or model)(torch.zeros(1, 3, size, size, device=device))
    except torch.OutOfMemoryError:
        raise
    except (AssertionError, RuntimeError, ValueError) as error:
        return " ".join(str(error).split())[:120] or type(error).__name__
    finally:
        model.train(training)
    return ""
