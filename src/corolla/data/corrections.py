"""Corrections of the training photos by hand: the column `action` of the audit's CSV, which a person has filled.

`drop` leaves a photo out of training; `label=3`, or `label=rose`, gives it another class. The photos that a run is
validated on, and test, are never thinned or relabelled; with --train.on train+val, and with --train.fold in the other
folds, those of val are training photos as well. The data fingerprint stays that of the records, as if there were no
corrections; the CSV's SHA-256 is one of the run's settings.
"""

import dataclasses
import difflib
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from corolla.config import TrainConfig
from corolla.data.folds import Folds, find_folds, parts_of, with_fold
from corolla.data.index import Index, split_of
from corolla.data.regroup import with_all_labelled
from corolla.data.subset import subset_index, take_rows
from corolla.data.texts import NO_VALUE, decode_any_text, spreadsheet_rows_in
from corolla.errors import UserError
from corolla.text_files import read_bytes, shown

ACTION = "action"
"""The column that a person fills; the last one of the audit's CSV."""
HEAD = 1000  # bytes, in which the columns of such a CSV are named
COPY = "corrections.csv"
"""The name of the copy in a run's folder."""
DROP = -1
NO_ACTION = {"", "na", "none", *NO_VALUE}
"""Actions, in lower case, of rows without one: what programs write for an empty cell."""
EXPECTED = "drop, label=N or label=NAME is expected"


@dataclass(frozen=True)
class Corrections:
    """A CSV with the columns `id` and `action`, as it was read."""

    path: Path
    content: bytes

    @property
    def sha256(self) -> str:
        """SHA-256 of the file, in hex."""
        return hashlib.sha256(self.content).hexdigest()


class Action(NamedTuple):
    """A row of the CSV that has an action."""

    line: int
    text: str
    label: int
    """The photo's class from now on, or DROP."""
    split: str
    """The split as the row tells it; empty where it does not."""


@dataclass(frozen=True)
class Corrected:
    """An index with corrected training photos, and what was done, in lines."""

    index: Index
    notes: list[str]


def read_corrections(path: Path) -> Corrections:
    """Read the file; whether its rows fit the photos, `correct` tells.

    Raises:
        UserError: there is no such file, or it is none that can hold a table.
    """
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name the CSV in which actions were filled in")
    return Corrections(path, read_bytes(path))


def check_not_filled(path: Path) -> None:
    """Check that a CSV which is about to be written does not take the place of one that a person has filled.

    Raises:
        UserError: it would.
    """
    if not path.is_file():
        return
    found, remedy = read_corrections(path), "give another file, or move this one away"
    try:
        table = _table(found)
    except UserError as error:
        if ACTION.encode() in found.content[:HEAD].lower():  # else another file altogether
            raise UserError(f"{error}; whether actions were filled in can't be told: {remedy}") from None
        return
    if filled := sum(cells[ACTION].casefold() not in NO_ACTION for _, cells in table):
        were = "action was" if filled == 1 else "actions were"
        raise UserError(f"{path}: {filled} {were} filled in; {remedy}")


def training_index(
    index: Index,
    settings: TrainConfig,
    corrections: Corrections | None = None,
    *,
    folds: Folds | None = None,
    cache_dir: Path | None = None,
) -> Index:
    """Return the index with the photos that a run trains on: corrected, then thinned by --train.share.

    Val and test stay whole, and so does the fingerprint: it is that of the records without corrections. Train and val
    are those that `run_index` makes.

    Args:
        corrections: default: those of the file that the settings name.
        folds: of which --train.fold is one; default: those of the photos.
        cache_dir: folder for what is found out of the photos; default: the user's cache.

    Raises:
        UserError: the data has no train split, or a row of the corrections does not fit it.
    """
    index = run_index(index, settings, folds, cache_dir=cache_dir)
    recorded = subset_index(index, settings.share, settings.seed)
    if corrections is None and settings.corrections is not None:
        corrections = read_corrections(settings.corrections)
    if corrections is None:
        return recorded
    corrected = subset_index(correct(index, corrections).index, settings.share, settings.seed)
    return dataclasses.replace(corrected, uncorrected={"train": recorded.splits["train"].fingerprint})


def run_index(
    index: Index, settings: TrainConfig, folds: Folds | None = None, *, cache_dir: Path | None = None
) -> Index:
    """Return the index with train and val as a run has them, before corrections and --train.share.

    With --train.on train+val there is no val, with --train.fold it is that fold. An index that is like that already is
    returned as it is.

    Raises:
        UserError: the data has no train or no val split, where the run takes the photos of both, or other photos than
            the folds.
    """
    if index.of_folder:
        return index
    if settings.fold is not None:
        return with_fold(index, folds or find_folds(index, parts_of(settings.fold)[1], cache_dir), settings.fold)
    return with_all_labelled(index) if settings.on == "train+val" else index


