"""A config as a flat table of dotted settings, and as the options of a command line."""

from typing import Any

from corolla.config import Config, to_dict


def settings_of(config: Config) -> dict[str, Any]:
    """What decides a result: `{"size": 224, "model.name": ..., ...}`, the same keys for every config."""
    return dict(_flat(to_dict(config, with_operational=False)))


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        found += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return found


def option(key: str, value: Any) -> list[str]:
    """A setting as words of the command line, as tyro reads them: `--train.epochs 3`, `--augment.no-color`."""
    *section, name = key.replace("_", "-").split(".")
    flag = "--" + ".".join([*section, name])
    if isinstance(value, bool):
        return [flag if value else "--" + ".".join([*section, f"no-{name}"])]
    if isinstance(value, list):
        return [flag, *map(str, value)]
    return [flag, str(value)]
