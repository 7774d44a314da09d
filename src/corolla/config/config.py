"""The settings of a run as one `Config`, and how it is read from and written to plain values.

A run is an experiment (a named `Config`, or a file) plus overrides. Fields made with `runtime_only` may change between
two starts of one run; all the others decide its result and are kept in the run's config.json.
"""

import dataclasses
import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from corolla.config.earlier import as_today, short
from corolla.config.fields import AugmentConfig, ModelConfig, OptimConfig, PipelineConfig, Section, TrainConfig
from corolla.config.needs import runtime_only
from corolla.config.reading import unfit
from corolla.config.values import Count, Gpus, RunName, Sha256
from corolla.errors import UserError
from corolla.text_files import printable, shown


@dataclass(frozen=True, kw_only=True)
class Config(Section):
    """All settings of a run."""

    data: Path = runtime_only(Path("data"))
    """Folder with tfrecords-jpeg-SxS/{train,val,test}."""
    size: Count | None = None
    """Size S of the tfrecords-jpeg-SxS to read; may be left out where there is only one."""
    input_size: Count | None = None
    """Side of the images the network sees, in pixels; default: the size of the records."""
    runs: Path = runtime_only(Path("runs"))
    """Folder that holds one folder per run."""
    run_name: RunName | None = runtime_only(None)
    """Name of the run's folder; default: EXPERIMENT-seedN. Naming a run that exists continues it."""
    device: str = runtime_only("auto")
    """auto, cpu, cuda, cuda:1, mps."""
    gpus: Gpus = runtime_only(None)
    """Train on all GPUs of this machine, or on so many, each with parts of every batch (--train.accumulate): their
    number decides nothing but the time. Default: as many as there are parts and GPUs."""
    resume: Path | None = runtime_only(None)
    """Go on with a copy of this run, given by its folder, which may be read-only. The settings must be the same, but
    for --train.epochs, which may be larger: then give the copy a name of its own with --run-name, and the learning rate
    follows the schedule of the new length."""
    init_from: Path | None = runtime_only(None)
    """Start a new run from this checkpoint (a .pt file, or a run's folder: its last.pt): at epoch 1, from its weights
    and, where it fits, its optimizer's state."""
    init_sha256: Sha256 = ""
    """SHA-256 of the checkpoint that --init-from names. It is filled in; where it is given, another file is refused."""
    resume_from: Path | None = runtime_only(None)
    """Old name, for one release: --resume where the settings are the same, else --init-from."""
    cache_dir: Path | None = runtime_only(None)
    """Folder for the index of the records and the decoded pixels; default: the user's cache."""
    model: ModelConfig = ModelConfig()
    augment: AugmentConfig = AugmentConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    pipeline: PipelineConfig = PipelineConfig()


_ADAPTER = TypeAdapter(Config)


def to_dict(config: Config, *, with_runtime: bool = True) -> dict[str, Any]:
    """Return `config` as plain JSON values; without the runtime-only fields it is what config.json holds."""
    values = _plain(config)
    return values if with_runtime else _without_runtime(config, values, all_keys=False)


def _plain(value: Any) -> Any:
    """Return a setting or a section as JSON has it; a number that JSON cannot hold stays, for the message."""
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def _without_runtime(section: Any, values: dict[str, Any], *, all_keys: bool) -> dict[str, Any]:
    """Return the settings that decide the result.

    Args:
        all_keys: also those one value of which would do so, with their defaults.
    """
    kept = {}
    for f in dataclasses.fields(section):
        value = getattr(section, f.name)
        if dataclasses.is_dataclass(value):
            kept[f.name] = _without_runtime(value, values[f.name], all_keys=all_keys)
        elif "decides" in f.metadata and value != f.metadata["decides"]:
            kept |= {f.name: f.default} if all_keys else {}
        elif not f.metadata.get("runtime_only"):
            kept[f.name] = values[f.name]
    return kept


