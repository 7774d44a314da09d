"""A trained network made ready for inference."""

import torch
from torch import nn

from corolla.device import Precision, autocast, choose_precision
from corolla.models.fold import fold_batch_norms
from corolla.models.normalise import Normalise
from corolla.training.checkpoint import Description


class Classifier:
    """uint8 pixels to logits: batch norms folded, channels last, weights in the precision that is native."""

    def __init__(self, model: nn.Module, description: Description, device: torch.device) -> None:
        """`model`, in eval mode, is changed in place."""
        train = description.config.train
        self.precision: Precision = choose_precision(train.precision if train.precision != "fp16" else "auto", device)
        # bf16 has the range of fp32, so weights are cast once; in fp16 autocast decides what stays in fp32.
        self._dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        self._device = device
        memory_format = torch.channels_last if train.channels_last else torch.contiguous_format
        fold_batch_norms(model)
        self.model = model.to(device=device, dtype=self._dtype, memory_format=memory_format)  # pyright: ignore[reportCallIssue] - missing overload
        self._normalise = Normalise(description.preprocessing, channels_last=train.channels_last).to(device)

    def inputs(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 N x H x W x 3, on the device -> what the network takes: N x 3 x H x W, normalised."""
        return self._normalise(images).to(self._dtype)

    def autocast(self) -> torch.autocast:
        """What the network is to be called under."""
        return autocast(self._device, self.precision if self.precision == "fp16" else "fp32")

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 N x H x W x 3, on the device -> logits N x classes, float32."""
        with self.autocast():
            return self.model(self.inputs(images)).float()
