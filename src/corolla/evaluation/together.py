"""Several networks on the same photos, each with views of its own."""

from collections.abc import Sequence

import torch

from corolla.data.transforms.joined import JoinedTransform
from corolla.evaluation.tta_model import TTAModel


class NetworksTogether:
    """The networks of several runs, which see a batch one after the other."""

    def __init__(self, networks: Sequence[TTAModel], transform: JoinedTransform) -> None:
        self._networks, self._transform = networks, transform

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return the probabilities N x networks x classes (float32) of N images, as the transform makes them."""
        made = zip(self._networks, self._transform.split(images), strict=True)
        return torch.stack([self._whole(network, own) for network, own in made], 1)

    @staticmethod
    def _whole(network: TTAModel, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([network(part) for part in images.split(network.batch_size)])
