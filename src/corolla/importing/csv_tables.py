"""CSVs whose rows name photos: which column does, which one holds the class, and which split a row is of."""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from corolla.data.texts import NO_VALUE, as_posix, read_rows
from corolla.errors import UserError
from corolla.importing.photos import SUFFIXES, Photo, visible
from corolla.importing.split_names import split_of, split_within
from corolla.text_files import printable

PHOTO_COLUMNS = {
    *("path", "file", "filename", "filepath", "filepaths", "image", "imagepath", "imageid", "imagename", "id", "photo"),
    *("img", "imgid", "imgname", "images", "photoid", "photopath", "imagefile", "imgpath", "url"),
}
LABEL_COLUMNS = (
    *("label", "labels", "class", "classname", "classes", "category", "species", "breed", "target", "diagnosis", "dx"),
    *("classid", "labelid", "categoryid", "labelname", "categoryname", "variety", "type"),
)
SPLIT_COLUMNS = ("split", "set", "subset", "dataset", "partition", "fold")
FLAGS = {  # of a column that says of each row whether it is of one split, and the split that the others are of
    **dict.fromkeys(("istrain", "istraining"), ("train", "test")),
    **dict.fromkeys(("isval", "isvalid", "isvalidation"), ("val", "train")),
    **dict.fromkeys(("istest", "istesting"), ("test", "train")),
}
TRUTH = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


TABLES = (".csv", ".tsv")


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

    @property
    def titled(self) -> bool:
        """Return whether the column of the classes is called as such columns are."""
        return letters(self.column) in LABEL_COLUMNS


class PhotoNames:
    """The photos by everything that a row may call them: the path, its end, each with and without suffix."""

    def __init__(self, photos: Iterable[Photo]) -> None:
        self._found = defaultdict[str, list[Photo]](list)
        self._folders = set[str]()
        for photo in photos:
            path = PurePosixPath(_composed(photo.path))
            self._folders.add(path.parent.name)
            for start in range(len(path.parts)):
                end = PurePosixPath(*path.parts[start:])
                for key in {str(end), _lower_suffix(str(end)), str(end.with_suffix(""))}:
                    self._found[key].append(photo)

    def photo(self, text: str, split: str | None) -> Photo | None:
        """Return the one photo that a cell means, best one of the table's split; None: no photo, or several."""
        parts = _composed(as_posix(text)).split("/")
        for start in range(len(parts)):
            end = "/".join(parts[start:])
            found = self._found.get(end) or self._found.get(_lower_suffix(end), [])
            found = [photo for photo in found if f"/{_composed(photo.path)}".endswith(f"/{end}")] or found
            found = [photo for photo in found if photo.split == split] or found
            if not found:
                continue
            # rose/1.jpg is not tulip/1.jpg, though only that one is there
            elsewhere = start > 0 and parts[start - 1] in self._folders and _composed(found[0].path) != end
            return None if elsewhere or len(found) > 1 else found[0]
        return None


def _composed(text: str) -> str:
    """Return a text with each accent in its letter, as macOS does not write it."""
    return unicodedata.normalize("NFC", text)


def _lower_suffix(path: str) -> str:
    stem, dot, suffix = path.rpartition(".")
    return f"{stem}.{suffix.lower()}" if dot and f".{suffix.lower()}" in SUFFIXES else path


def letters(title: str) -> str:
    """Return a title's letters in lower case, by which columns are known."""
    return re.sub("[^a-z]", "", title.lower())


def is_submission(path: Path) -> bool:
    """Return whether a file is a sample of a submission by its name: its labels are no truth."""
    return "submission" in path.stem.lower()


def tables_beside(folder: Path, photos: list[Photo], *, strict: bool = True) -> list[Table]:
    """Return the CSVs in a folder whose rows name photos; if not `strict`, without those that can't be read."""
    names = PhotoNames(photos)
    tables = []
    for path in visible(folder):
        if path.suffix.lower() in TABLES and path.is_file():
            with contextlib.suppress(*() if strict else (UserError,)):
                tables.append(read_table(path, names, split_within(path.stem), strict=strict))
    return [table for table in tables if table]


