"""Study files: a question, and the runs that answer it, as TOML.

question = "Do shortcuts pay, and the more the deeper a network is?"
base = "resnet18"                       # an experiment or a file, as corolla train takes it
compare = "first"                       # with which row each row is compared: first, above, all
seeds = [0, 1, 2]
[settings]                              # of every run, where they differ from the base
train.epochs = 30
[[variant]]
name = "plain"
model.name = "plain18"
[[variant]]
name = "residual"
[product]                               # every variant with every combination of these
optim.lr = [0.05, 0.1]
"""

import difflib
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from corolla.config.config import keys, leaves
from corolla.config.reading import read_settings
from corolla.data.transforms.tta import TTA, parse_tta
from corolla.errors import UserError
from corolla.text_files import Shape, mismatch, shell_words, shown

Against = Literal["first", "above", "all"]
FIGURES = ("scores", "curves")
"""Figures that a study may ask for."""
MEASURES = ("lesions", "gradients")
"""Measurements of the networks of the first seed, each with a figure."""
BY_VIEWS = ("macro_f1", "top1", "top5")
"""Scores that each kind of views has."""
COLUMNS = (*BY_VIEWS, "train_top1", "train_loss", "val_loss", "epochs_to_plateau", "lowest_loss")
"""Columns that the table of a study may have. The last two are epochs, as in `corolla compare`."""
MOST_ROWS = 1000
"""More rows than any table can show: a product was meant otherwise."""
OWN = ("name", "base", "on", "full")
"""Keys of a variant that are no settings."""
VOTE = ("name", "of")
"""Keys of a vote."""
NOT_OF_A_STUDY = {
    **{key: f"give --{key.replace('_', '-')}" for key in ("data", "runs", "device", "cache_dir")},
    **dict.fromkeys(("run_name", "gpus", "resume", "resume_from"), "leave it out"),
    "init_from": "model.weights takes a checkpoint",
    "train.fit_hours": "train.epochs is the same on every machine",
}
"""Settings that no study gives, as where and how its runs are made is for the command to say; and what to do."""
OF_THE_STUDY = {"train.seed": "seeds = [...]", "train.fold": "folds = N", "train.folds_sha256": "folds = N"}
"""Settings that a key of the study gives to its runs."""
SHAPE: Shape = {
    "question": str,
    "base": str,
    "compare?": str,
    "seeds?": [int],
    "folds?": int,
    "views?": [str],
    "table?": [str],
    "figures?": [str],
    "measure?": [str],
    "settings?": {str: object},
    "variant?": [{"name": str, "base?": str, "on?": str, "full?": {str: object}}],
    "product?": {str: object},
    "full?": {str: object},
    "limits?": str,
    "vote?": [{"name": str, "of": [str]}],
}


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


@dataclass(frozen=True)
class Vote:
    """A row made of other rows: the majority of their runs of one seed."""

    name: str
    of: tuple[str, ...]


@dataclass(frozen=True)
class Study:
    """A question, and the runs that answer it."""

    path: Path
    question: str
    rows: tuple[Row, ...]
    compare: Against = "first"
    seeds: tuple[int, ...] = (0, 1, 2)
    folds: int | None = None
    """Folds of a cross-validation; None: every run is validated on val."""
    views: tuple[TTA, ...] = ("none",)
    """The first one is what is compared."""
    table: tuple[str, ...] = ("macro_f1", "top1")
    figures: tuple[str, ...] = FIGURES
    measure: tuple[str, ...] = ()
    """Some of MEASURES."""
    votes: tuple[Vote, ...] = ()
    has_full: bool = False
    """True where the file says what full size is."""
    limits: str = ""
    """A sentence on what its runs do not show."""
    made_by: tuple[str, ...] = ()
    """Words of the command that makes it, where that is none of a study file."""

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def command(self) -> str:
        """The command that makes it, the same wherever the project lies."""
        return f"corolla {shell_words(*(self.made_by or ('study', 'run', Path(*self.path.parts[-2:]))))}"

    def row(self, name: str) -> Row:
        """Return the row of this name.

        Raises:
            UserError: there is none; the nearest one is named.
        """
        for row in self.rows:
            if row.name == name:
                return row
        raise UserError(f"{self.path}: {_unknown('row', name, [row.name for row in self.rows])}")


