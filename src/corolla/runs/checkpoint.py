"""Checkpoints: everything from which a run continues bit for bit, and its model is rebuilt without anything else."""

import io
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from corolla.config import Config, from_dict, to_dict
from corolla.errors import UserError
from corolla.files import replacing
from corolla.models.factory import build_model
from corolla.models.weights import Preprocessing

FORMAT = 1


@dataclass(kw_only=True)
class Progress:
    """How far a run has come. No generator's state is in it: what is random is a function of seed, epoch and step."""

    step: int = 0
    """Updates done."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    """metrics.jsonl, a row per finished epoch: this is the truth, the file its copy."""
    inherited: int = 0
    """How many of them are another run's (--resume-from); this run's best.pt is chosen among the others."""
    loss_sum: float = 0.0
    """Sum of the training losses over the images of the epoch under way."""
    num_seen: int = 0
    """Images in that sum."""
    seconds: float = 0.0
    """Time spent training and evaluating, over all starts."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a model is, beside its weights."""

    config: Config
    input_size: int
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    fingerprint: dict[str, str]
    """Split to fingerprint of the data it was trained and validated on."""
    teacher: str | None = None
    """SHA-256 of the checkpoint that --train.teacher names; None without one."""


def save_checkpoint(
    path: Path,
    description: Description,
    progress: Progress,
    *,
    model: nn.Module,
    ema: nn.Module | None,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler | None,
    copies: tuple[Path, ...] = (),
) -> None:
    """Write `path` and then its `copies`, each under a temporary name first, flushed and renamed."""
    content = {
        "format": FORMAT,
        "config": to_dict(description.config, with_operational=False),
        "input_size": description.input_size,
        "class_names": list(description.class_names),
        "preprocessing": asdict(description.preprocessing),
        "fingerprint": description.fingerprint,
        "teacher": description.teacher,
        "progress": asdict(progress),
        "model": model.state_dict(),
        "ema": ema.state_dict() if ema is not None else None,
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict() if scaler is not None else None,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    for target in (path, *copies):
        with replacing(target) as temporary:
            temporary.write_bytes(buffer.getbuffer())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU.

    Raises:
        UserError: there is none, or it is not one of corolla's.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such checkpoint") from None
    except Exception as error:  # torch raises half a dozen types for a file that is cut or foreign
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: not a readable checkpoint ({reason})") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path}: not a checkpoint of this version of corolla")
    return content


def describe_checkpoint(content: dict[str, Any]) -> Description:
    """What the model in a checkpoint is."""
    values = content["preprocessing"]
    preprocessing = Preprocessing(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
    return Description(
        config=from_dict(content["config"], source="checkpoint"),
        input_size=content["input_size"],
        class_names=tuple(content["class_names"]),
        preprocessing=preprocessing,
        fingerprint=content["fingerprint"],
        teacher=content.get("teacher"),  # checkpoints of early versions do not say
    )


def rebuild_model(content: dict[str, Any]) -> tuple[nn.Module, Description]:
    """The network in a checkpoint with the weights that are evaluated (the moving average, where it is on)."""
    description = describe_checkpoint(content)
    model = build_model(description.config.model, len(description.class_names), description.input_size)
    model.load_state_dict(content["ema"] or content["model"])
    return model.eval(), description
