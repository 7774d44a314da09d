"""Batch norm's statistics of the parts of a batch, where several processes compute them."""

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm

from corolla.errors import UserError

NOTHING = -0.0
"""It is added for another process's part: 0.0 would turn a -0.0 there into 0.0."""


class PartStatistics:
    """The statistics of each part, kept apart so that every process applies all of them in the parts' order.

    With a momentum of 1 a module's running statistics are those of the part. They are mixed into those before it as
    torch does on a CPU, to the bit (aten/native/Normalization.cpp, batch_norm_cpu_update_stats_template).
    """

    def __init__(self, model: nn.Module) -> None:
        """Watch the batch norms of `model`.

        Raises:
            UserError: it has other statistics, which are not shared.
        """
        modules = list(model.modules())
        self._norms = [m for m in modules if isinstance(m, BatchNorm) and m.running_mean is not None]
        others = {
            type(module).__name__
            for module in modules
            if module not in self._norms
            and any(name.startswith("running_") for name, _ in module.named_buffers(recurse=False))
        }
        if others or any(norm.momentum is None for norm in self._norms):
            what = ", ".join(sorted(others)) or "batch norms without a momentum"
            raise UserError(f"this network has statistics that processes can't share ({what}): train it with one")
        self._nothing = torch.empty(0, device=next(model.parameters()).device)
        self._types: dict[nn.Module, torch.dtype] = {}
        """Of the input of each that was called in this step."""
        self._channels_of: dict[tuple[tuple[float, bool], ...], tuple[torch.Tensor, torch.Tensor]] = {}

    def _note_type(self, norm: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self._types[norm] = inputs[0].dtype

    def begin(self) -> None:
        """Put the running statistics aside for a step."""
        self._types.clear()
        self._learning = [norm for norm in self._norms if norm.training]
        self._momenta = [norm.momentum or 0.0 for norm in self._learning]
        self._before = self._running()
        self._own: dict[int, torch.Tensor] = {}
        for norm in self._learning:
            norm.momentum = 1.0
        # Not for good: the network is copied for evaluation.
        self._hooks = [norm.register_forward_pre_hook(self._note_type) for norm in self._learning]

    def keep(self, part: int) -> None:
        """Keep the statistics of an own part, whose forward pass has just ended."""
        self._own[part] = self._running()

    def rows(self, num_parts: int) -> torch.Tensor:
        """Return the statistics of own parts in rows of all parts, to be added to those of other processes."""
        rows = self._before.new_full((num_parts, len(self._before)), NOTHING)
        for part, values in self._own.items():
            rows[part] = values
        return rows

    def apply(self, rows: torch.Tensor) -> None:
        """Mix the statistics of each part into the running ones, in their order."""
        for norm, own_momentum in zip(self._learning, self._momenta, strict=True):
            norm.momentum = own_momentum
        for hook in self._hooks:
            hook.remove()
        if not self._learning:
            return
        momentum, is_fp32 = self._channels()
        mean, var = self._before.chunk(2)
        for part_mean, part_var in (row.chunk(2) for row in rows):
            mean = momentum * part_mean + (1 - momentum) * mean
            kept = (1 - momentum) * var
            precise = momentum.double() * part_var.double() + kept.double()
            var = torch.where(is_fp32, precise.float(), momentum * part_var + kept)
        widths = [norm.num_features for norm in self._learning]
        for norm, own_mean, own_var in zip(self._learning, mean.split(widths), var.split(widths), strict=True):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.copy_(own_mean)
            norm.running_var.copy_(own_var)
            if norm.num_batches_tracked is not None and norm in self._types:
                norm.num_batches_tracked += len(rows) - len(self._own)

    def _running(self) -> torch.Tensor:
        """Return a copy of the running means of all channels, and then of the variances."""
        means = [norm.running_mean for norm in self._learning if norm.running_mean is not None]
        variances = [norm.running_var for norm in self._learning if norm.running_var is not None]
        return torch.cat([self._nothing, *means, *variances])

    def _channels(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return of each channel its momentum, 0 where its norm was not called, and whether its input was fp32."""
        momenta = [m if norm in self._types else 0.0 for norm, m in zip(self._learning, self._momenta, strict=True)]
        are_fp32 = [self._types.get(norm) == torch.float32 for norm in self._learning]
        key = (*zip(momenta, are_fp32, strict=True),)
        if key not in self._channels_of:  # copying them to a GPU in each step would have the host wait for it
            widths = torch.tensor([norm.num_features for norm in self._learning])
            momentum, is_fp32 = (torch.tensor(values).repeat_interleave(widths) for values in (momenta, are_fp32))
            self._channels_of = {key: (momentum.to(self._before.device), is_fp32.to(self._before.device))}
        return self._channels_of[key]
