"""Study files: a question, and the runs that answer it, as TOML.

question = "Do shortcuts pay, and the more the deeper a network is?"
base = "resnet18"                       # an experiment or a file, as corolla train takes it
compare = "first"                       # with which row each row is compared: first, above, all, or pairs of names
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

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from corolla.config.reading import read_settings
from corolla.data.transforms.tta import TTA, parse_tta
from corolla.errors import UserError
from corolla.study.rows import Row, rows_of, unknown
from corolla.text_files import Shape, mismatch, shell_words, shown

Against = Literal["first", "above", "all"]
FIGURES = ("scores", "curves")
"""Figures that a study may ask for."""
MEASURES = ("lesions", "gradients")
"""Measurements of the trained networks, each with a figure."""
BY_VIEWS = ("macro_f1", "top1", "top5")
"""Scores that each kind of views has."""
COLUMNS = (*BY_VIEWS, "train_top1", "train_loss", "val_loss", "epochs_to_plateau", "lowest_loss")
"""Columns that the table of a study may have. The last two are epochs, as in `corolla compare`."""
VOTE = ("name", "of")
"""Keys of a vote."""
SHAPE: Shape = {
    "question": str,
    "base": str,
    "compare?": object,
    "compare_train?": bool,
    "compare_views?": bool,
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
    "source?": str,
    "least_macro_f1?": float,
    "vote?": [{"name": str, "of": [str]}],
}


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
    compare: Against | tuple[tuple[str, str], ...] = "first"
    """Or pairs of rows, each with the one it is held against."""
    compare_train: bool = False
    """True: they are compared by train top-1 as well."""
    compare_views: bool = False
    """True: the first row is compared with itself, seen by each further kind of views."""
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
    source: str = ""
    """A sentence on what its source has found, as the page quotes it."""
    least_macro_f1: float = 0.0
    """The score of the first row below which nothing is claimed, as of networks that have hardly learned."""
    made_by: tuple[str, ...] = ()
    """Words of the command that makes it, where that is none of a study file."""

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def command(self) -> str:
        """The command that makes it, the same wherever the project lies."""
        return f"corolla {shell_words(*(self.made_by or ('study', 'run', Path(*self.path.parts[-2:]))))}"

    @property
    def photos(self) -> str:
        """The photos that its rows are scored on, in words."""
        return "train and val, out of fold" if self.folds else "val"

    def row(self, name: str) -> Row:
        """Return the row of this name.

        Raises:
            UserError: there is none; the nearest one is named.
        """
        for row in self.rows:
            if row.name == name:
                return row
        raise UserError(f"{self.path}: {unknown('row', name, [row.name for row in self.rows])}")


def seen_by(name: str, views: str) -> str:
    """Return what a row is called, seen by other views than the first kind."""
    return f"{name}, {views}"


def read_study(path: Path) -> Study:
    """Read a study file.

    Raises:
        UserError: there is no such file, or a key or value in it is not valid; the message names it.
    """
    if not path.stem.strip("."):
        raise UserError(f"{path}: a study's results have a folder of its name: rename it")
    values = read_settings(path)
    if other := [key for key in values if f"{key}?" not in SHAPE and key not in SHAPE]:
        raise UserError(f"{path}: {unknown('key', other[0], [key.removesuffix('?') for key in SHAPE])}")
    if fault := mismatch(values, SHAPE):
        raise UserError(f"{path}: {fault}")
    study = Study(
        path=path,
        question=" ".join(values["question"].split()),  # it heads a page, in one line
        rows=tuple(rows_of(path, values)),
        compare=_compare(path, values.get("compare", "first")),
        compare_train=values.get("compare_train", False),
        compare_views=values.get("compare_views", False),
        seeds=tuple(values.get("seeds", (0, 1, 2))),
        folds=values.get("folds"),
        views=tuple(_views(path, name) for name in values.get("views", ("none",))),
        table=tuple(_one_of(path, "table", name, COLUMNS) for name in values.get("table", ("macro_f1", "top1"))),
        figures=tuple(_one_of(path, "figures", name, FIGURES) for name in values.get("figures", FIGURES)),
        measure=tuple(_one_of(path, "measure", name, MEASURES) for name in values.get("measure", ())),
        votes=tuple(_votes(path, values.get("vote", ()))),
        limits=values.get("limits", ""),
        source=values.get("source", ""),
        least_macro_f1=float(values.get("least_macro_f1", 0.0)),
        has_full="full" in values or any("full" in variant for variant in values.get("variant", ())),
    )
    _check(study)
    return study


def _check(study: Study) -> None:
    """Check what the parts of a study say of each other.

    Raises:
        UserError: a name is there twice or not at all, or a list is empty.
    """
    path, names = study.path, [each.name for each in (*study.rows, *study.votes)]
    if not study.question or not study.question.isprintable():
        raise UserError(f"{path}: question = {shown(study.question)}: a sentence is expected")
    for key, given in (("seeds", study.seeds), ("views", study.views), ("table", study.table)):
        if not given:
            raise UserError(f"{path}: {key} = []: at least one is expected")
    for key, text in (("limits", study.limits), ("source", study.source)):
        if not text.isprintable():
            raise UserError(f"{path}: {key} = {shown(text)}: a sentence in one line is expected")
    if not 0 <= study.least_macro_f1 <= 1:
        raise UserError(f"{path}: least_macro_f1 = {study.least_macro_f1:g}: from 0 to 1 is expected")
    if study.compare_views and (study.views[0] != "none" or len(study.views) < 2):
        raise UserError(
            f'{path}: compare_views: views = ["none", …] is expected, with those that none is compared with'
        )
    if bad := [each for each in study.views if study.compare_views and seen_by(names[0], each) in names]:
        raise UserError(f"{path}: compare_views: a row is called as the first one is, seen by {bad[0]}: rename it")
    if study.folds is not None and study.folds < 2:
        raise UserError(f"{path}: folds = {study.folds}: at least 2 are expected")
    if bad := [seed for seed in study.seeds if not 0 <= seed < 2**32]:
        raise UserError(f"{path}: seeds: {bad[0]}: a whole number from 0 to 4294967295 is expected")
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
        ("compare", [" against ".join(pair) for pair in study.compare] if isinstance(study.compare, tuple) else []),
        *((f"vote {vote.name}: of", list(vote.of)) for vote in study.votes),
    )
    for key, given in lists:
        if twice := [one for one in given if given.count(one) > 1]:
            raise UserError(f"{path}: {key}: {twice[0]} is there twice")
    for name in itertools.chain(*(study.compare if isinstance(study.compare, tuple) else ())):
        if name not in names:
            raise UserError(f"{path}: compare: {unknown('row', name, names)}")
    for vote in study.votes:
        if len(vote.of) < 2:
            raise UserError(f"{path}: vote {shown(vote.name)}: of = two rows or more are expected")
        for name in vote.of:
            study.row(name)


def _votes(path: Path, votes: Sequence[dict[str, Any]]) -> Iterator[Vote]:
    for vote in votes:
        if other := [key for key in vote if key not in VOTE]:
            raise UserError(f"{path}: vote {shown(vote['name'])}: {unknown('key', other[0], VOTE)}")
        yield Vote(vote["name"], tuple(vote["of"]))


def _views(path: Path, name: str) -> TTA:
    try:
        return parse_tta(name).name
    except UserError as error:
        raise UserError(f"{path}: views: {str(error).removeprefix('--tta ')}") from None


def _compare(path: Path, given: object) -> Against | tuple[tuple[str, str], ...]:
    if not isinstance(given, list):
        return _one_of(path, "compare", given, ("first", "above", "all"))
    if fault := mismatch(given, [[str]], "compare"):
        raise UserError(f"{path}: {fault}")
    if not given or any(len(pair) != 2 or pair[0] == pair[1] for pair in given):
        raise UserError(f"{path}: compare: pairs of two rows are expected, each with the one it is held against")
    return tuple((first, second) for first, second in given)


def _one_of(path: Path, key: str, value: object, valid: Sequence[str]) -> Any:
    if value not in valid:
        raise UserError(f"{path}: {key} = {shown(value)}: {' or '.join(valid)} is expected")
    return value
