"""uint8 pixels made into the network's input, on the device."""

import torch
from torch import nn

from corolla.models.pretrained import Preprocessing


class Normalise(nn.Module):
    """Turns N x H x W x 3 uint8 into N x 3 x H x W float32, (x / 255 - mean) / std; without a copy in channels_last."""

    def __init__(self, preprocessing: Preprocessing, *, channels_last: bool) -> None:
        super().__init__()
        self.channels_last = channels_last
        scale = 1 / (255 * torch.tensor(preprocessing.std, dtype=torch.float64))
        offset = -torch.tensor(preprocessing.mean, dtype=torch.float64) / torch.tensor(preprocessing.std)
        self.scale: torch.Tensor
        self.offset: torch.Tensor
        self.register_buffer("scale", scale.float(), persistent=False)
        self.register_buffer("offset", offset.float(), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pixels = torch.addcmul(self.offset, images.float(), self.scale).permute(0, 3, 1, 2)
        return pixels if self.channels_last else pixels.contiguous()
