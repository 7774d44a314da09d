"""`corolla import-checkpoint`: a run folder of a checkpoint that others have trained, without training.

The run holds every tensor of the network bit for bit as the file does. Of its training nothing is known: it has no
metrics, no times, no seed, no fingerprint of data, and what reads a run says so.
"""

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from corolla.config import Config, ModelConfig, as_options, to_dict
from corolla.config.checks import check_ignored, check_settings
from corolla.config.keywords import with_keywords
from corolla.data.competition import CLASS_NAMES
from corolla.data.index import Index, load_index
from corolla.data.record_files import size_folders
from corolla.errors import UserError
from corolla.files import sha256, write_atomically
from corolla.importing.checkpoint_facts import (
    Facts,
    Interpolation,
    check_outputs,
    class_names_of,
    facts_of,
    network_of,
)
from corolla.models.factory import build_model, classifier_names, forward_error
from corolla.models.pretrained import StateDict, fill_model, num_classes_in, weights_for
from corolla.models.weights_file import read_weights_file
from corolla.models.weights_fit import find_weights, other_network
from corolla.paths import AnyPath, as_path
from corolla.runs.checkpoint import KNOWN_OF_IMPORTED, ModelMeta, save_imported
from corolla.runs.folder import OWN_NAMES, Run, exclusive
from corolla.runs.writing import write_environment
from corolla.temporary import is_temporary
from corolla.text_files import shell_words

log = logging.getLogger(__name__)

NETWORK = ("name", "shortcut", "stride_in_1x1", "stem", "avg_shortcut", "activation", "width")
"""Settings of `ModelConfig` that decide which tensors a network has, or what it computes with them."""
LEFT_BY_A_KILL = (".lock", "environment.json", "best.pt")


def import_checkpoint(
    checkpoint: AnyPath,
    out: AnyPath,
    *,
    model: str | Mapping[str, Any] | ModelConfig = "",
    classes: AnyPath | None = None,
    data: AnyPath | None = None,
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    input_size: int | None = None,
    interpolation: Interpolation | None = None,
    crop_fraction: float | None = None,
    cache_dir: AnyPath | None = None,
) -> Run:
    """Make a run of a checkpoint, so that it can be predicted with, compared, joined and submitted.

    Args:
        checkpoint: a state dict, safetensors, or the checkpoint of a training script (timm, Lightning, ...).
        out: the run's folder, which is made.
        model: the network by its name (timm:resnet50, resnet18), or the settings of `ModelConfig` that it differs in.
        classes: text with the name of a class a line, in the order of the classifier's outputs; default: those of
            `data`, or the competition's 104 where there are so many.
        data: the data folder that is predicted where none is named; it need not be the one it was trained with.
        size: which tfrecords-jpeg-SxS of `data`; default: the only one, or that of the input size.
        mean: subtracted from RGB in [0, 1]. This and what follows: default: what the file says, else timm's
            pretrained_cfg, which for an own network is ImageNet's.
        std: divides what is left.
        input_size: side of the images that the network sees, in pixels.
        interpolation: of the resize: bilinear or bicubic.
        crop_fraction: evaluation resizes the shorter side to input size / this, then crops the centre.
        cache_dir: folder for the index of `data`; default: the user's cache.

    Raises:
        UserError: the file is none of weights, they do not fit the network, its classifier not the classes, a value is
            out of range, or `out` holds something; nothing is written then.
    """
    path, out, classes, data = as_path(checkpoint), as_path(out), as_path(classes), as_path(data)
    _check_places(path, out)
    content = read_weights_file(path)
    network, tag = network_of(_settings(model), content)
    given = {"mean": mean, "std": std, "interpolation": interpolation, "crop_fraction": crop_fraction}
    facts = facts_of(network.name, tag, content, {**given, "input_size": input_size})
    index = None if data is None else _index(data, size, facts.input_size, as_path(cache_dir))
    names, source = class_names_of(classes, content, index)
    state, notes, warnings = _fitting_weights(path, content, network, facts, names, source)
    config = Config(model=network, size=index.size if index else size, input_size=facts.input_size)
    meta = ModelMeta(
        config=config,
        input_size=facts.input_size,
        class_names=names or CLASS_NAMES,
        preprocessing=facts.preprocessing,
        fingerprint={},
        imported={"file": path.name, "sha256": sha256(path)},
    )
    command = _command(path, out, meta, classes=classes, data=data)
    run = Run(out)
    _write(run, state, meta, file=str(path.absolute()), command=command, index=index)
    for line in notes:
        log.info("%s: %s", path, line)
    for warning in warnings:
        log.warning("%s: %s", path, warning)
    log.info("%s, classifier of %d classes (%s)", network.name, len(meta.class_names), source or "the competition's")
    for line in facts.said:
        log.info("%s", line)
    return run


def _check_places(path: Path, out: Path) -> None:
    """Raise UserError where there is no file, or where `out` is taken."""
    if path.is_dir():
        is_run = (path / "config.json").is_file()
        what = "is a run already, which predict and compare take as it is" if is_run else "is a folder; name the file"
        raise UserError(f"{path}: {what}")
    if any((out / name).exists() for name in ("config.json", "last.pt")):
        raise UserError(f"{out}: holds a run already; choose another folder")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; the folder of a run is expected, as runs/NAME")
    there = sorted(each.name for each in out.iterdir()) if out.is_dir() else []
    if others := [name for name in there if name not in LEFT_BY_A_KILL and not is_temporary(name, *OWN_NAMES)]:
        raise UserError(f"{out}: holds other files ({others[0]}); choose a folder of its own, as {out / 'NAME'}")


