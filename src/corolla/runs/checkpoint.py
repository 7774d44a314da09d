"""Checkpoints: everything from which a run continues bit for bit, and from which alone its model is rebuilt."""

import hashlib
import io
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import torch
from torch import nn

from corolla.config import Config, from_dict, to_dict
from corolla.errors import UserError
from corolla.files import replacing
from corolla.models.factory import build_model
from corolla.models.pretrained import Preprocessing
from corolla.models.weights_file import FOREIGN
from corolla.runs.without_torch import IMPORTED, check_undamaged, complete_rows, read_without_tensors, whole_beside
from corolla.text_files import mismatch, printable

FORMAT = 1
KNOWN_OF_IMPORTED = ("size", "input_size", "model")
"""Settings that are known of a checkpoint that others have trained."""
SHAPE = {
    "config": {str: object},
    "input_size": int,
    "class_names": [str],
    "preprocessing": {"mean": [float], "std": [float], "interpolation": str, "crop_fraction": float},
    "fingerprint": {str: str},
    "teacher?": (None, str),
    "imported?": (None, IMPORTED),
    "seeds_parts?": bool,
    "progress": {
        "rows": [dict],
        "step?": int,
        "loss_sum?": float,
        "num_seen?": int,
        "num_right?": (None, int),
        "seconds?": float,
        "waits_from?": int,
    },
    "model": {str: object},
    "ema": (None, {str: object}),
    "optimizer": {str: object},
    "scaler": (None, {str: object}),
}
"""The shape of a checkpoint, as far as it is read again."""


@dataclass(kw_only=True)
class Progress:
    """The progress of a run. No generator's state is in it: what is random is a function of seed, epoch and step."""

    step: int = 0
    """Updates done."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """metrics.jsonl, a row per finished epoch: this is the truth, the file its copy."""
    inherited: int = 0
    """Number of them that are another run's, in checkpoints of corolla 0.1 (--resume-from with other settings): best.pt
    is chosen among the others."""
    loss_sum: float = 0.0
    """Sum of the training losses over the images of the epoch under way."""
    num_seen: int = 0
    """Images in that sum."""
    num_right: int | None = 0
    """How many of them the network recognised; None: a version that did not count them began the epoch."""
    seconds: float = 0.0
    """Time spent training and evaluating, over all starts."""
    waits_from: int = 0
    """Epochs that were done when the run was last made longer: --train.stop-early counts from there."""


@dataclass(frozen=True, kw_only=True)
class ModelMeta:
    """Everything that is known of a model beside its weights."""

    config: Config
    input_size: int
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    fingerprint: dict[str, str]
    """Split to fingerprint of the data it was trained and validated on; empty where `imported`."""
    teacher: str | None = None
    """SHA-256 of the checkpoint that --train.teacher names; None without one."""
    imported: dict[str, str] | None = None
    """Name and SHA-256 of the file that it was made of without training; nothing is known of its training then, and the
    settings of `config` but for the network are no more than defaults. None of a run that was trained."""


def save_checkpoint(content: dict[str, Any], *paths: Path) -> None:
    """Write a checkpoint at each of `paths`, under a temporary name first, flushed and renamed."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    for path in paths:
        with replacing(path) as temporary:
            temporary.write_bytes(buffer.getbuffer())


def checkpoint_content(
    meta: ModelMeta,
    progress: Progress,
    *,
    model: nn.Module,
    ema: nn.Module | None,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler | None,
) -> dict[str, Any]:
    """Return what a checkpoint holds."""
    return {
        "format": FORMAT,
        "config": to_dict(meta.config, with_runtime=False),
        "input_size": meta.input_size,
        "class_names": list(meta.class_names),
        "preprocessing": asdict(meta.preprocessing),
        "fingerprint": meta.fingerprint,
        "teacher": meta.teacher,
        "seeds_parts": True,  # earlier versions seeded torch once a step, and mixed images across parts
        "progress": _progress_to_dict(progress),
        "model": model.state_dict(),
        "ema": ema.state_dict() if ema is not None else None,
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict() if scaler is not None else None,
    }


