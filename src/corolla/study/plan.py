"""The runs of a study: the settings of each, and which has to be there before it."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from corolla.checked import check_fields
from corolla.config import Config, from_dict
from corolla.config.config import flatten
from corolla.config.experiments import find_config
from corolla.errors import UserError
from corolla.paths import as_path
from corolla.study.file import Study
from corolla.study.rows import NOT_OF_A_STUDY, Row

SOURCES = ("train.teacher", "model.weights")
"""Settings that may name another row: "@NAME" stands for its run of the same seed."""
IN_EPOCHS = ("head_epochs", "mix_off_epochs", "stop_early")
"""Settings of `train`, beside epochs, that count epochs."""


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """Where and how the runs of a study are made."""

    data: Path = Path("data")
    """The data folder."""
    size: int | None = None
    """Which tfrecords-jpeg-SxS, where the study does not say."""
    seeds: tuple[int, ...] | None = None
    """Train with each of these; default: the study's own."""
    epochs_factor: float = 1.0
    """Every run is so many times as long, with all that counts epochs (warm-up, patience, ...); 0.1 is a quick try."""
    full: bool = False
    """Every run at full size, as for a card: with what the study's [full] says."""
    only: tuple[str, ...] | None = None
    """Train these rows alone, and what they learn from."""
    only_folds: tuple[int, ...] | None = None
    """Train these folds of a cross-validation alone."""
    runs: Path = Path("runs")
    """Folder of the runs."""
    on: Literal["here", "ray"] = "here"
    """here: in this process, and in all others that run the same command; ray: as tasks of a Ray cluster (the one of
    RAY_ADDRESS, else this machine), a GPU each."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    workers: int | None = None
    """Decoding processes; default: by the number of cores."""
    cache_dir: Path | None = None
    """Folder for the index and the decoded photos; default: the user's cache."""

    def __post_init__(self) -> None:
        for name in ("data", "runs", "cache_dir"):  # text is taken too
            object.__setattr__(self, name, as_path(getattr(self, name)))
        check_fields(self)
        if not (math.isfinite(self.epochs_factor) and 0 < self.epochs_factor <= MOST_FACTOR):
            raise UserError(
                f"--epochs-factor {self.epochs_factor:g}: a number above 0 is expected, {MOST_FACTOR:g} at most"
            )
        for name in ("seeds", "only", "only_folds"):
            if getattr(self, name) == ():
                raise UserError(
                    f"--{name.replace('_', '-')}: at least one is expected; without the option all are meant"
                )
        if self.size is not None and self.size < 1:
            raise UserError(f"--size {self.size}: at least 1 is expected")
        if self.workers is not None and self.workers < 0:
            raise UserError(f"--workers {self.workers}: at least 0 is expected")
        if self.seeds is not None and len(set(self.seeds)) != len(self.seeds):
            raise UserError(f"--seeds {' '.join(map(str, self.seeds))}: one is there twice")
        if self.seeds is not None and (bad := [seed for seed in self.seeds if not 0 <= seed < 2**32]):
            raise UserError(f"--seeds {bad[0]}: a whole number from 0 to 4294967295 is expected")


Place = tuple[str, int, str | None]
MOST_FACTOR = 1000.0
MOST_RUNS = 10_000
"""More runs than anybody has the time for: a number was meant otherwise."""


@dataclass(frozen=True)
class Planned:
    """A run that a study needs."""

    row: str
    seed: int
    config: Config
    """As the study asks for it; where it learns from another row, `sources` says from which."""
    sources: dict[str, str]
    """The settings that name another row, and its name."""
    own_size: int | None
    """The size of photos that the study says; None: that of the command, or the one that is there."""

    @property
    def fold(self) -> str | None:
        """Fold of a cross-validation that it is validated on, as K/N; None: val."""
        return self.config.train.fold

    @property
    def place(self) -> Place:
        """Row, seed and fold, which no other run of the study has."""
        return self.row, self.seed, self.fold

    @property
    def name(self) -> str:
        """Its row, seed and fold, as people call it."""
        return f"{self.row}, seed {self.seed}{f', fold {self.fold}' if self.fold else ''}"

    @property
    def settings(self) -> str:
        """SHA-256 of what decides the result, as far as the study file says it.

        Settings at their defaults are left out, so that one which is added later changes nothing.
        """
        config = replace(self.config, size=self.own_size)
        return digest(decisive(config) | {key: f"@{row}" for key, row in self.sources.items()})


def decisive(config: Config) -> dict[str, Any]:
    """Return the settings that decide a result, by their keys, without those at their defaults."""
    usual = flatten(Config())
    return {key: value for key, value in flatten(config).items() if value != usual[key]}