def from_dict(values: dict[str, Any], *, base: Config | None = None, source: str = "config") -> Config:
    """Return `base` with the fields that `values` (nested as in config.json) gives.

    "None" is no value where a setting may have none, as on the command line: TOML has no other way to say it.

    Raises:
        UserError: a key that does not exist (with the nearest one that does) or a value of the wrong type or range.
    """
    may_lack = {key for key, _, default in fields_of(Config()) if default is None}
    merged = _merge(to_dict(base or Config()), as_today(values, source), may_lack)
    if wrong := unfit(merged):
        raise UserError(f"{source}: {wrong}")
    try:
        return _ADAPTER.validate_json(json.dumps(merged))
    except ValidationError as error:
        raise UserError(f"{source}: {_explain(error)}") from None


def _merge(base: dict[str, Any], changes: dict[str, Any], may_lack: set[str], prefix: str = "") -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            merged[key] = _merge(base[key], value, may_lack, f"{prefix}{key}.")
        else:
            merged[key] = None if value == "None" and prefix + key in may_lack else value
    return merged


def _explain(error: ValidationError) -> str:
    """Return the first fault, in one line that names the key."""
    fault = error.errors()[0]
    if fault["type"] == "unexpected_keyword_argument":
        path = [printable(part) for part in fault["loc"]]  # as it was written, also with a bracket in it
        key, valid = ".".join(path), keys()
        valid += sorted({name.split(".")[0] for name in valid if "." in name})
        nearest = difflib.get_close_matches(key, valid, 1, 0.6) or difflib.get_close_matches(path[-1], valid, 1, 0.0)
        return f"unknown key {shown(key)}; the nearest valid one is {nearest[0]}"
    key = ".".join(part for part in fault["loc"] if isinstance(part, str) and "[" not in part)
    nothing = key == "train.epochs" and fault["input"] == 0
    remedy = "; a run without training is made of a checkpoint by corolla import-checkpoint" if nothing else ""
    return f"{key} = {short(fault['input'])}: {fault['msg'].lower()}{remedy}"


def fields_of(config: Any, prefix: str = "") -> Iterator[tuple[str, dataclasses.Field[Any], Any]]:
    """Yield every setting of a config: its key, dotted (model.name), its dataclass field and its value."""
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if dataclasses.is_dataclass(value):
            yield from fields_of(value, f"{prefix}{f.name}.")
        else:
            yield prefix + f.name, f, value


def keys() -> list[str]:
    """Return every key, dotted: data, size, model.name, ..."""
    return [key for key, _, _ in fields_of(Config())]


def validate(config: Config) -> Config:
    """Return `config` itself if all its values are in range, as from a file; UserError otherwise."""
    return from_dict(to_dict(config), source="settings")


def flatten(config: Config) -> dict[str, Any]:
    """Return what decides a result: `{"size": 224, "model.name": ..., ...}`, the same keys for every config."""
    return dict(leaves(_without_runtime(config, _plain(config), all_keys=True)))


def leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value in nested tables, with its key, dotted."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def flag(key: str) -> str:
    """Return the option of a setting: train.batch_size is --train.batch-size."""
    return "--" + key.replace("_", "-")


def as_options(key: str, value: Any) -> list[str]:
    """Return a setting as words of the command line, as tyro reads them.

    They are `--train.epochs 3`, `--augment.no-color`, and `--model.zero-gamma True` where None is a value as well.
    """
    if isinstance(value, bool) and any(name == key and default is not None for name, _, default in fields_of(Config())):
        section, dot, name = key.rpartition(".")
        return [flag(key if value else f"{section}{dot}no-{name}")]
    if isinstance(value, list):
        return [flag(key), *map(str, value)]
    return [flag(key), str(value)]


def differing_settings(there: Config, config: Config) -> dict[str, str]:
    """Return how `config` differs from `there` in what decides the result: the key to `KEY is OLD, now NEW`.

    Where a teacher lies decides nothing: which one it is, its checkpoint's hash says (training/distillation.py).
    """
    wanted = flatten(config)
    return {
        key: f"{key} is {json.dumps(old)}, now {json.dumps(wanted[key])}"
        for key, old in flatten(there).items()
        if old != wanted[key] and not (key == "train.teacher" and old and wanted[key])
    }
