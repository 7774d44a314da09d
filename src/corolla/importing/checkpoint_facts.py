"""The preprocessing, input size, network and classes of a checkpoint: from options, else the file, else timm.

Every one is said with its source.
"""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import timm
from timm.models import get_pretrained_cfg

from corolla.config import ModelConfig
from corolla.config.networks import TIMM_PREFIX, is_cifar
from corolla.data.class_names import read_class_names
from corolla.data.competition import CLASS_NAMES
from corolla.data.index import Index
from corolla.errors import UserError
from corolla.models.pretrained import IMAGENET, Preprocessing, preprocessing_in
from corolla.text_files import mismatch, parse_json, printable, read_text, shown

Interpolation = Literal["bilinear", "bicubic"]
NUMBER = int | float | np.integer | np.floating
NUMBERED = re.compile(r"\d+\s*[,;:\t].+|.+[,;\t]\s*\d+")
JSON_NAMES = "a list of names is expected, or an object with a name to each number from 0 on"
USUAL_SIZE, USUAL_CIFAR_SIZE = 224, 32
"""The input sizes of the own networks (He et al. 2015, section 3.4) and of those of 6n + 2 layers (section 4.2)."""


def checked(values: Mapping[str, Any], whose: str) -> dict[str, Any]:
    """Return those parts of a preprocessing that are not None, as Python's own numbers.

    Args:
        values: by the names of the options: mean, std, interpolation, crop_fraction, input_size.
        whose: stands before a name in a message: "--" of an option.

    Raises:
        UserError: one of them can't be.
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        if value is None:
            continue
        fault, plain = _fault(name, value)
        if fault:
            raise UserError(f"{whose}{name.replace('_', '-')} {printable(_shown(value))}: {fault}")
        found[name] = plain
    return found


def _fault(name: str, value: Any) -> tuple[str, Any]:
    """Return what is wrong with a value, or else the value as Python's own type."""
    if name in ("mean", "std"):
        three = tuple(float(number) for number in value if isinstance(number, NUMBER)) if _is_row(value) else ()
        if len(three) != 3 or not all(map(math.isfinite, three)):
            return "three numbers are expected, of red, green and blue", None
        if max(three) > 1:
            return "is for pixels from 0 to 1: divide it by 255", None
        if name == "std" and min(three) <= 0:
            return "numbers above 0 are expected, as pixels are divided by them", None
        return "", three
    if name == "interpolation":
        is_known = isinstance(value, str) and value in get_args(Interpolation)
        return ("", value) if is_known else ("bilinear or bicubic is expected", None)
    is_number = isinstance(value, NUMBER) and not isinstance(value, bool)
    if name == "crop_fraction":
        is_fit = is_number and 0.1 <= value <= 1
        return ("", float(value)) if is_fit else ("a number from 0.1 to 1 is expected", None)
    is_fit = is_number and isinstance(value, int | np.integer) and 1 <= value <= 1 << 16
    return ("", int(value)) if is_fit else ("a number of pixels is expected, such as 224", None)


def _is_row(value: Any) -> bool:
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str) and len(value) == 3


@dataclass(frozen=True)
class Facts:
    """The preparation of images for a network, and where each part of it was taken from."""

    input_size: int
    preprocessing: Preprocessing
    said: tuple[str, ...]
    """A line per source."""


def network_of(model: ModelConfig, content: Any) -> tuple[ModelConfig, str]:
    """Return the network, and the tag of timm's weights whose pretrained_cfg counts, out of timm:resnet50.a1_in1k.

    Where no network is named, the file's own name of it is taken.

    Raises:
        UserError: nothing names the network.
    """
    if not model.name:
        arch = content.get("arch") if isinstance(content, Mapping) else None  # as timm's training script writes it
        if not (isinstance(arch, str) and timm.is_model(arch)):
            raise UserError("--model.name: name the checkpoint's network, as timm:resnet50 or resnet18")
        model = dataclasses.replace(model, name=TIMM_PREFIX + arch)
    architecture, _, tag = model.name.partition(".")
    if not model.name.startswith(TIMM_PREFIX) or not timm.is_model(architecture.removeprefix(TIMM_PREFIX)):
        return model, ""
    return dataclasses.replace(model, name=architecture), tag


def facts_of(name: str, tag: str, content: Any, given: Mapping[str, Any]) -> Facts:
    """Return how images are prepared for the network `name`: as `given`, else as the file says, else as usual.

    Args:
        given: see `checked`; None where the file or timm is to tell.

    Raises:
        UserError: timm has no weights of this tag, or a value can't be.
    """
    sources = {"given": checked(given, "--")}
    of_file = {name: value for name, value in _of_file(content).items() if name not in sources["given"]}
    sources["said by the file"] = checked(of_file, "the file's ")
    sources |= dict([_usual(name, tag)])
    taken: dict[str, Any] = {}
    said = []
    for source, values in sources.items():
        new = {key: value for key, value in values.items() if key not in taken}
        taken |= new
        if new:
            facts = ", ".join(f"{key.replace('_', ' ')} {_shown(value)}" for key, value in new.items())
            said.append(f"{source}: {facts}")
    return Facts(taken.pop("input_size"), Preprocessing(**taken), tuple(said))


def _shown(value: Any) -> str:
    numbers = value if _is_row(value) else (value,)
    return " ".join(f"{number:.4g}" if isinstance(number, float) else str(number) for number in numbers)


