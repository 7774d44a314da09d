"""One sum over all processes a step: of gradients, the loss, batch norm's statistics, what was recognised, and of who
was asked to stop.

On CPUs two processes with a part each give the very bits of one, as two addends have one sum, whatever their order; of
more parts, sums are rounded in another order than in one process. It comes before anything looks at the gradients: the
loss scaler, clipping and the search for numbers that are not finite see the same ones in every process.
"""

import torch
from torch import nn

from corolla.data.parts import Parts
from corolla.training.agreed_stop import AgreedStop
from corolla.training.part_statistics import PartStatistics
from corolla.training.ranks import Ranks


class Reduction:
    """The sum of each step over all processes."""

    def __init__(self, model: nn.Module, ranks: Ranks, stop: AgreedStop, *, parts: Parts, num_images: int) -> None:
        """Prepare it for batches of `num_images`, of which this process computes its own `parts`.

        Raises:
            UserError: the network can't be trained in several processes.
        """
        self.ranks, self.parts, self.num_images = ranks, parts, num_images
        self._stop = stop
        self._parameters = list(model.parameters())
        self._statistics = PartStatistics(model)
        self.flat = torch.empty(0)
        """What is added up in a step, one after the other."""

    def begin(self) -> None:
        """Begin a step, when the model is in training mode and what is frozen is frozen."""
        self._statistics.begin()

    def keep(self, part: int) -> None:
        """Keep what the forward pass of an own part has left in the model."""
        self._statistics.keep(part)

    def add(self, loss: torch.Tensor, num_right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Add the gradients, the statistics and the scalars of all processes, in place, and return the scalars."""
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        rows = self._statistics.rows(min(self.parts.number, self.num_images))
        asked = torch.full_like(loss, self._stop.is_asked)
        values = [*gradients, rows, loss, num_right, asked]
        sizes = [value.numel() for value in values]
        if self.flat.numel() != sum(sizes):  # the classifier alone may learn at first
            self.flat = torch.empty(sum(sizes), device=loss.device)
        torch.cat([value.reshape(-1) for value in values], out=self.flat)
        with self._stop.waiting():
            self.ranks.add(self.flat)
        *own, rows_of_all, loss_of_all, right_of_all, asked_of_all = self.flat.split(sizes)
        for gradient, total in zip(gradients, own, strict=True):
            gradient.copy_(total.view_as(gradient))
        self._statistics.apply(rows_of_all.view_as(rows))
        self._stop.note(asked_of_all)
        return loss_of_all.view_as(loss).clone(), right_of_all.view_as(num_right).clone()
