"""Find a network's weights in what a file holds: under whatever prefix, beside whatever else, and sound."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from corolla.config import ModelConfig
from corolla.config.networks import TIMM_PREFIX, has_bottlenecks
from corolla.errors import UserError
from corolla.models.weights_file import STATE_DICT_KEYS, find_state_dicts, first_keys
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
    warnings: tuple[str, ...]
    """Where other weights lie that fit as well, whose network they are by the file, and tensors of zeros alone."""
    hint: str
    """A remark for the message that they don't fit: whose checkpoint it is, or its first keys where few names agree."""


def find_weights(path: Path, content: Any, own: Mapping[str, Tensor]) -> FoundWeights:
    """Return the tensors in a file's content whose names fit a network best.

    Args:
        own: the network's own state dict.

    Raises:
        UserError: the file holds no tensors by name, or several networks of which none is known to be meant.
    """
    candidates = [(place, _unwrapped(found)) for place, found in find_state_dicts(content)]
    if not candidates:
        raise UserError(f"{path} holds no state dict: {first_keys(content)}")
    best = max(candidates, key=lambda candidate: _best_prefix(candidate[1], own)[1])  # of equals the first
    (place, found), (prefix, matches) = best, _best_prefix(best[1], own)
    others = _others(candidates, best, own)
    if others and place.split(".")[0] not in STATE_DICT_KEYS and place:
        raise UserError(
            f"{path} holds several networks that fit, {_quoted([place, *others])}: save the one that is meant by itself"
        )
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
    others += [each for each, count in _prefixes(found, own).items() if matches and count == matches and each != prefix]
    warnings = [f"left out, though it fits as well: {_quoted(others)}; save it by itself if it is meant"] * bool(others)
    if zeros := [name for name, value in state.items() if name in own and _is_zero(name, value)]:
        more = f" and {len(zeros) - 3} more" if len(zeros) > 3 else ""
        warnings.append(f"zeros alone are in {', '.join(zeros[:3])}{more}, as in a file that was never filled")
    hint = _hint(content) or (first_keys(found) if matches * 2 < len(own) else "")
    return FoundWeights(state, tuple(said), tuple(warnings), hint)


def _others(
    candidates: Sequence[tuple[str, Mapping[str, Any]]], best: tuple[str, Mapping[str, Any]], own: Mapping[str, Tensor]
) -> list[str]:
    """Return the places of other weights that fit a network as well as the best; copies of these do not count."""
    prefix, matches = _best_prefix(best[1], own)
    found = []
    for place, values in candidates:
        other, count = _best_prefix(values, own)
        if place != best[0] and matches and count == matches:
            pairs = ((best[1].get(prefix + name), values.get(other + name)) for name in own)
            if any(isinstance(a, Tensor) and isinstance(b, Tensor) and not _equal(a, b) for a, b in pairs):
                found.append(place)
    return found


def _equal(first: Tensor, second: Tensor) -> bool:
    if first is second:
        return True
    plain = all(each.layout == torch.strided and not (each.is_meta or each.is_quantized) for each in (first, second))
    return plain and first.dtype == second.dtype and torch.equal(first, second)


def _quoted(places: Sequence[str]) -> str:
    return ", ".join(repr(printable(place)) for place in places[:3]) + ", ..." * (len(places) > 3)


def _is_zero(name: str, value: Any) -> bool:
    """Return whether weights or variances are 0 throughout; biases and factors often are, also after training."""
    is_plain = isinstance(value, Tensor) and value.layout == torch.strided and not (value.is_meta or value.is_quantized)
    return is_plain and (value.ndim > 1 or name.endswith("running_var")) and not bool(value.any())


