"""The rows of a study file: its variants, each with every combination of the fields of its product."""

import difflib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corolla.config.config import keys, leaves
from corolla.errors import UserError
from corolla.text_files import shown

MOST_ROWS = 1000
"""More rows than any table can show: a product was meant otherwise."""
OWN = ("name", "base", "on", "full")
"""Keys of a variant that are no settings."""
NOT_OF_A_STUDY = {
    **{key: f"give --{key.replace('_', '-')}" for key in ("data", "runs", "device", "cache_dir")},
    **dict.fromkeys(("run_name", "gpus", "resume", "resume_from"), "leave it out"),
    "init_from": "model.weights takes a checkpoint",
    "train.fit_hours": "train.epochs is the same on every machine",
}
"""Settings that no study gives, as where and how its runs are made is for the command to say; and what to do."""
OF_THE_STUDY = {"train.seed": "seeds = [...]", "train.fold": "folds = N", "train.folds_sha256": "folds = N"}
"""Settings that a key of the study gives to its runs."""


@dataclass(frozen=True)
class Row:
    """Runs that differ in their seed alone: a row of the study's table."""

    name: str
    base: str
    """The experiment, or a file, from which it starts."""
    settings: tuple[dict[str, Any], ...]
    """Settings that differ from it, nested as in a file; of two that are the same the later one counts."""
    full: tuple[dict[str, Any], ...] = ()
    """The same at full size."""


def rows_of(path: Path, values: dict[str, Any]) -> Iterator[Row]:
    """Yield the rows of a study file: every variant, with every combination of the fields in `product`."""
    variants: list[dict[str, Any]] = values.get("variant", [{"name": ""}])
    if not variants:
        raise UserError(f"{path}: variant = []: at least one is expected, or leave it out")
    everywhere = _settings(path, "settings", values.get("settings", {}))
    large = _settings(path, "full", values.get("full", {}))
    made: dict[str, Row] = {}
    for variant in variants:
        name, on = variant["name"], variant.get("on")
        if name in made:
            raise UserError(f"{path}: variant {shown(name)}: is there twice")
        if not name and len(variants) > 1:
            raise UserError(f'{path}: variant: name = "": each of several has a name')
        if on is not None and on not in made:
            known = f"; above it there are: {', '.join(made)}" if made else ""
            raise UserError(f"{path}: variant {shown(name)}: on = {shown(on)}: no variant above it is called so{known}")
        if on is not None and "base" in variant:
            raise UserError(f"{path}: variant {shown(name)}: starts from on or from base: give one of the two")
        own = _settings(path, f"variant {shown(name)}", {key: variant[key] for key in variant if key not in OWN})
        own_full = _settings(path, f"variant {shown(name)}: full", variant.get("full", {}))
        start = made[on] if on else Row("", variant.get("base", values["base"]), (everywhere,), (everywhere, large))
        made[name] = Row(name, start.base, (*start.settings, own), (*start.full, own, own_full))
    number = len(made) * math.prod(len(each) for _, each in leaves(values.get("product", {})) if isinstance(each, list))
    if number > MOST_ROWS:
        raise UserError(f"{path}: variant, product: these are {number:,} rows; at most {MOST_ROWS:,} are expected")
    for row in made.values():
        for title, settings in _combinations(path, values.get("product", {})):
            name = ", ".join(filter(None, (row.name, title))) or "base"
            yield Row(name, row.base, (*row.settings, settings), (*row.full, settings))


def _settings(path: Path, where: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return settings as they are, where they are ones that a study may give."""
    for key, _ in leaves(values):
        if key in NOT_OF_A_STUDY or key in OF_THE_STUDY:
            remedy = NOT_OF_A_STUDY.get(key) or f"{OF_THE_STUDY[key]} gives them"
            raise UserError(f"{path}: {where}: {key} is no setting of a study: {remedy}")
    return values


def _combinations(path: Path, product: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every combination of the fields of `product`: its title, and the settings, nested."""
    lists = dict(leaves(product))
    for key, given in lists.items():
        if key not in keys():
            raise UserError(f"{path}: product: {unknown('key', key, keys())}")
        if not isinstance(given, list) or not given:
            got = "[]" if given == [] else shown(given)
            raise UserError(f"{path}: product: {key} = {got}: a list of one value or more is expected")
    names = [key.rpartition(".")[2] for key in lists]
    titles = [key if names.count(name) > 1 else name for key, name in zip(lists, names, strict=True)]
    for values in itertools.product(*lists.values()):
        settings: dict[str, Any] = {}
        for key, value in zip(lists, values, strict=True):
            section, _, name = key.rpartition(".")
            (settings.setdefault(section, {}) if section else settings)[name] = value
        title = ", ".join(f"{title} {_text(value)}" for title, value in zip(titles, values, strict=True))
        yield title, _settings(path, "product", settings)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return " to ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def unknown(kind: str, name: str, valid: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(name, valid, 1, 0.0)
    return f"unknown {kind} {shown(name)}" + (f"; nearest: {shown(nearest[0])}" if nearest else "")
