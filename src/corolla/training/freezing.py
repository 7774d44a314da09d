"""Freeze parts of a network for training: a function of the config and the epoch, without a state."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm

from corolla.config import Config
from corolla.models.factory import classifier_names


@dataclass(frozen=True, kw_only=True)
class Freezing:
    """The parts of a network that are frozen in some epochs: without a gradient, so that no optimizer changes them.

    `head_epochs`: linear probing before fine-tuning (LP-FT; Kumar et al. 2022, "Fine-Tuning can Distort Pretrained
    Features"). `freeze_norms`: batch norms in evaluation mode for good, as detectors on few images have it.
    """

    head_epochs: int
    freeze_norms: bool
    body: Sequence[nn.Parameter]
    """Parameters that learn, but for the classifier's and, with `freeze_norms`, the batch norms'."""
    norms: Sequence[BatchNorm]

    @classmethod
    def build(cls, model: nn.Module, config: Config, *, freeze_norms: bool) -> Self:
        """Build it for a model that this class has not frozen yet."""
        norms = [module for module in model.modules() if isinstance(module, BatchNorm)]
        frozen = {p for norm in norms for p in norm.parameters()} if freeze_norms else set()
        prefixes = tuple(f"{name}." for name in classifier_names(model))
        body = [
            parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad and parameter not in frozen and not name.startswith(prefixes)
        ]
        return cls(head_epochs=config.train.head_epochs, freeze_norms=freeze_norms, body=body, norms=norms)

    def apply(self, epoch: int) -> None:
        """Freeze for training in `epoch` (from 0); call it after `model.train()`."""
        if not self.head_epochs and not self.freeze_norms:
            return
        head_only = epoch < self.head_epochs
        for parameter in self.body:
            parameter.requires_grad_(not head_only)
        for norm in self.norms:
            norm.train(not (head_only or self.freeze_norms))
            if self.freeze_norms:
                for parameter in norm.parameters():
                    parameter.requires_grad_(False)
