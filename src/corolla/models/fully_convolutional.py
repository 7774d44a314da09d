"""Trained networks in fully convolutional form, for photos larger than those of their training."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corolla.errors import UserError


class FullyConvolutional(nn.Module):
    """A network whose classifier is a 1x1 convolution over the last feature map, followed by the mean of all positions.

    It follows Simonyan & Zisserman 2014, section 3.2, and He et al. 2015, section 3.4. For a linear classifier behind
    average pooling the mean of the scores is the score of the mean, so at the training size this is the ordinary
    forward pass but for rounding. Where there is more between map and scores (a norm in ConvNeXt, a layer in
    MobileNetV3), scores of single positions are nothing the network was trained for: such networks keep their own head,
    on the mean over the larger map.
    """

    def __init__(self, model: nn.Module, input_size: int, *, name: str) -> None:
        """Wrap `model`, which is in eval mode, float32 and on the CPU, without a copy; `name` is for the message.

        Raises:
            UserError: the network has no feature map, or takes photos of one size alone.
        """
        super().__init__()
        self.model: Any = model
        self.by_position = self._head_is_linear(input_size, name)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, num_classes) of normalised images (N, 3, H, W)."""
        if not self.by_position:
            return self.model(images)
        return self._scores(self.model.forward_features(images)).float().mean((2, 3))

    def _scores(self, features: Tensor) -> Tensor:
        """Return the scores of every position, (N, num_classes, h, w), of features (N, C, h, w)."""
        classifier = self.model.get_classifier()
        return F.conv2d(features, classifier.weight.view(*classifier.weight.shape[:2], 1, 1), classifier.bias)

    @torch.inference_mode()
    def _head_is_linear(self, input_size: int, name: str) -> bool:
        """Return whether scores by position, averaged, are the network's own; one image is tried, as heads are many."""
        refusal = UserError(
            f"--tta multi-scale: {name} has no feature map of any size; take flip, ten-crop or random-N"
        )
        if takes_one_size(self.model) or not hasattr(self.model, "forward_features"):
            raise refusal
        image = torch.rand(1, 3, input_size, input_size, generator=torch.Generator().manual_seed(0))
        features = self.model.forward_features(image)
        if features.ndim != 4:
            raise refusal
        classifier = self.model.get_classifier()
        if not isinstance(classifier, nn.Linear | nn.Conv2d) or classifier.weight.shape[1] != features.shape[1]:
            return False
        own, averaged = self.model(image), self._scores(features).mean((2, 3))
        return torch.allclose(averaged, own, rtol=1e-3, atol=1e-3 * float(own.abs().max()))


def takes_one_size(model: nn.Module) -> bool:
    """Return whether the architecture fixes the size of its input, as most vision transformers do."""
    return bool((getattr(model, "pretrained_cfg", None) or {}).get("fixed_input_size"))
