"""Everything that a step of training changes, compared bit by bit."""

import copy
from typing import Any

import torch

from corolla.training.state import TrainState


def state_content(state: TrainState) -> dict[str, Any]:
    """Everything that the next step depends on, or a checkpoint holds."""
    return copy.deepcopy(
        {
            "model": state.model.state_dict(),
            "ema": state.ema.module.state_dict() if state.ema is not None else None,
            "optimizer": state.optimizer.state_dict(),
            "found_inf": vars(state.optimizer).get("found_inf"),
            "scaler": state.scaler.state_dict(),
            "meter": vars(state.meter),
            "progress": vars(state.progress),
            "accumulate": state.config.train.accumulate,
            "modes": [module.training for module in state.model.modules()],
            "learns": [parameter.requires_grad for parameter in state.model.parameters()],
            "random": torch.get_rng_state(),
            "random on GPUs": torch.cuda.get_rng_state_all(),
        }
    )


def assert_same_bits(one: Any, other: Any, where: str = "") -> None:
    """Check that they are the same bits, and tensors in the same order in memory."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same_bits(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for number, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same_bits(a, b, f"{where}[{number}]")
    elif isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype, where
        assert one.stride() == other.stride(), where
        assert one.cpu().numpy().tobytes() == other.cpu().numpy().tobytes(), where
    else:
        assert one == other, where