def correct(index: Index, corrections: Corrections) -> Corrected:
    """Apply the actions to the photos of train; a row about one of val or test is left out, and a note says so.

    Raises:
        UserError: a row does not fit the photos or the classes, no row has an action for train, or a class would lose
            its last photo.
    """
    train = split_of(index, "train")
    rows = {str(name): row for row, name in enumerate(train.id)}
    elsewhere = {str(name) for split in index.splits.values() if split is not train for name in split.id}
    labels, is_kept, num_left_out = train.label.copy(), np.ones(len(train), bool), 0
    actions = _actions(corrections, index)
    for name, action in actions.items():
        if name not in rows:
            if name not in elsewhere and action.split not in ("val", "test"):
                raise UserError(_unknown(corrections.path, action.line, name, index))
            num_left_out += 1
        elif action.label == DROP:
            is_kept[rows[name]] = False
        else:
            labels[rows[name]] = action.label
    if num_left_out == len(actions) and not (actions and index.of_folder):  # in another fold they are learned
        all_of_them = "every action is about a photo of val or test, which stay as they are" if actions else ""
        raise UserError(f"{corrections.path}: {all_of_them or f'no row has an action; {EXPECTED}, for some photos'}")
    _check_classes(corrections.path, index, train.label, labels[is_kept])
    num_dropped, num_changed = int((~is_kept).sum()), int((labels != train.label)[is_kept].sum())
    counts = f"training photos left out: {num_dropped}, given another class: {num_changed}"
    if num_left_out:
        counts += f"; actions about photos of val or test, which stay as they are: {num_left_out}"
    notes = [f"{corrections.path}: {counts}"]
    notes += _notes_on_numbers(actions.values(), index.class_names)
    split = take_rows(dataclasses.replace(train, label=labels), np.flatnonzero(is_kept))
    return Corrected(dataclasses.replace(index, splits={**index.splits, "train": split}), notes)


def _actions(corrections: Corrections, index: Index) -> dict[str, Action]:
    """Return the action of each photo that has one, by its id."""
    path, found = corrections.path, dict[str, Action]()
    for line, cells in _table(corrections):
        if (text := cells[ACTION]).casefold() in NO_ACTION:
            continue
        if not (name := cells["id"]):
            raise UserError(f"{path}: row {line}: has the action {shown(text)}, but no id of a photo")
        action = Action(line, text, _label(f"{path}: row {line}", text, index.class_names), cells.get("split", ""))
        other = found.setdefault(name, action)
        if other.label != action.label:
            both = f"{shown(other.text)} and {shown(text)}"
            raise UserError(f"{path}: rows {other.line} and {line}: two actions for photo {name}, {both}; keep one")
    return found


def _table(corrections: Corrections) -> list[tuple[int, dict[str, str]]]:
    """Return the numbers of the CSV's rows and their cells by column, which are empty where a row is shorter."""
    path = corrections.path
    table = spreadsheet_rows_in(decode_any_text(corrections.content, path), path)
    columns = [cell.casefold() for cell in table[0][1]] if table else []
    for name in ("id", ACTION):
        if columns.count(name) != 1:
            what = "has no column" if name not in columns else "has more than one column"
            raise UserError(f"{path}: {what} {name}; corolla audit DATA --csv FILE writes a CSV to fill")
    return [(line, dict.fromkeys(columns, "") | dict(zip(columns, row, strict=False))) for line, row in table[1:]]


def _label(place: str, text: str, names: tuple[str, ...]) -> int:
    """Return the class that an action gives a photo, or DROP."""
    if text.casefold() == "drop":
        return DROP
    if not (match := re.fullmatch(r"label\s*=\s*(\S.*)", text, re.IGNORECASE)):
        raise UserError(f"{place}: the action {shown(text)} is not known; {EXPECTED}")
    wanted = match[1]
    if re.fullmatch(r"[+-]?[0-9]+", wanted):
        if not (len(wanted) < 10 and 0 <= int(wanted) < len(names)):
            raise UserError(f"{place}: {shown(text)}: the classes are 0 ({names[0]}) to {len(names) - 1} ({names[-1]})")
        return int(wanted)
    found = [label for label, name in enumerate(names) if name == wanted]
    found = found or [label for label, name in enumerate(names) if name.casefold() == wanted.casefold()]
    if len(found) > 1:
        raise UserError(f"{place}: {shown(text)}: the classes {found[0]} and {found[1]} are called so; give the number")
    if not found:
        near = difflib.get_close_matches(wanted, names, 1, 0.0)[0]
        raise UserError(f"{place}: {shown(text)}: no class is called so; the nearest is {near}")
    return found[0]


def _unknown(path: Path, line: int, name: str, index: Index) -> str:
    """Return the line on an id that no photo has."""
    is_number = re.fullmatch(r"[0-9.,]+(E[+-]?[0-9]+)?", name, re.IGNORECASE) is not None
    remedy = "a spreadsheet may have taken it for a number: have it read that column as text"
    what = f"no photo in {index.folder} has the id {shown(name)}"
    return f"{path}: row {line}: {what}; {remedy if is_number else 'is the CSV that of other data?'}"


def _check_classes(path: Path, index: Index, before: np.ndarray, after: np.ndarray) -> None:
    """Check that no class has lost all of its training photos."""
    if lost := sorted(set(before.tolist()) - set(after.tolist())):
        name = index.class_names[lost[0]]
        raise UserError(f"{path}: would leave no training photo of class {lost[0]} ({name}); keep one at least")


def _notes_on_numbers(actions: Iterable[Action], names: tuple[str, ...]) -> list[str]:
    """Return a note where a class is called by the number of another one that an action gives."""
    for label in sorted({action.label for action in actions if re.fullmatch(r"\D*[0-9]+", action.text)}):
        if str(label) in names and names[label] != str(label):
            return [f"note: label={label} is the class of this number, {names[label]}, not the one called {label}"]
    return []
