"""Find a network's weights in what a file holds: under whatever prefix, beside whatever else, and sound."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from corolla.errors import UserError
from corolla.models.weights_file import find_state_dicts, first_keys
from corolla.text_files import printable

# First parts of names that are no network's: losses, metrics, counters of training scripts; thop's counts at the end.
FOREIGN_NAMES = re.compile(
    r"(n_averaged|num_updates|decay|initted|step|epoch|criterion|(\w+_)?loss(_\w+)?|(\w+_)?metrics?|class_weights?"
    r"|(train|val|valid|test)_\w+|\w*accuracy|\w*f1\w*|normali[sz]er?|pixel_(mean|std))(\..*)?"
    r"|(.*\.)?(total_ops|total_params)"
)
WRAPPER = re.compile(r"(?<=\.)(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""Names that torch.compile, FSDP and activation checkpointing put inside those of a network's parts."""
AVERAGE = re.compile(r"(?<![a-z])ema(?![a-z])", re.IGNORECASE)
HEADS = {"fc", "head", "heads", "classifier", "linear", "last_linear", "logits", "output"}  # classifiers' usual names


@dataclass(frozen=True)
class FoundWeights:
    """The tensors of a file under the network's own names, and what was done to find them."""

    state: dict[str, Tensor]
    said: tuple[str, ...]
    """Where they lay in the file, the prefix that was taken off, and what was left out."""
    hint: str
    """A remark for the message that they don't fit: whose checkpoint it is, or its first keys where few names agree."""


def find_weights(path: Path, content: Any, own: Mapping[str, Tensor]) -> FoundWeights:
    """Return the tensors in a file's content whose names fit a network best.

    Args:
        own: the network's own state dict.

    Raises:
        UserError: the file holds no tensors by name.
    """
    candidates = [(place, _unwrapped(found)) for place, found in find_state_dicts(content)]
    if not candidates:
        raise UserError(f"{path} holds no state dict: {first_keys(content)}")
    best = max(candidates, key=lambda candidate: _best_prefix(candidate[1], own)[1])  # of equals the first
    (place, found), (prefix, matches) = best, _best_prefix(best[1], own)
    state = {name[len(prefix) :]: value for name, value in found.items() if name.startswith(prefix)}
    outside = {name: value for name, value in found.items() if not name.startswith(prefix)}
    state |= {name: value for name, value in outside.items() if name in own and name not in state}
    left_out = [name for name in outside if name not in state]
    tops = {name.split(".")[0] for name in own}
    for name, value in list(state.items()):
        top = name.split(".")[0]
        other_head = top in HEADS and top not in tops and matches > 0
        if name not in own and (not isinstance(value, Tensor) or FOREIGN_NAMES.fullmatch(name) or other_head):
            left_out.append(prefix + name)
            del state[name]
    said = [f"weights taken from {place!r}"] * bool(place) + [f"prefix {prefix!r} taken off"] * bool(prefix)
    if left_out:
        more = f" and {len(left_out) - 5} more" if len(left_out) > 5 else ""
        said.append(f"left out: {', '.join(map(printable, left_out[:5]))}{more}")
    return FoundWeights(state, tuple(said), _hint(content) or (first_keys(found) if matches * 2 < len(own) else ""))


def _unwrapped(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return tensors under their modules' own names, where torch has wrapped parts of a network."""
    names = {name: WRAPPER.sub("", name) if isinstance(name, str) else name for name in found}
    is_one_to_one = len(set(names.values())) == len(names)
    return {names[name]: value for name, value in found.items()} if is_one_to_one else found


def _best_prefix(found: Mapping[str, Any], own: Mapping[str, Tensor]) -> tuple[str, int]:
    """Return the beginning of names behind which most of the network's own names stand, and how many these are.

    Of equals an average of the weights is taken (ema), as of the containers, else the first.
    """
    counts = Counter[str]({"": 0})
    for name, value in found.items():
        parts = name.split(".")
        for start in range(len(parts) if isinstance(value, Tensor) else 0):
            tail = ".".join(parts[start:])
            if tail in own:
                counts[name[: len(name) - len(tail)]] += 1
    return max(counts.items(), key=lambda item: (item[1], bool(AVERAGE.search(item[0]))))


def _hint(content: Any) -> str:
    """Return which network a checkpoint of corolla is of; empty for others."""
    config = content.get("config") if isinstance(content, Mapping) else None
    model = config.get("model") if isinstance(config, Mapping) else None
    if isinstance(model, Mapping) and isinstance(model.get("name"), str):
        width = f", width {model['width']:g}" if isinstance(model.get("width"), float) else ""
        return f"it is a corolla checkpoint of {printable(model['name'])}{width}"
    return ""


def check_tensors(path: Path | str, state: Mapping[str, Any], own: Mapping[str, Tensor]) -> None:
    """Check that every tensor that the network will take holds numbers that it can take.

    Raises:
        UserError: one does not.
    """
    for name, tensor in state.items():
        if name not in own:
            continue
        fault = _fault(tensor, own[name])
        if not fault and name.endswith("running_var") and bool((tensor.float() < 0).any()):
            fault = "holds negative variances: it is damaged; fetch it again"
        if fault:
            raise UserError(f"{path}: {printable(name)} {fault}")


def _fault(tensor: Any, own: Tensor) -> str:
    if not isinstance(tensor, Tensor):
        return f"is no tensor but {type(tensor).__name__}"
    if tensor.is_meta:
        return "has a shape and no values (a meta tensor): save the weights after they are loaded"
    if tensor.is_quantized or (own.is_floating_point() and not tensor.is_floating_point()):
        kind = str(tensor.dtype).removeprefix("torch.")
        return f"is {kind}, not floating point: quantized weights can't be trained; take those before quantizing"
    if tensor.layout != torch.strided or tensor.is_nested:
        return "is a sparse tensor: save it dense (tensor.to_dense())"
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor.float()).all()):
        return "holds NaN or infinite values: the training that made it diverged; take an earlier checkpoint"
    return ""
