"""The classes of photos from CSVs that lie beside them: an id or a path a row, and a label."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from corolla.errors import UserError
from corolla.importing.photos import Photo, is_photo, visible
from corolla.importing.split_names import split_of, split_within
from corolla.importing.texts import as_posix, read_rows

LABEL_COLUMNS = (
    *("label", "labels", "class", "classname", "classes", "category", "species", "breed", "target", "diagnosis", "dx"),
    *("classid", "labelid", "categoryid", "labelname", "categoryname", "variety", "type"),
)
SPLIT_COLUMNS = ("split", "set", "subset", "dataset", "partition")


class Row(NamedTuple):
    """A row that names a photo: its line number, its class (None: empty, or there is no column) and its split."""

    line: int
    name: str | None
    split: str | None


@dataclass(frozen=True)
class Table:
    """A CSV whose rows name photos."""

    path: Path
    rows: dict[Photo, Row]
    column: str
    """The column of the classes, or empty: it has none."""
    doubt: str
    """Why the column of the classes can't be told; empty where it can."""


class _Names:
    """The photos by everything that a row may call them: the path, its end, each with and without suffix."""

    def __init__(self, photos: Iterable[Photo]) -> None:
        self._found = defaultdict[str, list[Photo]](list)
        for photo in photos:
            path = PurePosixPath(photo.path)
            for start in range(len(path.parts)):
                end = PurePosixPath(*path.parts[start:])
                for key in {str(end), str(end.with_suffix(""))}:
                    self._found[key].append(photo)

    def photo(self, text: str, split: str | None) -> Photo | None:
        """Return the one photo that a cell means, best one of the table's split; None: no photo, or several."""
        parts = as_posix(text).split("/")
        for start in range(len(parts)):
            found = self._found.get("/".join(parts[start:]), [])
            found = [photo for photo in found if photo.split == split] or found
            if found:
                return found[0] if len(found) == 1 else None
        return None


def tables_beside(folder: Path, photos: list[Photo]) -> list[Table]:
    """Return the CSVs in a folder whose rows name photos."""
    names = _Names(photos)
    paths = [path for path in visible(folder) if path.suffix.lower() in (".csv", ".tsv") and path.is_file()]
    return [table for path in paths if (table := read_table(path, names, split_within(path.stem)))]


def read_table(path: Path, names: _Names, split: str | None) -> Table | None:
    """Return a CSV whose rows name photos; None where they name none.

    Raises:
        UserError: it is no text, or a row names no photo where others do, or one that an earlier row named.
    """
    rows = read_rows(path)
    width = max((len(row) for _, row in rows), default=0)
    cells = [(number, row + [""] * (width - len(row))) for number, row in rows]
    hits = Counter(
        column for _, row in cells for column in range(width) if row[column] and names.photo(row[column], split)
    )
    if not hits:
        return None
    key = max(hits, key=lambda column: (hits[column], -column))
    header = [] if names.photo(cells[0][1][key], split) else [re.sub("[^a-z]", "", c.lower()) for c in cells[0][1]]
    titles = cells[0][1] if header else [f"column {number}" for number in range(1, width + 1)]
    body = cells[1:] if header else cells
    of_split = next((n for n, title in enumerate(header) if title in SPLIT_COLUMNS and n != key), None)
    if of_split is not None and not all(split_of(row[of_split]) for _, row in body):
        of_split = None
    others = [n for n in range(width) if n not in (key, of_split) and not (header and not titles[n])]
    column, doubt = (None, "") if "submission" in path.stem.lower() else _label_column(others, header, body, titles)
    found: dict[Photo, Row] = {}
    for number, row in body:
        photo = names.photo(row[key], split)
        if photo is None:
            raise UserError(
                f"{path}:{number}: no photo, or no single one, is called {row[key]!r}; correct or remove it"
            )
        if photo in found:
            raise UserError(f"{path}:{number}: {photo.path} is listed a second time; keep one of the two lines")
        name = None if column is None else row[column].strip() or None
        found[photo] = Row(number, name, split if of_split is None else split_of(row[of_split]))
    if "submission" in path.stem.lower():
        found = {photo: Row(row.line, None, "test") for photo, row in found.items()}
    return Table(path, found, "" if column is None else titles[column], doubt)


def _label_column(
    others: list[int], header: list[str], body: list[tuple[int, list[str]]], titles: list[str]
) -> tuple[int | None, str]:
    """Return the column of the classes (None: there is none), and why it can't be told."""
    named = [n for n in others if header and header[n] in LABEL_COLUMNS]
    if len(named) > 1:  # a number and a name of the same class: the name
        pairs = {tuple(row[n] for n in named) for _, row in body}
        if all(len({pair[i] for pair in pairs}) == len(pairs) for i in range(len(named))):
            named = [n for n in named if not all(row[n].isdigit() for _, row in body)][:1] or named[:1]
    chosen = named or others
    if len(chosen) == 1:
        return chosen[0], ""
    if not chosen:
        return None, ""
    return None, f"which of {', '.join(titles[n] for n in chosen)} is the class?"