def read_table(path: Path, names: PhotoNames, split: str | None, *, strict: bool = True) -> Table | None:
    """Return a CSV whose rows name photos; None where they name none.

    Raises:
        UserError: it is no text; or, if `strict`, two columns name photos, a row names none where others do, or one
            that an earlier row named.
    """
    rows = read_rows(path)
    width = max((len(row) for _, row in rows), default=0)
    cells = [(number, row + [""] * (width - len(row))) for number, row in rows]
    photos = {n: [names.photo(row[n], split) if row[n] else None for _, row in cells] for n in range(width)}
    if not any(any(column) for column in photos.values()):
        return None
    titles = cells[0][1]
    key, rival = _photo_columns(photos, titles, [row for _, row in cells])
    header = [] if photos[key][0] else [letters(title) for title in titles]
    titles = titles if header else [f"column {number}" for number in range(1, width + 1)]
    if rival is not None:
        if not strict:
            return None
        raise UserError(
            f"{path}: {titles[key] or f'column {key + 1}'} and {titles[rival] or f'column {rival + 1}'} both name "
            "photos, and not the same ones: leave only the columns of the photo and of the class"
        )
    body, meant = (cells[1:], photos[key][1:]) if header else (cells, photos[key])
    of_split, splits = _split_column(path, header, body, key)
    others = [n for n in range(width) if n not in (key, of_split) and not (header and not titles[n])]
    submission = is_submission(path)
    column, doubt = (None, "") if submission else _label_column(others, header, body, titles)
    found: dict[Photo, Row] = {}
    for place, ((number, row), photo) in enumerate(zip(body, meant, strict=True)):
        if photo is None or photo in found:
            if strict:
                raise UserError(_bad_row(f"{path}:{number}", row[key], photo))
            continue
        name = None if column is None or row[column].lower() in NO_VALUE else row[column].strip() or None
        found[photo] = Row(number, name, "test" if submission else splits[place] if splits else split)
    return Table(path, found, "" if column is None else titles[column], doubt)


def _bad_row(place: str, cell: str, photo: Photo | None) -> str:
    if photo is None:
        return f"{place}: no photo, or no single one, is called {cell!r}; correct or remove it"
    return f"{place}: {printable(photo.path)} is listed a second time; keep one of the two lines"


def _photo_columns(
    photos: Mapping[int, Sequence[Photo | None]], titles: list[str], cells: list[list[str]]
) -> tuple[int, int | None]:
    """Return the column that names the photos, and another one that may as well and names others (None: there is none).

    A number of the row, or of the class, may be a photo's name without its suffix too: so what has a suffix, or a
    title, counts for more than how many photos a column names.
    """

    def rank(n: int) -> tuple[bool, bool, bool]:
        title = letters(titles[n])
        named = [row[n] for row, photo in zip(cells, photos[n], strict=True) if photo]
        suffixed = any(PurePosixPath(name).suffix.lower() in SUFFIXES for name in named)
        return suffixed, title in PHOTO_COLUMNS, title not in LABEL_COLUMNS

    hits = {n: sum(photo is not None for photo in column) for n, column in photos.items()}
    best = sorted((n for n in hits if hits[n]), key=lambda n: (rank(n), hits[n], -n), reverse=True)
    key = best[0]
    for n in best[1:]:
        differ = any(a and b and a != b for a, b in zip(photos[key], photos[n], strict=True))
        if rank(n) == rank(key) and differ and hits[n] > hits[key] / 2:
            return key, n
    return key, None


def _split_column(
    path: Path, header: list[str], body: list[tuple[int, list[str]]], key: int
) -> tuple[int | None, list[str | None]]:
    """Return the column that tells the splits (None: there is none), and the split of each row.

    Raises:
        UserError: some rows name a split, and some have something else there.
    """
    for n, title in enumerate(header):
        cells = [row[n] for _, row in body]
        if title in FLAGS and all(cell.lower() in TRUTH for cell in cells):
            is_it, is_not = FLAGS[title]
            return n, [is_it if TRUTH[cell.lower()] else is_not for cell in cells]
        if n == key or title not in SPLIT_COLUMNS:
            continue
        splits = [split_of(cell) for cell in cells]
        if not any(splits):
            continue
        if None in splits:
            line, row = body[splits.index(None)]
            raise UserError(f"{path}:{line}: {row[n]!r} is no split: write train, val or test, or remove the line")
        return n, splits
    return None, []


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
