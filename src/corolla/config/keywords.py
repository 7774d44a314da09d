"""Settings as keywords of Python: `epochs=3` for `--train.epochs 3`."""

import difflib
import os
from collections.abc import Mapping
from typing import Any

from corolla.config.config import Config, from_dict, keys
from corolla.errors import UserError
from corolla.paths import as_path
from corolla.text_files import shown

EPOCHS = "epochs=3, or train={'epochs': 3}"


def with_keywords(config: Config, keywords: Mapping[str, Any]) -> tuple[Config, set[str]]:
    """Return `config` with the settings that keywords give, and their keys, dotted.

    A keyword is a key (data, "train.epochs"), the name of a field alone (epochs), which says its section where two
    have it ("model.name", "optim.name"), or a section with a dict of its fields (train).

    Raises:
        UserError: a keyword is no setting or may be two, or a value is of the wrong type or range.
    """
    values: dict[str, Any] = {}
    given: set[str] = set()
    for keyword, value in keywords.items():
        for key, field in _fields(keyword, value).items():
            if key in given:
                raise UserError(f"{key} is given twice, once as {keyword}: leave one of the two out")
            given.add(key)
            section, _, name = key.rpartition(".")
            (values.setdefault(section, {}) if section else values)[name] = _plain(field)
    return (from_dict(values, base=config, source="settings") if values else config), given


def _fields(keyword: str, value: Any) -> dict[str, Any]:
    """Return the keys, dotted, that a keyword stands for, with their values."""
    if isinstance(value, Mapping):
        return {f"{keyword}.{name}": field for name, field in value.items()}
    valid = keys()
    if keyword in valid:
        return {keyword: value}
    found = [key for key in valid if key.rpartition(".")[2] == keyword]
    if len(found) == 1:
        return {found[0]: value}
    if found:
        section, _, name = found[0].partition(".")
        raise UserError(f"{keyword}: is it {' or '.join(found)}? Give {section}={{{name!r}: {value!r}}}, say")
    if keyword in {key.partition(".")[0] for key in valid if "." in key}:
        raise UserError(f"{keyword} is a section: give its fields as a dict, such as {EPOCHS}")
    names = [*valid, *(key.rpartition(".")[2] for key in valid)]
    raise UserError(
        f"unknown setting {shown(keyword)}; nearest: {difflib.get_close_matches(keyword, names, 1, 0.0)[0]}"
    )


def _plain(value: Any) -> Any:
    """Return a value as a file of settings has it: paths as text, NumPy's numbers as Python's."""
    if isinstance(value, str):
        return str(as_path(value)) if value.startswith("~") else value
    if isinstance(value, os.PathLike):
        return str(as_path(value))
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return _plain(value.tolist()) if hasattr(value, "tolist") else value
