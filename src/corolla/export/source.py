"""A run's network as it is exported: weights, classes, preprocessing, and the facts that go with it."""

import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from corolla.data.transforms.eval import EvalTransform
from corolla.models.normalise import Normalise
from corolla.runs.checkpoint import ModelMeta, load_with_digest, read_progress, rebuild_model
from corolla.runs.folder import CheckpointName, Run


@dataclass(frozen=True, eq=False)
class Source:
    """A checkpoint's network in eval mode, in fp32 (the moving average where it is on), and what is known of it."""

    run: Run
    checkpoint: CheckpointName
    sha256: str
    """The checkpoint's hash."""
    model: nn.Module
    meta: ModelMeta
    rows: list[dict[str, Any]]
    """A row of metrics.jsonl per epoch that the checkpoint was trained; its own is the last."""

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        return self.run.folder.resolve().name

    @property
    def transform(self) -> EvalTransform:
        """The centre crop of evaluation."""
        own = self.meta.preprocessing
        return EvalTransform(
            self.meta.input_size, crop_fraction=own.crop_fraction, interpolation=own.interpolation, tta="none"
        )

    @property
    def preprocessing(self) -> dict[str, Any]:
        """The way from a photo to the network's pixels, as other programs are told it."""
        return {
            "input_size": self.meta.input_size,
            "resize_shorter_side": self.transform.resized,
            "interpolation": self.meta.preprocessing.interpolation,
            "crop": "center",
        }

    @property
    def facts(self) -> dict[str, str]:
        """Texts to be put into a file beside its weights; `class_names` is JSON."""
        return {
            "class_names": json.dumps(self.meta.class_names, ensure_ascii=False),
            "network": self.meta.config.model.name,
            "run": self.name,
            "checkpoint": self.checkpoint,
            "checkpoint_sha256": self.sha256,
            "epochs": "unknown" if self.meta.imported else str(len(self.rows)),
            "made_by": f"corolla {version('corolla')}",
        }

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the network's own probabilities, N x classes, of pixels N x S x S x 3."""
        return torch_probabilities(self.model, Normalise(self.meta.preprocessing, channels_last=False), images)


def read_source(run: Run, checkpoint: CheckpointName) -> Source:
    """Return what is to be exported of a run.

    Raises:
        UserError: its checkpoint is damaged.
    """
    checkpoint = run.counting(checkpoint)
    path: Path = run.checkpoint(checkpoint)
    content, digest = load_with_digest(path)
    model, meta = rebuild_model(content)
    return Source(run, checkpoint, digest, model, meta, read_progress(content).history)


@torch.inference_mode()
def torch_probabilities(model: nn.Module, normalise: Normalise, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the probabilities, N x classes, that a network in eval mode gives pixels N x S x S x 3, on the CPU."""
    return model(normalise(torch.from_numpy(images))).float().softmax(-1).numpy()