def label_photos(folder: Path, photos: list[Photo], tables: list[Table] | None = None) -> tuple[list[Photo], list[str]]:
    """Return the photos with the classes, and where they say so the splits, of the CSVs beside them, and notes.

    Raises:
        UserError: no CSV tells the classes, or two contradict each other.
    """
    tables = tables_beside(folder, photos) if tables is None else tables
    told = [table for table in tables if table.column]
    if not told:
        raise UserError(_no_table(folder, photos, tables))
    rows: dict[Photo, tuple[Table, Row]] = {}
    for table in sorted(tables, key=lambda table: not table.column):
        for photo, row in table.rows.items():
            if photo not in rows:
                rows[photo] = table, row
            elif table.column and rows[photo][1][1:] != row[1:]:
                other, first = rows[photo]
                raise UserError(
                    f"{table.path}:{row.line}: {photo.path} is given otherwise in {other.path}:{first.line}; keep one"
                )
    labelled = []
    for photo in photos:
        table, row = rows.get(photo, (None, Row(0, photo.name, None)))
        split = row.split or photo.split
        if table and row.name is None and split != "test":
            raise UserError(f"{table.path}:{row.line}: {photo.path} has no class; add it, or remove the line")
        if row.name is not None or split == "test":
            labelled.append(Photo(photo.path, split, row.name))
    if any(photo.split for photo in labelled):
        labelled = [photo._replace(split=photo.split or "train") for photo in labelled]
    notes = [f"the classes are those of {' and '.join(f'{t.path.name} ({t.column})' for t in told)}"]
    if left := len(photos) - len(labelled):
        notes.append(f"photos that no line names left out: {left} of {len(photos)}")
    return labelled, notes


def label_table(folder: Path, path: Path, split: str | None) -> Iterator[tuple[str, Photo]]:
    """Yield the photos below `folder` that a CSV names, with the places where they stand.

    Raises:
        UserError: it names none, or its column of classes can't be told.
    """
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and is_photo(file)]
    photos = [Photo(file.relative_to(folder).as_posix(), None, None) for file in files]
    table = read_table(path, _Names(photos), split)
    if table is None:
        raise UserError(
            f"{path}: no line names a photo in {folder}; a line should be a path relative to it, and a class"
        )
    if table.doubt:
        raise UserError(f"{path}: {table.doubt} leave only the columns path and class")
    for photo, row in table.rows.items():
        of = row.split or split
        name = row.name
        if not table.column and of != "test":
            name = PurePosixPath(photo.path).parts[0] if "/" in photo.path else None
        if name is None and of != "test":
            raise UserError(f"{path}:{row.line}: {photo.path} has no class; add it, or remove the line")
        yield f"{path}:{row.line}", Photo(photo.path, of, name)


def refuse_contradiction(folder: Path, photos: list[Photo], command: str) -> None:
    """Refuse class folders each of which holds several classes by a CSV beside them: parts of one heap of photos."""
    for table in tables_beside(folder, photos):
        inside = defaultdict[str | None, set[str | None]](set)
        for photo, row in table.rows.items():
            inside[photo.name].add(row.name)
        told = re.sub("[^a-z]", "", table.column.lower()) in LABEL_COLUMNS  # not a number of a fold, or a date
        if told and all(len(found) > 1 for found in inside.values()) and len(table.rows) > len(photos) / 2:
            raise UserError(
                f"{folder}: by {table.path.name} ({table.column}) each folder holds several classes: if these are "
                f"right, {command} --lists {table.path}; if the folders are, move {table.path.name} elsewhere"
            )


def _no_table(folder: Path, photos: list[Photo], tables: list[Table]) -> str:
    bare = [photo for photo in photos if photo.name is None and photo.split != "test"]
    if doubtful := [table for table in tables if table.doubt]:
        table = doubtful[0]
        return f"{table.path}: {table.doubt} write a CSV with two columns, path and class, and give it with --lists"
    where = str(PurePosixPath(bare[0].path).parent)
    foreign = [
        path.name for path in visible(folder) if path.suffix.lower() in (".mat", ".json", ".xml", ".pkl", ".npy")
    ]
    seen = f"; {', '.join(foreign[:3])} can't be read for labels" if foreign else ""
    target = folder / (bare[0].split or "") / "CLASS"
    if bare[0].split is None and where != ".":
        what = f"{folder}: all {len(bare)} photos lie in one folder, {where}/, which makes one class"
    else:
        what = f"{folder / bare[0].path} lies in no class folder, nor do the other {len(bare) - 1} photos beside it"
    return (
        f"{what}, and no CSV beside names their classes{seen}: move each into {target}, CLASS being its class, or "
        "write a CSV with the columns path and class and give it with --lists"
    )