def _of_file(content: Any) -> dict[str, Any]:
    """Return what corolla's checkpoints say, or the arguments of timm's training script in its own."""
    if not isinstance(content, Mapping):
        return {}
    if preprocessing := preprocessing_in(content):
        return dataclasses.asdict(preprocessing) | {"input_size": content.get("input_size")}
    arguments = content.get("args")
    return dict(_of_arguments(arguments if isinstance(arguments, Mapping) else getattr(arguments, "__dict__", {})))


def _of_arguments(arguments: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield those that are set: timm leaves them at None, or empty, where the network's own hold."""
    for name, kinds in (("mean", (list, tuple)), ("std", (list, tuple)), ("crop_pct", float)):
        if isinstance(value := arguments.get(name), kinds):
            yield name.replace("crop_pct", "crop_fraction"), value
    if arguments.get("interpolation") in ("bilinear", "bicubic"):
        yield "interpolation", arguments["interpolation"]
    for name in ("img_size", "input_size"):
        size = arguments.get(name)
        size = size[-1] if isinstance(size, list | tuple) and size else size
        if isinstance(size, int):
            yield "input_size", size


def _usual(name: str, tag: str) -> tuple[str, dict[str, Any]]:
    """Return the usual preparation for a network, after whose it is."""
    architecture = name.removeprefix(TIMM_PREFIX)
    try:
        is_timm = name.startswith(TIMM_PREFIX)
        cfg = get_pretrained_cfg(f"{architecture}.{tag}" if tag else architecture) if is_timm else None
    except RuntimeError:
        tags = ", ".join(each.partition(".")[2] for each in timm.list_pretrained(f"{architecture}.*"))
        raise UserError(f"timm has no weights {architecture}.{tag}: the tags are {tags or 'none'}") from None
    if cfg is None:
        size = USUAL_CIFAR_SIZE if is_cifar(name) else USUAL_SIZE
        return "as usual for ImageNet", dataclasses.asdict(IMAGENET) | {"input_size": size}
    usual = {"mean": cfg.mean, "std": cfg.std, "interpolation": cfg.interpolation, "crop_fraction": cfg.crop_pct}
    whose = f"{architecture}.{cfg.tag}" if cfg.tag else architecture
    return f"by timm's pretrained_cfg of {whose}", usual | {"input_size": cfg.input_size[-1]}


def class_names_of(classes: Path | None, content: Any, index: Index | None) -> tuple[tuple[str, ...] | None, str]:
    """Return the names of the classifier's outputs and their source; None where only their number can tell.

    Raises:
        UserError: there is no such file, or the data folder's names are others.
    """
    names, source = None, ""
    if classes is not None:
        if not classes.is_file():
            raise UserError(f"--classes {classes}: there is no such file; it has a class a line, in the outputs' order")
        names, source = _listed_names(classes), str(classes)
    elif isinstance(content, Mapping) and preprocessing_in(content) and not mismatch(content.get("class_names"), [str]):
        names, source = tuple(content["class_names"]), "the file"
    if index is None:
        return names, source
    is_listed = (index.folder / "classes.txt").exists()
    there = str(index.folder / "classes.txt") if is_listed else f"{index.folder}, the competition's"
    if names is not None and names != index.class_names:
        raise UserError(
            f"{source}: names other classes than {there}; by their order the outputs are told, so both must be alike"
        )
    return (names, source) if names is not None else (index.class_names, there)


def _listed_names(path: Path) -> tuple[str, ...]:
    """Return the names in a file: one a line, or JSON, a list, or an object from numbers to names or the other way.

    Raises:
        UserError: it is neither.
    """
    text = read_text(path).strip()
    if text[:1] + text[-1:] not in ("[]", "{}"):
        names = read_class_names(path)
        if all(map(NUMBERED.fullmatch, names[1:] or names)):  # the first line may be a CSV's header
            raise UserError(
                f"{path}: line {len(names)}, {shown(names[-1])}, has a number beside the name; names alone are "
                "expected, one a line, in the outputs' order"
            )
        return names
    value = parse_json(text, ([str], {str: int}, {str: str}), source=str(path), remedy=JSON_NAMES)
    pairs = (
        enumerate(value)
        if isinstance(value, list)
        else [pair if isinstance(pair[1], str) else pair[::-1] for pair in value.items()]
    )
    by_number = {int(number) if str(number).isdecimal() else -1: name.strip() for number, name in pairs}
    if sorted(by_number) != list(range(len(value))) or not all(by_number.values()):
        raise UserError(f"{path}: {JSON_NAMES}")
    return tuple(by_number[number] for number in range(len(value)))


def check_outputs(path: Path, found: int | None, names: tuple[str, ...] | None, source: str, network: str) -> None:
    """Check that a classifier has as many outputs as there are classes: those named, else the competition's 104.

    Args:
        found: outputs in the file; None where it has no classifier.

    Raises:
        UserError: it has not.
    """
    if found is None:
        raise UserError(
            f"{path}: holds no classifier of {network}; train one: corolla train transfer_best --model.name {network} "
            f"--model.weights {path}"
        )
    if names is None and found != len(CLASS_NAMES):
        raise UserError(
            f"{path}: its classifier has {found} outputs: name their classes with --classes FILE (a name a line, in "
            "the outputs' order), or with --data DATA, whose classes.txt counts"
        )
    if names is not None and found != len(names):
        raise UserError(
            f"{path}: its classifier has {found} outputs, but {source} names {len(names)} classes; name its own with "
            "--classes FILE, a name a line"
        )
