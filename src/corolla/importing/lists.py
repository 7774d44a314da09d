"""Find the photos that lists name: train.txt, val.txt and test.txt, or one CSV."""

import contextlib
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath

from corolla.data.competition import SPLITS
from corolla.data.texts import as_posix, read_any_text
from corolla.errors import UserError
from corolla.files import is_file
from corolla.importing.csv_labels import label_table
from corolla.importing.csv_tables import PHOTO_COLUMNS, TABLES, PhotoNames, is_submission, letters, tables_beside
from corolla.importing.photos import SUFFIXES, Found, Photo, is_photo, visible
from corolla.importing.split_names import split_of, split_within
from corolla.text_files import printable, split_lines

MARKS = ("\t", ",", ";", " ")  # between a path and its class


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
        there = there or [path for path in paths if split_within(path.stem) == split]
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
    lines = _lines(path)
    finder = _Finder(folder, lines)
    if len(lines) > 1 and finder.photo(lines[0][1]) is None and _is_header(lines[0][1]):
        lines = lines[1:]
    for number, line in lines:
        yield f"{path}:{number}", _listed_photo(finder, split, line, f"{path}:{number}")


def _lines(path: Path) -> list[tuple[int, str]]:
    """Return a list's lines with their numbers, without those that are empty or comments."""
    lines = [(number, line.strip(" ")) for number, line in enumerate(split_lines(read_any_text(path)), 1)]
    return [(number, line) for number, line in lines if line.strip() and not _is_comment(line)]


def _is_comment(line: str) -> bool:
    return line.startswith("#") and not any(suffix in line.lower() for suffix in SUFFIXES)


def _is_header(line: str) -> bool:
    return letters(re.split(r"[\t,; ]", line)[0]) in PHOTO_COLUMNS


class _Finder:
    """The photos of a folder by the lines of a list."""

    def __init__(self, folder: Path, lines: list[tuple[int, str]]) -> None:
        self.folder = folder
        # In a list of paths alone a blank is a part of a name.
        self._marks = MARKS if all(" " in line for _, line in lines) else MARKS[:-1]

    @cached_property
    def _names(self) -> PhotoNames:
        files = [file for file in sorted(self.folder.rglob("*")) if is_file(file) and is_photo(file)]
        return PhotoNames(Photo(file.relative_to(self.folder).as_posix(), None, None) for file in files)

    def photo(self, line: str) -> tuple[str, str | None] | None:
        """Return the path that a line names and its class: None where it says none, empty where it says so."""
        candidates: list[tuple[str, str | None]] = [(line, None)]
        candidates += [(path, name) for path, mark, name in map(line.rpartition, self._marks) if mark]
        for text, name in candidates:
            for path in (text, as_posix(text)):
                path = path.strip(' "')
                if is_file(self.folder / path):
                    return path, None if name is None else name.strip().strip('"')
        for text, name in candidates:  # without its suffix, with other accents, or below other folders
            found = self._names.photo(text.strip(' "'), None)
            if found and not (name and PurePosixPath(name).suffix.lower() in SUFFIXES):
                return found.path, None if name is None else name.strip().strip('"')
        return None

    def too_many(self, line: str) -> int:
        """Return the number of columns where a line begins with a photo and goes on with more than a class; else 0."""
        for mark in self._marks:
            first, *others = line.split(mark)
            if len(others) > 1 and self.photo(first):
                return 1 + len(others)
        return 0


def _listed_photo(finder: _Finder, split: str | None, line: str, place: str) -> Photo:
    shortest = as_posix(line.replace("\t", ",").rpartition(",")[0] or line).strip()
    for text in (as_posix(line), shortest):
        drive = PureWindowsPath(text).drive
        if drive or PurePosixPath(text).is_absolute() or ".." in PurePosixPath(text).parts:
            raise UserError(f"{place}: {printable(text)} is not a path relative to {finder.folder}")
    if (found := finder.photo(line)) is None:
        if columns := finder.too_many(line):
            raise UserError(f"{place} has {columns} columns, so its class can't be told: leave only path and class")
        raise UserError(f"{place}: {printable(finder.folder / shortest)} not found; correct the line or remove it")
    path, name = PurePosixPath(found[0]), found[1]
    if name is None and len(path.parts) > 1:
        name = path.parts[0]
    if not name and split != "test":
        raise UserError(f"{place}: {printable(path)} has no class; write it behind a comma, or remove the line")
    return Photo(path.as_posix(), split, name or None)


# Lists that were not asked for


def splits_beside(folder: Path, photos: list[Photo]) -> tuple[list[Photo], list[str]]:
    """Return the photos of class folders with the splits that the lists and CSVs beside these tell, and notes.

    They are taken where they tell one of every photo.
    """
    told = defaultdict[Photo, set[str]](set)
    sources = []
    for table in tables_beside(folder, photos, strict=False):
        if any(row.split for row in table.rows.values()) and not is_submission(table.path):
            sources.append(table.path)
            for photo, row in table.rows.items():
                told[photo].add(row.split or "")
    names = PhotoNames(photos)
    for split, path in _texts_of_splits(folder):
        with contextlib.suppress(UserError):  # it is no text
            texts = ([line, *(line.rpartition(mark)[0] for mark in MARKS)] for _, line in _lines(path))
            found = [next(filter(None, (names.photo(text, None) for text in each)), None) for each in texts]
            if any(found):
                sources.append(path)
                for photo in filter(None, found):
                    told[photo].add(split)
    splits = set[str]().union(*told.values())
    said = ", ".join(sorted(path.name for path in sources))
    if len(splits) < 2:
        return photos, []
    if "train" in splits and all(len(told.get(photo, ())) == 1 for photo in photos):
        return [photo._replace(split=min(told[photo])) for photo in photos], [f"the splits are those of {said}"]
    listed = f"{len(told)} of {len(photos)} photos" if len(told) < len(photos) else "some photos more than once"
    return photos, [f"the splits of {said} are not used, as they list {listed}: --lists {folder} takes what they list"]


def _texts_of_splits(folder: Path) -> list[tuple[str, Path]]:
    """Return the text files in a folder that are called by a split; trainval.txt only where there is no train.txt."""
    paths = [path for path in visible(folder) if path.suffix.lower() in (".txt", *TABLES) and path.is_file()]
    found = [(split, path) for path in paths if (split := split_within(path.stem))]
    whole = any(split == "train" and letters(path.stem) != "trainval" for split, path in found)
    found = [(split, path) for split, path in found if not (whole and letters(path.stem) == "trainval")]
    return [(split, path) for split, path in found if path.suffix.lower() == ".txt"]


def folder_of_lists(folder: Path, photos: Path) -> Path | None:
    """Return the folder, or one in it, that holds lists of splits for the photos in `photos`; None: there is none."""
    for place in (folder, *(path for path in visible(folder) if path.is_dir())):
        for split, path in _texts_of_splits(place):
            with contextlib.suppress(UserError):
                if split == "train" and (lines := _lines(path)) and _Finder(photos, lines).photo(lines[0][1]):
                    return place
    return None
