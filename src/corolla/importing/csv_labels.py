"""The classes of photos from CSVs that lie beside them: an id or a path a row, and a label."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from corolla.data.texts import read_rows
from corolla.errors import UserError
from corolla.importing.csv_tables import (
    SPLIT_COLUMNS,
    TABLES,
    PhotoNames,
    Row,
    Table,
    is_submission,
    letters,
    read_table,
    tables_beside,
)
from corolla.importing.photos import Photo, is_photo, visible
from corolla.text_files import printable

UNREAD_TABLES = (".mat", ".json", ".jsonl", ".xml", ".pkl", ".npy", ".xls", ".xlsx", ".ods", ".parquet", ".h5", ".arff")


def label_photos(folder: Path, photos: list[Photo]) -> tuple[list[Photo], list[str]]:
    """Return the photos with the classes, and where they say so the splits, of the CSVs beside them, and notes.

    Raises:
        UserError: no CSV tells the classes, or two contradict each other.
    """
    tables = _tables(folder, photos)
    told = [table for table in tables if table.column]
    told = [table for table in told if table.titled] or told
    # One whose column is called otherwise, such as a width, is not in place of one that can't be told.
    if not told or (not told[0].titled and any(table.doubt for table in tables)):
        raise UserError(_no_table(folder, photos, tables))
    rows: dict[Photo, tuple[Table, Row]] = {}
    for table in [*told, *(table for table in tables if table not in told)]:
        for photo, row in table.rows.items():
            if photo not in rows and (table in told or row.split == "test" or not table.column):
                rows[photo] = table, row if table in told else row._replace(name=None)
            elif table in told and rows[photo][1][1:] != row[1:]:
                other, first = rows[photo]
                raise UserError(
                    f"{table.path}:{row.line}: {photo.path} is given otherwise in {other.path}:{first.line}; keep one"
                )
    named = {photo: row.name for photo, (_, row) in rows.items() if photo.name and row.name}
    foldered = not _alike(named)
    labelled = []
    for photo in photos:
        table, row = rows.get(photo, (None, Row(0, None, None)))
        split, name = row.split or photo.split, photo.name if foldered and photo.name else row.name
        if table and name is None and split != "test":
            raise UserError(f"{table.path}:{row.line}: {photo.path} has no class; add it, or remove the line")
        if (name := name or photo.name) is not None or split == "test":
            labelled.append(Photo(photo.path, split, name))
    if any(photo.split for photo in labelled):
        labelled = [photo._replace(split=photo.split or "train") for photo in labelled]
    listed = " and ".join(f"{table.path.relative_to(folder).as_posix()} ({table.column})" for table in told)
    notes = [f"the classes are those of {listed}" + foldered * ", but of photos in class folders those of the folders"]
    if left := len(photos) - len(labelled):
        notes.append(f"photos that no line names left out: {left} of {len(photos)}")
    return labelled, notes


def _tables(folder: Path, photos: list[Photo]) -> list[Table]:
    """Return the CSVs that name photos, of the folder and of those in which photos without a class lie."""
    inside = {above for photo in photos if photo.name is None for above in PurePosixPath(photo.path).parents}
    tables = []
    for place in sorted({PurePosixPath(), *inside}):
        below = [photo for photo in photos if place in PurePosixPath(photo.path).parents]
        tables += tables_beside(folder / place, below)
    return tables


def _alike(names: Mapping[Photo, str]) -> bool:
    """Return whether class folders and the classes of a CSV part the photos in the same way."""
    pairs = {(photo.name, name) for photo, name in names.items()}
    return len(pairs) == len({folder for folder, _ in pairs}) == len({name for _, name in pairs})


def label_table(folder: Path, path: Path, split: str | None) -> Iterator[tuple[str, Photo]]:
    """Yield the photos below `folder` that a CSV names, with the places where they stand.

    Raises:
        UserError: it names none, or its column of classes can't be told.
    """
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and is_photo(file)]
    photos = [Photo(file.relative_to(folder).as_posix(), None, None) for file in files]
    table = read_table(path, PhotoNames(photos), split)
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


def contradiction(folder: Path, photos: list[Photo], command: str) -> list[str]:
    """Return notes on CSVs beside class folders by which each of these holds several classes.

    Raises:
        UserError: the column of the classes is called so: the folders are parts of one heap of photos.
    """
    notes = []
    for table in tables_beside(folder, photos, strict=False):
        inside = defaultdict[str | None, set[str | None]](set)
        for photo, row in table.rows.items():
            inside[photo.name].add(row.name)
        if not table.column or len(table.rows) <= len(photos) / 2 or any(len(found) < 2 for found in inside.values()):
            continue
        where = f"{table.path.name} ({table.column})"
        if table.titled:
            raise UserError(
                f"{folder}: by {where} each folder holds several classes: if these are right, {command} --lists "
                f"{table.path}; if the folders are, move {table.path.name} elsewhere"
            )
        values = set[str | None]().union(*inside.values())
        if len(values) <= len(table.rows) / 2 and letters(table.column) not in SPLIT_COLUMNS:  # a class has some photos
            notes.append(f"{where} is not used: if it tells the classes, and the folders don't, --lists {table.path}")
    return notes


def _no_table(folder: Path, photos: list[Photo], tables: list[Table]) -> str:
    bare = [photo for photo in photos if photo.name is None and photo.split != "test"]
    if doubtful := [table for table in tables if table.doubt]:
        table = doubtful[0]
        return f"{table.path}: {table.doubt} write a CSV with two columns, path and class, and give it with --lists"
    where = str(PurePosixPath(bare[0].path).parent)
    target = folder / (bare[0].split or "") / "CLASS"
    if bare[0].split is None and where != ".":
        what = f"{folder}: all {len(bare)} photos lie in one folder, {where}/, which makes one class"
    else:
        what = f"{folder / bare[0].path} lies in no class folder, nor do the other {len(bare) - 1} photos beside it"
    return (
        f"{what}, and no CSV beside names their classes{_seen(folder, bare)}: move each into {target}, CLASS being its "
        "class, or write a CSV with the columns path and class and give it with --lists"
    )


def _seen(folder: Path, bare: list[Photo]) -> str:
    """Return what lies near photos and may hold their classes, but not so that it can be read."""
    places = [folder, *(path for path in visible(folder) if path.is_dir())]
    files = [path for place in places for path in visible(place) if path.is_file() and path.suffix]
    foreign = [path.relative_to(folder).as_posix() for path in files if path.suffix.lower() in UNREAD_TABLES]
    csvs = [path for path in files if path.suffix.lower() in TABLES and not is_submission(path)]
    said = f"; {printable(', '.join(foreign[:3]))} can't be read for labels" if foreign else ""
    for path in csvs[:1]:
        first = next((row for _, row in read_rows(path)[1:]), [])
        said += f"; {path.relative_to(folder)} names no photo, or none alone (it says {first[:3]}, a photo is called "
        said += f"{printable(PurePosixPath(bare[0].path).name)})"
    return said
