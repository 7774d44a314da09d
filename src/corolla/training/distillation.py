"""The teacher of knowledge distillation: the network of another run, which does not change."""

from pathlib import Path

import torch

from corolla.config import TrainConfig
from corolla.config.weights_source import checkpoint_at
from corolla.device import Precision, autocast
from corolla.errors import UserError
from corolla.models.normalise import Normalise
from corolla.runs.checkpoint import load_with_digest, rebuild_model


class Teacher:
    """The teacher, which computes logits of uint8 images with its own preprocessing (Hinton et al. 2015)."""

    def __init__(
        self, config: TrainConfig, class_names: tuple[str, ...], device: torch.device, precision: Precision
    ) -> None:
        """Load the teacher that `config` names.

        Raises:
            UserError: --train.teacher names no checkpoint, or one of other classes.
        """
        self.name = config.teacher
        path = checkpoint_at(Path(config.teacher).expanduser())
        if not path.is_file():
            raise UserError(f"--train.teacher {config.teacher}: there is no checkpoint at {path}; name a run's folder")
        content, self.sha256 = load_with_digest(path)
        self.path = path
        model, meta = rebuild_model(content)
        if meta.class_names != class_names:
            raise UserError(
                f"--train.teacher {config.teacher}: its classes are not those of the data; name a run on the same ones"
            )
        self.device = device
        self.precision: Precision = precision
        memory_format = torch.channels_last if config.channels_last else torch.contiguous_format
        self.model = model.to(device=device, memory_format=memory_format)  # pyright: ignore[reportCallIssue] - an overload is missing
        self.preprocessing = meta.preprocessing
        self.normalise = Normalise(meta.preprocessing, channels_last=config.channels_last).to(device)

    def check_unchanged(self, digest: str | None) -> None:
        """Check that the run has not learned from another checkpoint so far, the one with this SHA-256.

        Raises:
            UserError: it has.
        """
        if digest not in (None, self.sha256):
            raise UserError(
                f"--train.teacher {self.name}: is not the checkpoint that this run has learned from so far "
                f"(SHA-256 {digest[:12]}, now {self.sha256[:12]}); put that one back, or choose another --run-name"
            )

    @torch.no_grad()
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits (N x classes, float32) of images (N x H x W x 3 in [0, 255])."""
        with autocast(self.device, self.precision):
            return self.model(self.normalise(images)).float()