def _settings(model: str | Mapping[str, Any] | ModelConfig) -> ModelConfig:
    """Return the settings of a network.

    Raises:
        UserError: one of them is unknown, out of range, or of training.
    """
    if isinstance(model, ModelConfig):
        settings = model
    else:
        values = {"name": model} if isinstance(model, str) else {"name": "", **model}
        settings = with_keywords(Config(), {"model": values})[0].model
    usual = ModelConfig()
    for field in dataclasses.fields(ModelConfig):
        if field.name not in NETWORK and getattr(settings, field.name) != getattr(usual, field.name):
            option = field.name.replace("_", "-")
            raise UserError(f"--model.{option} has no effect on a checkpoint that is imported: leave it out")
    return settings


def _index(data: Path, size: int | None, input_size: int, cache_dir: Path | None) -> Index:
    if size is None and input_size in size_folders(data):
        size = input_size
    return load_index(data, size, cache_dir)


def _fitting_weights(
    path: Path, content: Any, network: ModelConfig, facts: Facts, names: tuple[str, ...] | None, source: str
) -> tuple[StateDict, list[str], list[str]]:
    """Return the file's tensors under the network's names, what was done to find them, and what may be wrong with them.

    Raises:
        UserError: they are not the network's, would have to be changed to be, or the classifier is not of the classes.
    """
    defaults = ModelConfig()
    changed = {f"model.{name}" for name in NETWORK if getattr(network, name) != getattr(defaults, name)}
    check_settings(Config(model=network), explicit=changed)
    ignored: list[str] = []
    model = build_model(network, len(names or CLASS_NAMES), facts.input_size, ignored=ignored)
    check_ignored(ignored, network.name, explicit=ignored)
    there = find_weights(path, content, model.state_dict()).state
    found = weights_for(path, content, model, network.name)
    renamed = _check_unchanged(path, there, found.state, facts.input_size)
    is_kept = fill_model(model, found.state, f"{path}: its weights do not fit {network.name}", hint=found.hint)
    check_outputs(path, num_classes_in(model, found.state), names, source, network.name)
    if not is_kept:
        raise UserError(f"{path}: its classifier is not that of {network.name}: {_misfits(model, found.state)}")
    if reason := forward_error(model, facts.input_size, torch.device("cpu")):
        raise UserError(
            f"--input-size {facts.input_size}: {network.name} takes no images of this size ({reason}); choose another"
        )
    own = model.state_dict()
    notes = list(found.said) + [f"{renamed} tensors under timm's names"] * bool(renamed)
    notes += [f"{kind} in the file, computed with in float32" for kind in _narrowed(found.state)]
    whose = other_network(content, network)
    warnings = [*found.warnings, *([whose] if whose else [])]
    return {name: tensor for name, tensor in found.state.items() if name in own}, notes, warnings


def _misfits(model: nn.Module, state: StateDict) -> str:
    """Return which tensors of a classifier are missing or of another shape."""
    prefixes = tuple(f"{name}." for name in classifier_names(model))
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if name.startswith(prefixes)}
    there = {name: tuple(state[name].shape) if name in state else "missing" for name in own}
    return "; ".join(f"{name} is {there[name]}, not {shape}" for name, shape in own.items() if there[name] != shape)


def _check_unchanged(path: Path, there: StateDict, state: StateDict, input_size: int) -> int:
    """Check that no tensor was changed on its way to the network's shapes; return how many have other names now.

    Raises:
        UserError: one was, as timm fits embeddings of positions to the input size.
    """
    for name, tensor in state.items():
        before = there.get(name)
        if before is not None and not _same_numbers(before, tensor):
            raise UserError(
                f"{path}: {name} is {tuple(before.shape)}, which timm would change to {tuple(tensor.shape)} for images "
                f"of {input_size} px; name the size that it was trained for with --input-size"
            )
    return sum(name not in there for name in state)


def _same_numbers(before: torch.Tensor, tensor: torch.Tensor) -> bool:
    if before is tensor:
        return True
    return before.dtype == tensor.dtype and torch.equal(before.flatten(), tensor.flatten())


def _narrowed(state: StateDict) -> set[str]:
    """Return the types of numbers that float32 can't hold."""
    return {"float64" for tensor in state.values() if tensor.dtype == torch.float64}


def _command(path: Path, out: Path, meta: ModelMeta, *, classes: Path | None, data: Path | None) -> str:
    """Return the command that makes this run again, whatever a later version of timm says."""
    words: list[object] = ["corolla", "import-checkpoint", path.absolute(), out]
    usual = dataclasses.asdict(ModelConfig(name=""))
    for name, value in dataclasses.asdict(meta.config.model).items():
        words += as_options(f"model.{name}", value) if value != usual[name] else []
    for option, value in (("--classes", classes), ("--data", data), ("--size", meta.config.size)):
        words += [option, value.absolute() if isinstance(value, Path) else value] if value is not None else []
    preprocessing = meta.preprocessing
    words += ["--mean", *preprocessing.mean, "--std", *preprocessing.std, "--input-size", meta.input_size]
    words += ["--interpolation", preprocessing.interpolation, "--crop-fraction", preprocessing.crop_fraction]
    return shell_words(*words)


def _write(run: Run, state: StateDict, meta: ModelMeta, *, file: str, command: str, index: Index | None) -> None:
    """Write the run's folder; config.json, by which it is a run, comes last."""
    with exclusive(run.folder):
        origin = {**(meta.imported or {}), "file": file, "command": command}
        place = {} if index is None else {"data": str(index.folder.resolve())}
        write_environment(run, **place, fingerprint=None, imported=origin)
        save_imported(state, meta, run.best, run.last)
        settings = to_dict(meta.config, with_runtime=False)
        known = {name: settings[name] for name in KNOWN_OF_IMPORTED}
        write_atomically(run.folder / "config.json", (json.dumps(known, indent=2) + "\n").encode())