def _unwrapped(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return tensors under their modules' own names, where torch has wrapped parts of a network."""
    names = {name: WRAPPER.sub("", name) if isinstance(name, str) else name for name in found}
    is_one_to_one = len(set(names.values())) == len(names)
    return {names[name]: value for name, value in found.items()} if is_one_to_one else found


def _best_prefix(found: Mapping[str, Any], own: Mapping[str, Tensor]) -> tuple[str, int]:
    """Return the beginning of names behind which most of the network's own names stand, and how many these are.

    Of equals an average of the weights is taken (ema), as of the containers, else the first.
    """
    counts = _prefixes(found, own)
    return max(counts.items(), key=lambda item: (item[1], bool(AVERAGE.search(item[0]))))


def _prefixes(found: Mapping[str, Any], own: Mapping[str, Tensor]) -> Counter[str]:
    """Return the beginnings of names behind which the network's own names stand, and how many."""
    counts = Counter[str]({"": 0})
    for name, value in found.items():
        parts = name.split(".")
        for start in range(len(parts) if isinstance(value, Tensor) else 0):
            tail = ".".join(parts[start:])
            if tail in own:
                counts[name[: len(name) - len(tail)]] += 1
    return counts


def _hint(content: Any) -> str:
    """Return which network a checkpoint of corolla is of; empty for others."""
    config = content.get("config") if isinstance(content, Mapping) else None
    model = config.get("model") if isinstance(config, Mapping) else None
    if isinstance(model, Mapping) and isinstance(model.get("name"), str):
        width = f", width {model['width']:g}" if isinstance(model.get("width"), float) else ""
        return f"it is a corolla checkpoint of {printable(model['name'])}{width}"
    return ""


SAME_NAMES = ("shortcut", "stride_in_1x1", "stem", "activation", "avg_shortcut")
"""Settings of the own networks that may change what one computes and leave names and shapes of its tensors."""


def other_network(content: Any, config: ModelConfig) -> str:
    """Return which network a checkpoint says that it is of, where it is another one than `config`'s; else nothing.

    Names and shapes may be the same: timm:tf_efficientnet_b0 pads its images in another way than efficientnet_b0, and
    torchvision's and timm's ResNets stride in the 3x3.
    """
    if not isinstance(content, Mapping):
        return ""
    told = content["config"].get("model") if isinstance(content.get("config"), Mapping) else None
    if not isinstance(told, Mapping):
        told = {"name": content.get("arch")}  # as timm and torchvision's references write it
    name, own = told.get("name"), config.name.removeprefix(TIMM_PREFIX)
    unsaid = "stride_in_1x1" not in told and config.stride_in_1x1 and has_bottlenecks(config.name)
    if unsaid and (name is None or name == own):
        return "it does not say where its bottlenecks stride: most do in the 3x3, for --model.no-stride-in-1x1"
    if not isinstance(name, str):
        return ""
    differing = [f"{key} {told[key]}" for key in SAME_NAMES if key in told and told[key] != getattr(config, key)]
    if name.removeprefix(TIMM_PREFIX).partition(".")[0] == own and (config.name != own or not differing):
        return ""
    return printable(f"it says that it is of {' with '.join([name, *[', '.join(differing)] * bool(differing)])}")


def check_trained(path: Path, state: Mapping[str, Any], own: Mapping[str, Tensor]) -> None:
    """Check that weights are not those of a network that was never filled.

    Raises:
        UserError: every tensor with more than one dimension has one value throughout.
    """
    weights = [value for name, value in state.items() if name in own and value.ndim > 1]
    if weights and all(bool((value == value.flatten()[0]).all()) for value in weights if value.numel()):
        raise UserError(f"{path} holds no trained weights: all those of a layer are the same number; fetch it again")


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
    kind = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_complex():
        return f"is {kind}, not real"
    is_short = tensor.is_floating_point() and tensor.element_size() < 2  # float8, whose factors lie elsewhere
    if tensor.is_quantized or (own.is_floating_point() and (is_short or not tensor.is_floating_point())):
        least = " of 16 bits or more" if is_short else ""
        return f"is {kind}, not floating point{least}: quantized weights can't be trained; take those before quantizing"
    if tensor.layout != torch.strided or tensor.is_nested:
        return "is a sparse tensor: save it dense (tensor.to_dense())"
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor.float()).all()):
        return "holds NaN or infinite values: the training that made it diverged; take an earlier checkpoint"
    return ""
