"""Recognise the run that a study needs among those that are there: by what decided it, whatever its name.

That is its resolved config, in which a teacher and weights count by their content, not by where they lie, and the
fingerprint of the photos it was trained and validated with. What `auto` found on one machine is taken on any other.
"""

import contextlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from corolla.config import Config
from corolla.config.config import flatten
from corolla.config.weights_source import weights_file
from corolla.data.corrections import read_corrections, training_index
from corolla.data.folds import Folds, find_folds, parts_of
from corolla.data.index import Index, load_index, split_of
from corolla.errors import UserError
from corolla.files import sha256
from corolla.runs.folder import Run
from corolla.runs.same_data import train_fingerprint
from corolla.runs.without_torch import read_without_tensors
from corolla.study.plan import decisive, digest

FOUND = {"train.accumulate": "auto", "pipeline.cache": "auto"}
"""Settings for which `auto` finds a value, which then stands in config.json."""


@dataclass(frozen=True)
class Wanted:
    """A run that is to be made, or found: everything that decides its result."""

    config: Config
    """With the sizes and the digests that training fills in."""
    by_content: dict[str, str]
    """SHA-256 of the teacher and of the weights, by their setting, where there are any."""
    fingerprint: dict[str, str]
    """Fingerprints of the photos for training and val, by split."""

    @property
    def key(self) -> str:
        """SHA-256 of everything, in hex."""
        return digest(decisive(self.config) | self.by_content | {"photos": self.fingerprint})


def wanted(config: Config) -> Wanted:
    """Return what decides the run that `config` asks for, with the photos as they are now.

    Raises:
        UserError: the data folder, the corrections, the teacher or the weights are not there.
    """
    train = config.train
    corrections = read_corrections(train.corrections) if train.corrections is not None else None
    if corrections is not None:
        train = replace(train, corrections_sha256=corrections.sha256)
    records, folds = _records(config.data, config.size, config.cache_dir), None
    if train.fold is not None:
        folds = _folds(config.data, config.size, config.cache_dir, parts_of(train.fold)[1])
        train = replace(train, folds_sha256=folds.sha256)
    index = training_index(records, train, corrections, folds=folds, cache_dir=config.cache_dir)
    for split in ("train", "val"):
        split_of(index, split)
    config = replace(config, train=train, size=index.size, input_size=config.input_size or index.size)
    teacher = weights_file(train.teacher) if train.teacher else None
    files = {"train.teacher": teacher, "model.weights": weights_file(config.model.weights)}
    digests = {key: _digest(key, path) for key, path in files.items() if path is not None}
    return Wanted(config, digests, train_fingerprint(index))


def forget() -> None:
    """Have the photos looked at anew: in a notebook they may have been changed since."""
    _records.cache_clear()
    _folds.cache_clear()


@lru_cache(maxsize=4)
def _records(data: Path, size: int | None, cache_dir: Path | None) -> Index:
    return load_index(data, size, cache_dir)


@lru_cache(maxsize=4)
def _folds(data: Path, size: int | None, cache_dir: Path | None, number: int) -> Folds:
    return find_folds(_records(data, size, cache_dir), number, cache_dir)


def _digest(key: str, path: Path) -> str:
    if not path.is_file():
        raise UserError(f"--{key} {path}: there is no checkpoint")
    return sha256(path)


def find_run(wanted: Wanted, runs: Path) -> Run | None:
    """Return the run below `runs` that is the wanted one: one that is done, else one that has begun; else None."""
    begun = None
    for path in sorted(runs.glob("*/config.json")):
        run = Run(path.parent)
        with contextlib.suppress(UserError, OSError):  # a damaged run is none that could be taken
            if _has_settings(path, wanted) and _has_content(run, wanted):
                state = run.state
                if state == "done":
                    return run
                if state != "imported":  # of which nobody knows how it was trained
                    begun = begun or run
    return begun


def _has_settings(path: Path, wanted: Wanted) -> bool:
    """Return whether a config.json asks for the wanted run, but for what counts by its content."""
    there, asked = _settings(path, path.stat().st_mtime_ns), flatten(wanted.config)
    return all(
        there.get(key) == value or (key, value) in FOUND.items() or key in wanted.by_content
        for key, value in asked.items()
    )


@lru_cache(maxsize=4096)
def _settings(path: Path, _mtime_ns: int) -> dict[str, Any]:
    return flatten(Run(path.parent).config)


def _has_content(run: Run, wanted: Wanted) -> bool:
    """Return whether a run learned from the photos, the teacher and the weights that are wanted, in one go."""
    facts = run.environment
    photos = {split: each for split, each in (facts.get("fingerprint") or {}).items() if split != "test"}
    if photos != wanted.fingerprint or facts.get("lengthened_from"):
        return False
    return all(_content(run, key, facts) == sha for key, sha in wanted.by_content.items())


def _content(run: Run, key: str, facts: dict[str, Any]) -> str | None:
    """Return the SHA-256 of what a run learned from; None where that is not known."""
    if key == "model.weights":
        return facts.get("weights_sha256")
    return read_without_tensors(run.last).get("teacher") if run.last.exists() else None
