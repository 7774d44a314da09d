"""Find the photos that lists name: train.txt, val.txt and test.txt, or one CSV."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from corolla.data.competition import SPLITS
from corolla.errors import UserError
from corolla.files import is_file
from corolla.importing.csv_labels import label_table
from corolla.importing.photos import Found, Photo
from corolla.importing.split_names import split_of
from corolla.importing.texts import as_posix, read_any_text
from corolla.text_files import printable, split_lines

TABLES = (".csv", ".tsv")
ENDINGS = (".jpg", ".JPG", ".jpeg", ".JPEG", ".png", ".PNG", ".webp")
"""Endings that a list of ids leaves out."""


def listed_photos(folder: Path, lists: Path) -> Found:
    """Return the photos that a folder's train.txt, val.txt and test.txt name, or one list alone.

    A line is `path`, `path<TAB>class` or `path,class`; the class is else the path's first folder. A CSV may have a
    header; ids may have no suffix.

    Raises:
        UserError: there is no list for train, or a line names no photo or one that another line has named.
    """
    paths = dict(_lists(lists))
    if not lists.is_file() and "train" not in paths:
        raise UserError(f"{lists / 'train.txt'} not found: it should name a training photo a line")
    photos: dict[str, Photo] = {}
    for split, path in paths.items():
        for place, photo in _photos_of(folder, split, path):
            if photo.path in photos:
                raise UserError(f"{place}: {printable(photo.path)} is listed a second time; keep one of the two lines")
            photos[photo.path] = photo
    found, notes = _without_foreign_folder(sorted(photos.values(), key=lambda photo: photo.path))
    return Found(found, notes)


def _without_foreign_folder(photos: list[Photo]) -> tuple[list[Photo], list[str]]:
    """Take test photos that lie in one folder, which no training photo's class is called, as photos without a class."""
    known = {photo.name for photo in photos if photo.split != "test"}
    tests = [photo for photo in photos if photo.split == "test"]
    names = {photo.name for photo in tests}
    implied = all(photo.name == PurePosixPath(photo.path).parts[0] for photo in tests)
    if len(names) != 1 or not implied or names & known:
        return photos, []
    bare = [photo._replace(name=None) if photo.split == "test" else photo for photo in photos]
    return bare, [f"no training photo is of a class {names.pop()!r}: the test photos in that folder have no class"]


def _lists(lists: Path) -> Iterator[tuple[str | None, Path]]:
    if lists.is_file():
        yield None, lists
        return
    paths = [lists / name for name in sorted(path.name for path in lists.iterdir())] if lists.is_dir() else []
    paths = [path for path in paths if path.suffix.lower() in (".txt", *TABLES) and path.is_file()]
    for split in SPLITS:
        there = [path for path in paths if path.stem == split]
        there = there or [path for path in paths if split_of(path.stem) == split]
        if len({path.stem for path in there}) > 1:
            names = ", ".join(path.name for path in there)
            raise UserError(f"{lists} holds several lists for {split}: keep one of {names}")
        if there:
            yield split, next((path for path in there if path.suffix.lower() == ".txt"), there[0])


def _photos_of(folder: Path, split: str | None, path: Path) -> Iterator[tuple[str, Photo]]:
    """Yield the photos of a list with the places where they stand."""
    if path.suffix.lower() in TABLES:
        yield from label_table(folder, path, split)
        return
    lines = [(number, line.strip(" ")) for number, line in enumerate(split_lines(read_any_text(path)), 1)]
    lines = [(number, line) for number, line in lines if line.strip()]  # a tab at the end is an empty class
    if len(lines) > 1 and not _found(folder, lines[0][1]) and _is_header(lines[0][1]):
        lines = lines[1:]
    for number, line in lines:
        yield f"{path}:{number}", _listed_photo(folder, split, line, f"{path}:{number}")


HEADERS = {"path", "file", "filename", "filepath", "filepaths", "image", "imagepath", "imageid", "id", "photo", "img"}


def _is_header(line: str) -> bool:
    first = line.replace("\t", ",").split(",")[0]
    return "".join(filter(str.isalpha, first.lower())) in HEADERS


def _found(folder: Path, line: str) -> tuple[str, str | None] | None:
    """Return the path that a line names and its class: None where it says none, empty where it says so."""
    candidates: list[tuple[str, str | None]] = [(line, None)]
    candidates += [(path, name) for path, mark, name in (line.rpartition("\t"), line.rpartition(",")) if mark]
    for text, name in candidates:
        for path in (text, as_posix(text)):
            path = path.strip(' "')
            if is_file(folder / path):
                return path, None if name is None else name.strip().strip('"')
    for text, name in candidates:
        path = as_posix(text).strip(' "')
        there = [path + suffix for suffix in ENDINGS if is_file(folder / (path + suffix))]
        if path and len(there) == 1:
            return there[0], None if name is None else name.strip().strip('"')
    return None


def _listed_photo(folder: Path, split: str | None, line: str, place: str) -> Photo:
    shortest = as_posix(line.replace("\t", ",").rpartition(",")[0] or line).strip()
    for text in (as_posix(line), shortest):
        if PurePosixPath(text).is_absolute() or ".." in PurePosixPath(text).parts:
            raise UserError(f"{place}: {printable(text)} is not a path relative to {folder}")
    if (found := _found(folder, line)) is None:
        raise UserError(f"{place}: {printable(folder / shortest)} not found; correct the line or remove it")
    path, name = PurePosixPath(found[0]), found[1]
    if name is None and len(path.parts) > 1:
        name = path.parts[0]
    if not name and split != "test":
        raise UserError(f"{place}: {printable(path)} has no class; write it behind a comma, or remove the line")
    return Photo(path.as_posix(), split, name or None)
