"""What a run is made of: the sections of `corolla.sections`, and how they are read and written.

A run is an experiment (a named `Config`, or a file) plus overrides. Fields made with `operational` may change between
two starts of one run; all the others decide its result and are kept in the run's config.json.
"""

import dataclasses
import difflib
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from corolla.errors import UserError
from corolla.sections import (
    AugmentConfig,
    Count,
    ModelConfig,
    OptimConfig,
    PipelineConfig,
    Section,
    TrainConfig,
    operational,
)


@dataclass(frozen=True, kw_only=True)
class Config(Section):
    data: Path = operational(Path("data"))
    """Folder with tfrecords-jpeg-SxS/{train,val,test}."""
    size: Count | None = None
    """Which tfrecords-jpeg-SxS to read; may be left out where there is one only."""
    input_size: Count | None = None
    """Side of the images the network sees, in pixels; default: the size of the records."""
    runs: Path = operational(Path("runs"))
    """Folder that holds one folder per run."""
    run_name: str | None = operational(None)
    """Name of the run's folder; default: EXPERIMENT-seedN. Naming a run that exists continues it."""
    device: str = operational("auto")
    """auto, cpu, cuda, cuda:1, mps."""
    resume_from: Path | None = operational(None)
    """The folder of a run from an earlier session, read-only or not: with the same settings the new run is a copy that
    goes on where that one stopped. With other settings, or from a lone checkpoint: a new run that starts from its
    state; give it a name with --run-name."""
    index: Path | None = operational(None)
    """Folder for the index of the records; default: the user's cache."""
    model: ModelConfig = ModelConfig()
    augment: AugmentConfig = AugmentConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    pipeline: PipelineConfig = PipelineConfig()


_ADAPTER = TypeAdapter(Config)


def to_dict(config: Config, *, with_operational: bool = True) -> dict[str, Any]:
    """`config` as plain JSON values; without the operational fields it is what config.json holds."""
    values = json.loads(_ADAPTER.dump_json(config))
    return values if with_operational else _decisive(config, values)


def _decisive(section: Any, values: dict[str, Any]) -> dict[str, Any]:
    kept = {}
    for f in dataclasses.fields(section):
        if not f.metadata.get("operational"):
            value = getattr(section, f.name)
            kept[f.name] = _decisive(value, values[f.name]) if dataclasses.is_dataclass(value) else values[f.name]
    return kept


def from_dict(values: dict[str, Any], *, base: Config | None = None, source: str = "config") -> Config:
    """`base` with the fields that `values` (nested as in config.json) gives.

    Raises:
        UserError: a key that does not exist (with the nearest one that does) or a value of the wrong type or range.
    """
    merged = _merge(to_dict(base or Config()), values)
    try:
        return _ADAPTER.validate_json(json.dumps(merged))
    except ValidationError as error:
        raise UserError(f"{source}: {_explain(error)}") from None


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if both else value
    return merged


def _explain(error: ValidationError) -> str:
    """The first fault, in one line that names the key."""
    fault = error.errors()[0]
    path = [str(part) for part in fault["loc"] if isinstance(part, str) and "[" not in part]
    key = ".".join(path)
    if fault["type"] == "unexpected_keyword_argument":
        valid = keys()
        valid += sorted({name.split(".")[0] for name in valid if "." in name})
        nearest = difflib.get_close_matches(key, valid, 1, 0.6) or difflib.get_close_matches(path[-1], valid, 1, 0.0)
        return f"unknown key {key}; the nearest valid one is {nearest[0]}"
    return f"{key} = {json.dumps(fault['input'], default=str)}: {fault['msg'].lower()}"


def keys(section: Any = Config(), prefix: str = "") -> list[str]:
    """Every key, dotted: data, size, model.name, ..."""
    found = []
    for f in dataclasses.fields(section):
        value = getattr(section, f.name)
        nested = dataclasses.is_dataclass(value)
        found += keys(value, f"{prefix}{f.name}.") if nested else [prefix + f.name]
    return found


def validate(config: Config) -> Config:
    """`config` itself if all its values are in range, as from a file; UserError otherwise."""
    return from_dict(to_dict(config), source="settings")


def load_config(path: Path, *, within: tuple[Path, ...] = ()) -> Config:
    """A config from a TOML file (`base = "resnet34"` and the fields that differ) or a run's config.json."""
    from corolla.experiments import find_experiment

    if path.resolve() in within:
        raise UserError(f"{path}: is its own base")
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except (json.JSONDecodeError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: a table of settings is expected")
    base = values.pop("base", None)
    if base is not None and not isinstance(base, str):
        raise UserError(f"{path}: base = {base!r}: the name of an experiment is expected")
    return from_dict(
        values,
        base=find_experiment(base, near=path, within=(*within, path.resolve())) if base else None,
        source=str(path),
    )
