"""Test-time augmentation: several views of a photo, one prediction.

What is averaged: the **probabilities** (softmax) of the views, with equal weights.
"""

import torch


def average_views(logits: torch.Tensor) -> torch.Tensor:
    """Logits N x views x classes -> probabilities N x classes, float32."""
    return logits.float().softmax(-1).mean(1)
