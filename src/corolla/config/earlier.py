"""Settings as earlier versions wrote them, read with the meaning that they had then."""

import json
from typing import Any

from corolla.errors import UserError

RENAMED = {"index": "cache_dir"}
"""Old keys and the new ones; they are read for one release."""
DROPPED = {("pipeline", "half_size"): False, ("pipeline", "stored_side"): None}
"""Settings that are gone, and the value at which they did nothing."""
COLOR_BEFORE_CONTRAST = {"contrast": 0.0, "hue": 0.2}
"""The defaults of --augment.color before there was --augment.contrast."""
WHOLE = {"shorter_side", "area", "aspect", "brightness", "saturation", "hue", "pca_noise", "crop_fraction"}
"""Settings of augmentation that runs and checkpoints of every version hold; no file of a user's has them all."""


def as_today(values: dict[str, Any], source: str) -> dict[str, Any]:
    """Return what an earlier version wrote under the names of this one, with the values that it had in mind.

    Raises:
        UserError: a setting that is gone has a value with which it did something.
    """
    values = {RENAMED.get(key, key): value for key, value in values.items()}
    for (section, name), idle in DROPPED.items():
        fields = values.get(section)
        if isinstance(fields, dict) and name in fields:
            if fields[name] != idle:
                raise UserError(
                    f"{source}: {section}.{name} = {short(fields[name])}: this setting is gone, as nobody used "
                    "it; leave it out, or use corolla 0.1.0 for this run"
                )
            values[section] = fields = {key: value for key, value in fields.items() if key != name}
    augment = values.get("augment")
    if isinstance(augment, dict) and augment.keys() >= WHOLE and "contrast" not in augment:
        values["augment"] = _with_contrast(augment)
    return values


def _with_contrast(augment: dict[str, Any]) -> dict[str, Any]:
    """Return the augmentation of a run that was begun before there was --augment.contrast.

    What a user writes has today's defaults, also where it gives a hue. Where colour was off, the defaults of then did
    nothing and give way to today's: it is the recipe of a run that begins now.
    """
    if augment.get("color"):
        return {**COLOR_BEFORE_CONTRAST, **augment}
    return {key: value for key, value in augment.items() if key != "hue" or value != COLOR_BEFORE_CONTRAST["hue"]}


def short(value: Any) -> str:
    """Return a value as JSON, not too long for a line."""
    text = json.dumps(value, default=str)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


MAX_SHOWN = 120
"""Letters of a value in a message."""
