"""Probabilities from elsewhere: a CSV of ids and a column per class, or an .npz of ids and probabilities; checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corolla.errors import UserError
from corolla.evaluation.labels import first_few
from corolla.evaluation.npz import read_npz
from corolla.text_files import printable, read_csv_rows, shown

TOLERANCE = 1e-3
"""The sum of a row may differ from 1 by so much, as it does in float16."""


@dataclass(frozen=True, eq=False)
class ClassProbabilities:
    """Probabilities of photos; rows are told apart by id, never by their order."""

    ids: NDArray[np.str_]
    values: NDArray[np.floating]
    """N x classes, in the order of the classes' numbers; each row sums to 1."""
    fingerprint: str = ""
    """Fingerprint of the records that were predicted; empty where the file tells none."""


def read_probabilities_csv(path: Path, class_names: Sequence[str]) -> ClassProbabilities:
    """Read a CSV, also one in .csv.gz or .zip, whose columns are id and, in any order, the classes.

    Args:
        class_names: the data's; a column's name is one of these or a class's number.

    Raises:
        UserError: no such file, other columns, a cell that is no number, or rows that are no probabilities.
    """
    lines = read_csv_rows(path)
    _, header = next(lines, (1, list[str]()))
    if header[:1] != ["id"]:
        raise UserError(
            f"{path}: the columns are {shown(printable(','.join(header)))}, not id,label or id and one per class"
        )
    order = order_of_classes(path, header[1:], class_names)
    ids, rows = list[str](), list[list[float]]()
    for number, row in lines:
        if not row:
            continue
        if len(row) != len(header) or not row[0]:
            raise UserError(f"{path}: line {number}: an id and {len(header) - 1} numbers are expected")
        try:
            rows.append([float(cell) for cell in row[1:]])
        except ValueError as error:
            raise UserError(f"{path}: line {number}: a number is expected ({printable(error)})") from None
        ids.append(row[0])
    if not rows:
        raise UserError(f"{path}: there are no rows")
    return _checked(path, np.array(ids), np.array(rows)[:, order])


def read_probabilities_npz(path: Path, class_names: Sequence[str]) -> ClassProbabilities:
    """Read an .npz with the arrays ids and probabilities, as `corolla predict` or anything else writes it.

    The columns are ordered by the array class_names where there is one; else they are taken to be in the data's order.

    Raises:
        UserError: it is damaged, holds other arrays or classes, or rows that are no probabilities.
    """
    found = read_npz(path, ("ids", "probabilities"), ("class_names", "fingerprint"))
    ids, values = as_text(found["ids"]), found["probabilities"]
    if fault := shape_fault(ids, values):
        raise UserError(f"{path}: {fault}")
    names = as_text(found.get("class_names", np.array([], str)))
    if names.size or values.shape[1] != len(class_names):
        columns = [str(name) for name in names.ravel()] if names.size else [str(n) for n in range(values.shape[1])]
        values = values[:, order_of_classes(path, columns, class_names)]
    return _checked(path, ids, values, str(found.get("fingerprint", "")))


def as_text(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of UTF-8 bytes or of whole numbers as text; any other as it is."""
    if array.dtype.kind == "S":
        try:
            return np.char.decode(array, "utf-8")
        except UnicodeDecodeError:
            return array
    return array.astype(str) if array.dtype.kind in "iu" else array


def shape_fault(ids: NDArray[Any], values: NDArray[Any]) -> str | None:
    """Return why arrays are not N ids and N x classes floating-point numbers; None where they are."""
    if ids.ndim != 1 or ids.dtype.kind != "U":
        return f"ids is of type {ids.dtype} and shape {ids.shape}, not a row of text"
    if values.dtype.kind != "f":
        return f"probabilities is of type {values.dtype}, not floating point"
    if values.ndim != 2 or len(values) != len(ids) or not values.size:
        return f"probabilities is of shape {values.shape}, not {len(ids)} ids x classes"
    return None


def value_fault(ids: NDArray[np.str_], values: NDArray[np.floating]) -> str | None:
    """Return which rows of N x classes hold what no probability is; None where none does."""
    for what, wrong in (
        ("have probabilities that are not finite", ~np.isfinite(values)),
        ("have negative values: of logits or logarithms take the softmax or the exponential first", values < 0),
    ):
        if (rows := wrong.any(axis=1)).any():
            return f"{rows.sum()} ids {what}: {first_few(ids[rows].tolist())}"
    return None


def order_of_classes(path: Path, columns: Sequence[str], class_names: Sequence[str]) -> list[int]:
    """Return where the column of each class is, by the classes' names or numbers.

    Raises:
        UserError: the columns are not those of all classes, each once, or could be meant either way.
    """
    columns = [column.strip() for column in columns]
    numbers = [str(number) for number in range(len(class_names))]
    orders = [
        [columns.index(key) for key in keys]
        for keys in (numbers, list(class_names))
        if sorted(keys) == sorted(columns) and len(set(keys)) == len(keys)
    ]
    if orders:
        if len(orders) > 1 and orders[0] != orders[1]:
            raise UserError(f"{path}: its columns may be the classes' numbers or their names, which are numbers too")
        return orders[0]
    if doubled := [column for column in dict.fromkeys(columns) if columns.count(column) > 1]:
        raise UserError(f"{path}: {len(doubled)} doubled columns: {first_few(doubled)}")
    if len(columns) != len(class_names):
        raise UserError(f"{path}: has {len(columns)} classes, the data has {len(class_names)}")
    unknown = [column for column in columns if column not in class_names]
    raise UserError(
        f"{path}: {len(unknown)} columns are no class of the data, neither by number (from 0 on) nor by the name in "
        f"classes.txt: {first_few(unknown)}"
    )


def _checked(
    path: Path, ids: NDArray[np.str_], values: NDArray[np.floating], fingerprint: str = ""
) -> ClassProbabilities:
    """Return the probabilities.

    Raises:
        UserError: the rows are none.
    """
    if fault := value_fault(ids, values):
        raise UserError(f"{path}: {fault}")
    sums = values.sum(axis=1, dtype=np.float64)
    if (wrong := np.abs(sums - 1) > TOLERANCE).any():
        first = np.flatnonzero(wrong)[0]
        raise UserError(
            f"{path}: {wrong.sum()} ids have probabilities that do not sum to 1 (the first to {sums[first]:.4g}; of "
            f"logits take the softmax first): {first_few(ids[wrong].tolist())}"
        )
    return ClassProbabilities(ids, values, fingerprint)
