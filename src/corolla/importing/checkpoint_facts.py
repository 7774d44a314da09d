"""The preprocessing, input size, network and classes of a checkpoint: from options, else the file, else timm.

Every one is said with its source.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import timm
from timm.models import get_pretrained_cfg

from corolla.config import ModelConfig
from corolla.config.networks import TIMM_PREFIX
from corolla.data.class_names import read_class_names
from corolla.data.competition import CLASS_NAMES
from corolla.data.index import Index
from corolla.errors import UserError
from corolla.models.pretrained import IMAGENET, Preprocessing, preprocessing_in
from corolla.text_files import mismatch, printable

Interpolation = Literal["bilinear", "bicubic"]
USUAL_SIZE = 224
"""The input size of the own networks (He et al. 2015, section 3.4)."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """The preprocessing that the user names; None where the file or timm is to tell."""

    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    interpolation: Interpolation | None = None
    crop_fraction: float | None = None
    input_size: int | None = None

    @property
    def values(self) -> dict[str, Any]:
        """Those that are given, by their names."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    def check(self) -> None:
        """Raise UserError for the first value that can't be."""
        for name in ("mean", "std"):
            three = getattr(self, name)
            if three is None:
                continue
            if len(three) != 3 or not all(math.isfinite(number) for number in three):
                raise UserError(f"--{name} {three}: three numbers are expected, of red, green and blue")
            if max(three) > 1:
                raise UserError(f"--{name} {_shown(three)}: is for pixels from 0 to 1; divide it by 255")
            if name == "std" and min(three) <= 0:
                raise UserError(f"--std {_shown(three)}: numbers above 0 are expected, as pixels are divided by them")
        if self.interpolation not in (None, *get_args(Interpolation)):
            raise UserError(f"--interpolation {printable(self.interpolation)}: bilinear or bicubic is expected")
        if self.crop_fraction is not None and not 0.1 <= self.crop_fraction <= 1:
            raise UserError(f"--crop-fraction {self.crop_fraction:g}: a number from 0.1 to 1 is expected")
        if self.input_size is not None and not 1 <= self.input_size <= 1 << 16:
            raise UserError(f"--input-size {self.input_size}: a number of pixels is expected, such as 224")


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


def facts_of(name: str, tag: str, content: Any, given: Given) -> Facts:
    """Return how images are prepared for the network `name`: as `given`, else as the file says, else as usual.

    Raises:
        UserError: timm has no weights of this tag.
    """
    given.check()
    sources = {"given": given.values, "said by the file": _of_file(content), **dict([_usual(name, tag)])}
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
    numbers = value if isinstance(value, tuple | list) else (value,)
    return " ".join(f"{number:.4g}" if isinstance(number, float) else str(number) for number in numbers)


def _of_file(content: Any) -> dict[str, Any]:
    """Return what corolla's checkpoints say, or the arguments of timm's training script in its own."""
    if not isinstance(content, Mapping):
        return {}
    if preprocessing := preprocessing_in(content):
        size = content.get("input_size")
        return dataclasses.asdict(preprocessing) | ({"input_size": size} if isinstance(size, int) else {})
    arguments = content.get("args")
    return dict(_of_arguments(arguments if isinstance(arguments, Mapping) else getattr(arguments, "__dict__", {})))


def _of_arguments(arguments: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield those that are set: timm leaves them at None where the network's own hold."""
    for name in ("mean", "std"):
        three = arguments.get(name)
        if three and not mismatch(three, [float]) and len(three) == 3:
            yield name, tuple(map(float, three))
    if arguments.get("interpolation") in get_args(Interpolation):
        yield "interpolation", arguments["interpolation"]
    if isinstance(crop := arguments.get("crop_pct"), float):
        yield "crop_fraction", crop
    size = arguments.get("input_size") or arguments.get("img_size")
    size = size[-1] if isinstance(size, list | tuple) and len(size) == 3 else size
    if isinstance(size, int) and not isinstance(size, bool):
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
        return "as usual for ImageNet", dataclasses.asdict(IMAGENET) | {"input_size": USUAL_SIZE}
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
        names, source = read_class_names(classes), str(classes)
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