def save_imported(state: dict[str, torch.Tensor], meta: ModelMeta, path: Path, *copies: Path) -> None:
    """Write weights that others have trained as a checkpoint at `path` and then its `copies`.

    Of the settings it holds the sizes and the network, and no progress and no optimizer, as nothing of them is known.
    """
    config = to_dict(meta.config, with_runtime=False)
    content = {
        "format": FORMAT,
        "config": {name: config[name] for name in KNOWN_OF_IMPORTED},
        "input_size": meta.input_size,
        "class_names": list(meta.class_names),
        "preprocessing": asdict(meta.preprocessing),
        "fingerprint": {},
        "imported": meta.imported,
        "progress": {"rows": []},
        "model": {name: tensor.detach().clone() for name, tensor in state.items()},  # not all that a view is a part of
        "ema": None,
        "optimizer": {"state": {}, "param_groups": []},
        "scaler": None,
    }
    save_checkpoint(content, path, *copies)


def _progress_to_dict(progress: Progress) -> dict[str, Any]:
    """Return what `read_progress` reads; the history is called rows there."""
    values = asdict(progress)
    return {"rows" if name == "history" else name: value for name, value in values.items()}


def read_progress(content: dict[str, Any]) -> Progress:
    """Return how far the run of a checkpoint had come."""
    values = dict(content["progress"])
    values.setdefault("num_right", None if values.get("num_seen") else 0)
    return Progress(history=complete_rows(values.pop("rows")), **values)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint, on the CPU.

    Raises:
        UserError: there is none, it is damaged (the message says which other one is whole), or not one of corolla's.
    """
    check_undamaged(path)
    read_without_tensors(path)  # it says in our words what no checkpoint is; torch's own advice is to run its code
    return read_checkpoint(path, path)


def load_with_digest(path: Path) -> tuple[dict[str, Any], str]:
    """Return the content of a checkpoint, on the CPU, and its SHA-256, both of one file.

    A run that goes on may replace its checkpoint in between; then the later one is read.

    Raises:
        UserError: as `load_checkpoint`.
    """
    while True:
        try:
            file = path.open("rb")
        except OSError:
            return load_checkpoint(path), ""  # which says it in a line
        with file:  # as long as it is open no other file gets its number
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            content = load_checkpoint(path)
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return content, digest


def load_unchanged(path: Path, digest: str) -> dict[str, Any]:
    """Return the content of the checkpoint with this SHA-256, on the CPU.

    Raises:
        UserError: there is another one now, and as `load_checkpoint`.
    """
    content, found = load_with_digest(path)
    if found != digest:
        raise UserError(f"{path}: was replaced by a later checkpoint in the meantime; give the command again")
    return content


def read_checkpoint(source: Path | IO[bytes], path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint, on the CPU, which messages call `path`.

    Raises:
        UserError: it is damaged, or not one of corolla's.
    """
    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
    except FOREIGN:  # torch's own words advise to run what is in it
        raise UserError(
            f"{path}: not a readable checkpoint (it is damaged, or holds other than plain values){whole_beside(path)}"
        ) from None
    is_ours = isinstance(content, dict) and isinstance(content.get("format"), int) and content["format"] == FORMAT
    if not is_ours:
        raise UserError(f"{path}: not a checkpoint of this version of corolla")
    if wrong := mismatch(content, SHAPE):
        raise UserError(f"{path}: not a whole checkpoint ({wrong})")
    return content | {"path": str(path)}


def read_meta(content: dict[str, Any]) -> ModelMeta:
    """Return what a checkpoint knows of its model beside the weights."""
    values = content["preprocessing"]
    preprocessing = Preprocessing(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
    return ModelMeta(
        config=from_dict(content["config"], source=content.get("path", "checkpoint")),
        input_size=content["input_size"],
        class_names=tuple(content["class_names"]),
        preprocessing=preprocessing,
        fingerprint=content["fingerprint"],
        teacher=content.get("teacher"),  # checkpoints of early versions do not say
        imported=content.get("imported"),
    )


def rebuild_model(content: dict[str, Any]) -> tuple[nn.Module, ModelMeta]:
    """Return the network in a checkpoint with the weights that are evaluated (the moving average, where it is on)."""
    meta = read_meta(content)
    model = build_model(meta.config.model, len(meta.class_names), meta.input_size)
    try:
        model.load_state_dict(content["ema"] or content["model"])
    except RuntimeError as error:  # names of tensors, or their shapes
        reason = printable(" ".join(str(error).split())[:200])
        raise UserError(f"{content.get('path', 'checkpoint')}: its weights are not its network's ({reason})") from None
    return model.eval(), meta
