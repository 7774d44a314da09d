"""A trained network on all views of an image: test-time augmentation."""

import copy
from dataclasses import replace

import torch
from torch import nn

from corolla.data.transforms.tta import average_views
from corolla.data.transforms.views import ViewsTransform
from corolla.errors import UserError
from corolla.evaluation.inference import BATCH_SIZE, InferenceModel
from corolla.models.factory import forward_error
from corolla.models.fully_convolutional import FullyConvolutional, takes_one_size
from corolla.runs.checkpoint import ModelMeta

CLOSE = 0.02  # between the two highest probabilities; reduced precision moves them by 0.01, rarely by 0.03


class TTAModel:
    """The views that `transform` makes of a batch of images to their averaged probabilities.

    In the precision that is native; an image whose two likeliest classes come out close is computed again in fp32.
    """

    def __init__(
        self,
        model: nn.Module,
        meta: ModelMeta,
        transform: ViewsTransform,
        *,
        device: torch.device,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        """Prepare `model`, in eval mode on the CPU, in place; `batch_size` counts views of the training's size.

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
        self._exact = None
        if self._network.precision != "fp32":
            precise = replace(meta, config=exact)
            self._exact = TTAModel(twin, precise, transform, device=device, batch_size=batch_size)
        self._transform = transform
        self._pixels = batch_size * size**2
        self.batch_size = max(1, int(batch_size / transform.cost(size)))
        """Images of a batch: counted in pixels, so that neither more views nor larger ones need more memory."""

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return the probabilities, N x classes (float32), of N images on the device (uint8, the transform's shape)."""
        probabilities = self._averaged(images)
        if self._exact is not None and probabilities.shape[1] > 1:
            first, second = probabilities.topk(2).values.T
            close = first - second < CLOSE
            if close.any():
                probabilities[close] = self._exact(images[close])
        return probabilities

    def _averaged(self, images: torch.Tensor) -> torch.Tensor:
        logits = []
        for group, views in zip(self._transform.groups, self._transform.split(images), strict=True):
            scores = [
                self._scores(part, whole=group.whole)
                for part in views.flatten(0, 1).split(max(1, self._pixels // group.side**2))
            ]
            logits.append(torch.cat(scores).unflatten(0, views.shape[:2]))
        return average_views(torch.cat(logits, 1), self._transform.views.average)

    def _scores(self, views: torch.Tensor, *, whole: bool) -> torch.Tensor:
        if whole and self._by_position is not None:
            with self._network.autocast():
                return self._by_position(self._network.inputs(views)).float()
        return self._network(views)
