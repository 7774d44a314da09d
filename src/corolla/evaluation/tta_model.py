"""A trained network on all views of an image: test-time augmentation."""

import copy
import logging
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import nn

from corolla.arithmetic import untuned
from corolla.data.transforms.tta import average_views
from corolla.data.transforms.views import ViewGroup, ViewsTransform
from corolla.device import describe
from corolla.device_errors import lacks_memory, memory_state, release_memory
from corolla.errors import UserError
from corolla.evaluation.inference import BATCH_SIZE, InferenceModel
from corolla.models.factory import forward_error
from corolla.models.fully_convolutional import FullyConvolutional, takes_one_size
from corolla.runs.checkpoint import ModelMeta

log = logging.getLogger(__name__)

CLOSE = 0.02  # between the two highest probabilities; reduced precision moves them by 0.01, rarely by 0.03


class PartSize:
    """The pixels of the views that go through a network at once: fewer from where memory ran out."""

    def __init__(self, pixels: int) -> None:
        self._pixels = pixels
        self._is_told = False

    def views(self, side: int) -> int:
        """Return how many views of `side` pixels a side are a part."""
        return max(1, self._pixels // side**2)

    def halve(self, num_views: int, side: int, *, device: torch.device, state: str) -> None:
        """Make parts half as large as `num_views` views; the first time it is logged, with the state of the memory."""
        self._pixels = num_views // 2 * side**2
        if not self._is_told:
            text = "%s is out of memory with %d views of %d px at a time (%s): it goes on with %d"
            log.warning(text, describe(device), num_views, side, state, num_views // 2)
        self._is_told = True


def images_at_once(transform: ViewsTransform, size: int, batch_size: int = BATCH_SIZE) -> int:
    """Return the images of a batch, counted in pixels, so that neither more views nor larger ones need more memory.

    Args:
        transform: makes the views.
        size: side of the images in training, in pixels.
        batch_size: views of that size that go through the network at once.
    """
    return max(1, int(batch_size / transform.cost(size)))


class TTAModel:
    """The views that `transform` makes of a batch of images to their averaged probabilities.

    In the precision that is native; an image whose two likeliest classes come out close is computed again in fp32, and
    so is one of which a logit is not finite, as fp16 has no numbers above 65,504.
    """

    def __init__(
        self,
        model: nn.Module,
        meta: ModelMeta,
        transform: ViewsTransform,
        *,
        device: torch.device,
        batch_size: int = BATCH_SIZE,
        parts: PartSize | None = None,
    ) -> None:
        """Prepare `model`, in eval mode on the CPU, in place.

        Args:
            batch_size: views of the training's size that go through the network at once.
            parts: the same as another model before has found it; default: `batch_size`.

        Raises:
            UserError: the network does not take views of these sizes.
        """
        name, size = meta.config.model.name, meta.input_size
        if takes_one_size(model) and transform.size != size:
            raise UserError(f"--view-size {transform.size}: {name} takes photos of {size} px alone; leave it out")
        exact = replace(meta.config, train=replace(meta.config.train, precision="fp32"))
        twin = copy.deepcopy(model)
        whole = any(group.whole for group in transform.groups)
        self._by_position = FullyConvolutional(model, size, name=name) if whole else None
        for group in transform.groups:
            forward = self._by_position if group.whole else None
            if group.side != size and (fault := forward_error(model, group.side, torch.device("cpu"), forward)):
                views = f"--view-size {transform.size}" if transform.size != size else "--tta multi-scale"
                raise UserError(f"{views}: {name} takes no photos of {group.side} px ({fault}); leave it out")
        self._network = InferenceModel(model, meta, device)
        self._parts = parts or PartSize(batch_size * size**2)
        self._exact = None
        if self._network.precision != "fp32":
            precise = replace(meta, config=exact)
            self._exact = TTAModel(twin, precise, transform, device=device, batch_size=batch_size, parts=self._parts)
        self._transform = transform
        self._device = device
        self.batch_size = images_at_once(transform, size, batch_size)
        """Images of a batch."""

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return the probabilities, N x classes (float32), of N images on the device (uint8, the transform's shape)."""
        probabilities, doubtful = self._averaged(images)
        if self._exact is None:
            return probabilities
        if probabilities.shape[1] > 1:
            first, second = probabilities.topk(2).values.T
            doubtful |= first - second < CLOSE
        if doubtful.any():
            with untuned():  # each time there are as many as it happens
                probabilities[doubtful] = self._exact(images[doubtful])
        return probabilities

    @torch.inference_mode()
    def rehearse(self) -> None:
        """Call the network and its twin on a full batch of black images, so that what does not fit comes up now."""
        self._averaged(torch.zeros(self.batch_size, *self._transform.shape, dtype=torch.uint8, device=self._device))
        if self._exact is not None:
            self._exact.rehearse()

    def _averaged(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the probabilities, and of which images a logit is not finite."""
        groups = zip(self._transform.groups, self._transform.split(images), strict=True)
        logits = torch.cat([self._in_parts(views, group) for group, views in groups], 1)
        return average_views(logits, self._transform.views.average), ~logits.isfinite().flatten(1).all(1)

    def _in_parts(self, views: torch.Tensor, group: ViewGroup) -> torch.Tensor:
        """Return the logits N x views x classes, computed on as many views at a time as there is memory for."""
        flat = views.flatten(0, 1)
        while True:
            usual = min(self._parts.views(group.side), self.batch_size * views.shape[1])
            size = min(usual, len(flat))
            try:
                scores = list[torch.Tensor]()
                for part in flat.split(size):
                    with nullcontext() if len(part) == usual else untuned():
                        scores.append(self._scores(part, whole=group.whole))
                return torch.cat(scores).unflatten(0, views.shape[:2])
            except RuntimeError as error:
                if size == 1 or not lacks_memory(error):
                    raise
                state = memory_state(error, self._device)
            # Not before the exception is gone, whose frames hold what the network had computed.
            release_memory(self._device)
            self._parts.halve(size, group.side, device=self._device, state=state)

    def _scores(self, views: torch.Tensor, *, whole: bool) -> torch.Tensor:
        if whole and self._by_position is not None:
            with self._network.autocast():
                return self._by_position(self._network.inputs(views)).float()
        return self._network(views)