def read_study(path: Path) -> Study:
    """Read a study file.

    Raises:
        UserError: there is no such file, or a key or value in it is not valid; the message names it.
    """
    if not path.stem.strip("."):
        raise UserError(f"{path}: a study's results have a folder of its name: rename it")
    values = read_settings(path)
    if other := [key for key in values if f"{key}?" not in SHAPE and key not in SHAPE]:
        raise UserError(f"{path}: {_unknown('key', other[0], [key.removesuffix('?') for key in SHAPE])}")
    if fault := mismatch(values, SHAPE):
        raise UserError(f"{path}: {fault}")
    study = Study(
        path=path,
        question=" ".join(values["question"].split()),  # it heads a page, in one line
        rows=tuple(_rows(path, values)),
        compare=_one_of(path, "compare", values.get("compare", "first"), ("first", "above", "all")),
        seeds=tuple(values.get("seeds", (0, 1, 2))),
        folds=values.get("folds"),
        views=tuple(_views(path, name) for name in values.get("views", ("none",))),
        table=tuple(_one_of(path, "table", name, COLUMNS) for name in values.get("table", ("macro_f1", "top1"))),
        figures=tuple(_one_of(path, "figures", name, FIGURES) for name in values.get("figures", FIGURES)),
        measure=tuple(_one_of(path, "measure", name, MEASURES) for name in values.get("measure", ())),
        votes=tuple(_votes(path, values.get("vote", ()))),
        limits=values.get("limits", ""),
        has_full="full" in values or any("full" in variant for variant in values.get("variant", ())),
    )
    _check(study)
    return study


def _check(study: Study) -> None:
    """Check what the parts of a study say of each other.

    Raises:
        UserError: a name is there twice or not at all, or a list is empty.
    """
    path = study.path
    if not study.question or not study.question.isprintable():
        raise UserError(f"{path}: question = {shown(study.question)}: a sentence is expected")
    for key, given in (("seeds", study.seeds), ("views", study.views), ("table", study.table)):
        if not given:
            raise UserError(f"{path}: {key} = []: at least one is expected")
    if study.folds is not None and study.folds < 2:
        raise UserError(f"{path}: folds = {study.folds}: at least 2 are expected")
    if bad := [seed for seed in study.seeds if not 0 <= seed < 2**32]:
        raise UserError(f"{path}: seeds: {bad[0]}: a whole number from 0 to 4294967295 is expected")
    names = [each.name for each in (*study.rows, *study.votes)]
    if bad := [name for name in names if not name.isprintable() or name != name.strip() or name[:1] in ("", "-")]:
        raise UserError(
            f"{path}: the name of a row = {json.dumps(bad[0])}: a line of text is expected, without spaces around it "
            "and without a dash at its begin, as of an option"
        )
    if study.measure and study.folds:
        raise UserError(f"{path}: measure: is of networks that are validated on one val: leave out measure or folds")
    lists: tuple[tuple[str, list[object]], ...] = (
        ("seeds", list(study.seeds)),
        ("views", list(study.views)),
        ("table", list(study.table)),
        ("figures", list(study.figures)),
        ("measure", list(study.measure)),
        ("the name of a row", list(names)),
        *((f"vote {vote.name}: of", list(vote.of)) for vote in study.votes),
    )
    for key, given in lists:
        if twice := [one for one in given if given.count(one) > 1]:
            raise UserError(f"{path}: {key}: {twice[0]} is there twice")
    for vote in study.votes:
        if len(vote.of) < 2:
            raise UserError(f"{path}: vote {shown(vote.name)}: of = two rows or more are expected")
        for name in vote.of:
            study.row(name)


def _votes(path: Path, votes: Sequence[dict[str, Any]]) -> Iterator[Vote]:
    for vote in votes:
        if other := [key for key in vote if key not in VOTE]:
            raise UserError(f"{path}: vote {shown(vote['name'])}: {_unknown('key', other[0], VOTE)}")
        yield Vote(vote["name"], tuple(vote["of"]))


def _views(path: Path, name: str) -> TTA:
    try:
        return parse_tta(name).name
    except UserError as error:
        raise UserError(f"{path}: views: {str(error).removeprefix('--tta ')}") from None


def _one_of(path: Path, key: str, value: str, valid: Sequence[str]) -> Any:
    if value not in valid:
        raise UserError(f"{path}: {key} = {shown(value)}: {' or '.join(valid)} is expected")
    return value


def _unknown(kind: str, name: str, valid: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(name, valid, 1, 0.0)
    return f"unknown {kind} {shown(name)}" + (f"; nearest: {shown(nearest[0])}" if nearest else "")


def _rows(path: Path, values: dict[str, Any]) -> Iterator[Row]:
    """Yield the rows: every variant, with every combination of the fields in `product`."""
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
            raise UserError(f"{path}: product: {_unknown('key', key, keys())}")
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