def digest(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 of plain values, in hex."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def plan(study: Study, options: StudyOptions) -> list[Planned]:
    """Return the runs of a study, those of the first seed first, each behind what it learns from.

    Raises:
        UserError: a setting is none, a row learns from one that is not there or from itself, or `options.only` names
            no row.
    """
    rows = {row.name: row for row in study.rows}
    if options.full and not study.has_full:
        raise UserError(f"--full: {study.path} has no [full], which says what is larger then")
    for name in options.only or ():
        study.row(name)
    wanted = _with_sources(study, options.only or tuple(rows))
    if study.has_full and not options.full:  # what is wrong in it is told now, not when --full is asked for
        for name in wanted:
            planned_run(study, rows[name], 0, replace(options, full=True))
    seeds, folds = options.seeds or study.seeds, range(1, study.folds + 1) if study.folds else [1]
    if options.only_folds is not None:
        if others := [fold for fold in options.only_folds if not study.folds or fold not in folds]:
            there = f"folds are 1 to {study.folds}" if study.folds else "this study has no folds"
            raise UserError(f"--only-folds {others[0]}: {there}")
        folds = tuple(dict.fromkeys(options.only_folds))
    if (number := len(seeds) * len(wanted) * len(folds)) > MOST_RUNS:
        raise UserError(f"{study.path}: these are {number:,} runs; at most {MOST_RUNS:,} are expected")
    return [planned_run(study, rows[name], seed, options, fold) for seed in seeds for name in wanted for fold in folds]


def planned_run(study: Study, row: Row, seed: int, options: StudyOptions, fold: int = 1) -> Planned:
    """Return the run of a row with a seed, and of a cross-validation the one of a fold, from 1 on."""
    config = find_config(row.base, near=study.path)
    for settings in row.full if options.full else row.settings:
        config = from_dict(settings, base=config, source=f"{study.path}: {row.name}")
    _check_base(config, study, row)
    train = replace(config.train, seed=seed, fold=f"{fold}/{study.folds}" if study.folds else None)
    pipeline = replace(config.pipeline, workers=options.workers)
    own_size = config.size
    places = {name: getattr(options, name) for name in ("data", "runs", "device", "cache_dir")}
    config = replace(config, **places, size=config.size or options.size, train=train, pipeline=pipeline)
    given = flatten(config)
    sources = {key: given[key][1:] for key in SOURCES if given[key].startswith("@")}
    return Planned(row.name, seed, scaled(config, options.epochs_factor), sources, own_size)


def _check_base(config: Config, study: Study, row: Row) -> None:
    """Check that a base has nothing by which a run would be another than its settings tell.

    Raises:
        UserError: it has.
    """
    where = f"{study.path}: {row.name}"
    if config.train.on != "train":
        raise UserError(f"{where}: train.on = {config.train.on}: a study compares on val, which it has learned")
    if config.train.fold is not None and not study.folds:
        raise UserError(f"{where}: train.fold = {config.train.fold} in its base: folds = N gives them")
    odd = {"train.fit_hours": config.train.fit_hours}
    odd |= {key: getattr(config, key) for key in ("resume", "resume_from", "init_from")}
    if key := next((key for key, value in odd.items() if value is not None), None):
        raise UserError(f"{where}: {key} in its base: is no setting of a study: {NOT_OF_A_STUDY[key]}")


def scaled(config: Config, factor: float) -> Config:
    """Return `config` with all that counts epochs times `factor`, whole numbers rounded, but not to 0."""
    if factor == 1:
        return config

    def times(count: int) -> int:
        return max(1, round(count * factor)) if count else 0

    train, optim = config.train, config.optim
    numbers = {name: times(getattr(train, name)) for name in ("epochs", *IN_EPOCHS)}
    optim = replace(optim, warmup_epochs=optim.warmup_epochs * factor, patience=times(optim.patience))
    return replace(config, train=replace(train, **numbers), optim=optim)


def with_sources(planned: Planned, folders: Mapping[str, Path]) -> Config:
    """Return the settings of a run with the folders of the runs that it learns from, by the names of their rows."""
    config = planned.config
    for key, row in planned.sources.items():
        section, _, name = key.partition(".")
        config = replace(config, **{section: replace(getattr(config, section), **{name: str(folders[row])})})
    return config


def _with_sources(study: Study, names: Sequence[str]) -> list[str]:
    """Return names of rows in the order of the file, but each behind those that it learns from, which are added.

    Raises:
        UserError: a row learns from one that is not there, or from itself.
    """
    ordered: list[str] = []

    def add(row: Row, within: tuple[str, ...]) -> None:
        if row.name in within:
            raise UserError(f"{study.path}: {row.name}: learns from itself ({' from '.join((*within, row.name))})")
        if row.name in ordered:
            return
        for key, source in planned_run(study, row, 0, StudyOptions()).sources.items():
            try:
                found = study.row(source)
            except UserError as error:
                raise UserError(f"{study.path}: {row.name}: {key}: {str(error).partition(': ')[2]}") from None
            add(found, (*within, row.name))
        ordered.append(row.name)

    for row in study.rows:
        if row.name in names:
            add(row, ())
    return ordered
