"""Batch norm's statistics of parts, mixed into the running ones as torch does it, to the bit."""

import copy

import pytest
import torch
from torch import nn

from corolla.errors import UserError
from corolla.training.part_statistics import PartStatistics


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16, momentum=0.01), nn.ReLU(), nn.Conv2d(16, 5, 1), nn.BatchNorm2d(5)]
    model = nn.Sequential(*layers, nn.BatchNorm2d(5, track_running_stats=False), nn.BatchNorm2d(5))
    model[6].eval()  # frozen
    return model


def running(model: nn.Module) -> dict[str, bytes]:
    return {name: buffer.numpy().tobytes() for name, buffer in model.named_buffers()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels_last", [True, False])
def test_parts_of_two_processes_are_as_in_one(dtype: torch.dtype, channels_last: bool) -> None:
    """Two copies have parts 0 and 2, and part 1; their sums of rows are what one network has that sees all three."""
    alone = network()
    copies = [copy.deepcopy(alone) for _ in range(2)]
    statistics = [PartStatistics(model) for model in copies]
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    generator = torch.Generator().manual_seed(1)
    for _ in range(4):
        parts = torch.randn(3, 4, 3, 9, 9, generator=generator) * 3 + 1
        sums = torch.full((3, 2 * (16 + 5)), -0.0)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            for part in parts:
                alone(part.to(memory_format=memory_format))
            for number, (model, own) in enumerate(zip(copies, statistics, strict=True)):
                own.begin()
                for part in range(number, 3, 2):
                    model(parts[part].to(memory_format=memory_format))
                    own.keep(part)
                sums += own.rows(3)
        for own in statistics:
            own.apply(sums)
    assert running(copies[0]) == running(copies[1]) == running(alone)
    assert copies[0][1].momentum == 0.01
    assert not any(module._forward_pre_hooks for module in copies[0].modules())


def test_a_norm_that_is_not_called_stays() -> None:
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.BatchNorm1d(3), nn.BatchNorm1d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.used(x)

    model = Beside()
    model.unused.load_state_dict(model.unused.state_dict() | {"running_mean": torch.rand(3)})
    before = {name: tensor.clone() for name, tensor in model.unused.state_dict().items()}
    statistics = PartStatistics(model)
    statistics.begin()
    model(torch.randn(4, 3))
    statistics.keep(0)
    statistics.apply(statistics.rows(2).nan_to_num(0.5))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.unused.state_dict().items())
    assert model.used.num_batches_tracked == 2


@pytest.mark.parametrize(("norm", "named"), [(nn.BatchNorm2d(3, momentum=None), "without a momentum"), (None, "Own")])
def test_other_statistics_are_refused(norm: nn.Module | None, named: str) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("running_max", torch.zeros(3))

    with pytest.raises(UserError, match=rf"statistics that processes can't share \(.*{named}.*\): train it with one"):
        PartStatistics(nn.Sequential(norm or Own()))
