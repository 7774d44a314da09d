"""A trained network on every image of a dataset: the one loop of `corolla predict` and of validation in training."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm.auto import tqdm

from corolla.arithmetic import exact_fp32, has_bf16
from corolla.data.dataset import TFRecordDataset
from corolla.data.loader import Batch
from corolla.device import Precision, autocast, choose_precision
from corolla.models.fold_batchnorm import fold_batch_norms
from corolla.models.normalise import Normalise
from corolla.parallel import hidden
from corolla.runs.checkpoint import ModelMeta

BATCH_SIZE = 64
"""Views of the training's size that go through the network at once, unless something else is asked for."""


class InferenceModel:
    """A network from uint8 pixels to logits: batch norms folded, channels last, weights in the native precision."""

    def __init__(self, model: nn.Module, meta: ModelMeta, device: torch.device) -> None:
        """Prepare `model`, in eval mode, for inference; it is changed in place."""
        train = meta.config.train
        # fp16 was for training, whose scale there is none of here; bf16 may have been another card's.
        own = train.precision != "fp16" and (train.precision != "bf16" or has_bf16(device))
        self.precision: Precision = choose_precision(train.precision if own else "auto", device)
        # bf16 has the range of fp32, so weights are cast once; in fp16 autocast decides what stays in fp32.
        self._dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        self._device = device
        memory_format = torch.channels_last if train.channels_last else torch.contiguous_format
        fold_batch_norms(model)
        self.model = model.to(device=device, dtype=self._dtype, memory_format=memory_format)  # pyright: ignore[reportCallIssue] - missing overload
        self._normalise = Normalise(meta.preprocessing, channels_last=train.channels_last).to(device)

    def inputs(self, images: torch.Tensor) -> torch.Tensor:
        """Return what the network takes, N x 3 x H x W, normalised, of uint8 N x H x W x 3 on the device."""
        return self._normalise(images).to(self._dtype)

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Make the context that the network is to be called in."""
        reduced = self.precision if self.precision == "fp16" else "fp32"  # bf16 is in the weights
        with exact_fp32(self.precision), autocast(self._device, reduced):
            yield

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits N x classes, float32, of uint8 N x H x W x 3 on the device."""
        with self.autocast():
            return self.model(self.inputs(images)).float()


@torch.inference_mode()
def predict_batches(
    model: Callable[[torch.Tensor], torch.Tensor],
    dataset: TFRecordDataset,
    batches: Iterable[Batch],
    *,
    total: int,
    title: str,
    num_networks: int | None = None,
    stopped: Callable[[], bool] = lambda: False,
    progress: bool = True,
) -> NDArray[np.float32] | None:
    """Return N x classes, 0 for images that are in none of the `batches`; None if `stopped` said so before the end.

    Args:
        model: images of a batch, as the dataset's transform makes them, to probabilities N x classes.
        total: images of all batches.
        title: of the progress bar.
        num_networks: of a model of several: then its probabilities, and what is returned, are N x networks x classes.
        progress: whether there is a bar.
    """
    networks = () if num_networks is None else (num_networks,)
    probabilities = np.zeros((len(dataset), *networks, len(dataset.class_names)), np.float32)
    with tqdm(total=total, unit="img", desc=title, disable=hidden(progress), leave=False) as bar:
        for batch in batches:
            if stopped():
                return None
            probabilities[batch.indices.numpy()] = model(batch.images).cpu().numpy()
            bar.update(len(batch.images))
    return probabilities
