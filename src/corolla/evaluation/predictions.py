"""Files of predictions: ids and probabilities. What passes from `corolla predict` to whatever needs no network."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from corolla.errors import UserError
from corolla.files import replacing

SplitName = Literal["train", "val", "test"]
CheckpointName = Literal["best", "last"]
TTA = str
"""A name of views, as evaluation/tta.py reads it: ten-crop+multi-scale."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Of one checkpoint on one split; rows are told apart by id, never by their order."""

    ids: NDArray[np.str_]
    probabilities: NDArray[np.float32]
    """N x classes, each row sums to 1."""
    labels: NDArray[np.int64] | None
    """N, where the split is labelled."""
    checkpoint: str
    """SHA-256 of the checkpoint that made them."""
    fingerprint: str = ""
    """Of the split's records, photos, ids and labels (data/index.py); empty in files from before they had one."""
    epochs: int = 0
    """How many epochs that checkpoint was trained."""
    seconds: float = 0.0
    """How long that took, in all."""

    def save(self, path: Path) -> None:
        columns = {"ids": self.ids, "probabilities": self.probabilities, "checkpoint": np.array(self.checkpoint)}
        columns |= {
            "fingerprint": np.array(self.fingerprint),
            "epochs": np.array(self.epochs),
            "seconds": np.array(self.seconds),
        }
        if self.labels is not None:
            columns["labels"] = self.labels
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **columns)

    @staticmethod
    def load(path: Path) -> "Predictions":
        """
        Raises:
            UserError: the file is damaged or not one of predictions.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                return Predictions(
                    ids=file["ids"],
                    probabilities=file["probabilities"],
                    labels=file.get("labels"),
                    checkpoint=str(file["checkpoint"]),
                    fingerprint=str(file.get("fingerprint", "")),
                    epochs=int(file["epochs"]),
                    seconds=float(file["seconds"]),
                )
        except Exception as error:  # numpy and zipfile raise half a dozen types for a file that is cut or foreign
            raise UserError(f"{path}: not a readable file of predictions ({error})") from None
