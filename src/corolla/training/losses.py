"""The training loss: cross entropy, with the config's terms for rare classes and for a teacher.

Validation loss is plain cross entropy whatever stands here (evaluation/metrics.py).
"""

import numpy as np
import torch
from torch.nn import functional as F

from corolla.config import TrainConfig


class TrainLoss:
    """The sum of the losses of N images by their logits and targets, as `config` has it; nothing in it is learned."""

    def __init__(self, config: TrainConfig, class_counts: np.ndarray, device: torch.device) -> None:
        """Prepare the loss for `class_counts` training photos per class; a class without any counts as having one."""
        self.config = config
        counts = np.maximum(class_counts, 1).astype(np.float64)
        prior = log_prior(counts, config.balance)
        self._shift = self._weight = None
        if config.logit_adjustment:
            self._shift = torch.from_numpy(config.logit_adjustment * prior).float().to(device)
        if config.class_balance:
            shown = np.where(class_counts > 0, np.exp(prior) * counts.sum(), 0.0)
            self._weight = torch.from_numpy(class_balanced_weights(shown, config.class_balance)).float().to(device)

    def __call__(
        self, logits: torch.Tensor, targets: torch.Tensor, teacher_logits: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the sum of the losses of N images.

        Args:
            logits: N x classes, float32.
            targets: N labels (int64), or N x classes probabilities where images are mixed.
            teacher_logits: N x classes, float32, of the same images; None without a teacher.
        """
        config = self.config
        adjusted = logits if self._shift is None else logits + self._shift
        loss = F.cross_entropy(
            adjusted, targets, weight=self._weight, reduction="sum", label_smoothing=config.label_smoothing
        )
        if teacher_logits is None:
            return loss
        imitation = distillation(logits, teacher_logits, config.distill_temperature)
        return (1 - config.distill_weight) * loss + config.distill_weight * imitation


def count_right(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return how many of N images the network recognises, on the device; where they are mixed, by the larger label.

    Args:
        logits: N x classes.
        targets: as in the loss.
    """
    labels = targets.argmax(1) if targets.ndim == 2 else targets
    return (logits.argmax(1) == labels).sum()


def distillation(logits: torch.Tensor, teacher_logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return T^2 times the Kullback-Leibler divergence from the teacher's softened probabilities, summed over images.

    Hinton et al. 2015, section 2: by the factor T^2 the gradient keeps its size whatever the temperature T.
    """
    soft = F.log_softmax(logits / temperature, dim=1)
    teacher = F.log_softmax(teacher_logits / temperature, dim=1)
    return F.kl_div(soft, teacher, reduction="sum", log_target=True) * temperature**2


def log_prior(counts: np.ndarray, balance: float = 0.0) -> np.ndarray:
    """Return the log of each class's frequency in training: its n photos count as n^(1 - balance) (data/sampler.py)."""
    shown = counts ** (1 - balance)
    return np.log(shown / shown.sum())


def class_balanced_weights(counts: np.ndarray, beta: float) -> np.ndarray:
    """Return (1 - beta) / (1 - beta^n) of each class, shown n times an epoch (Cui et al. 2019, section 4).

    They are scaled so that the mean over classes with photos is 1; one without weighs as if it had a single photo.
    Towards beta 0 every class weighs the same, towards 1 the weights tend to those by inverse frequency.
    """
    weights = (1 - beta) / -np.expm1(np.where(counts > 0, counts, 1) * np.log(beta))
    return weights / weights[counts > 0].mean()
