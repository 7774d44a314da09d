"""Find the photos that a folder or a list names, with the split and the class that each is given there."""

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from corolla.data.competition import SPLITS
from corolla.errors import UserError
from corolla.files import natural_key

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
LITTER = {"thumbs.db", "desktop.ini", "__macosx", "@eadir"}  # left beside photos by systems, as hidden files are
SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


class Photo(NamedTuple):
    """A photo found: its POSIX path relative to the folder, and its split and class, None where neither is given."""

    path: str
    split: str | None
    name: str | None

    def draw(self, purpose: object) -> str:
        """Return pseudo-random hex characters of the path alone; file system and other photos do not change them."""
        path = unicodedata.normalize("NFC", self.path)  # macOS and Linux spell an accent differently
        return hashlib.sha1(f"{purpose}/{path}".encode(errors="surrogateescape")).hexdigest()


def find_photos(folder: Path) -> tuple[list[Photo], list[str]]:
    """Return the photos in a folder's class folders, and the other files there; paths sorted.

    Raises:
        UserError: the folder's layout is none of those that import_photos() takes.
    """
    folders = [path for path in _visible(folder) if path.is_dir()]
    roots = [(path, SPLIT_FOLDERS[path.name.lower()]) for path in folders if path.name.lower() in SPLIT_FOLDERS]
    if roots and len(roots) < len(folders):
        raise UserError(
            f"{folder} holds {roots[0][0].name}/ beside class folders: move these into train/, or rename it"
        )
    if len({split for _, split in roots}) < len(roots):
        raise UserError(f"{folder} holds two folders for one split: keep one of {', '.join(p.name for p, _ in roots)}")
    photos: list[Photo] = []
    strange: list[str] = []
    for root, split in roots or [(folder, None)]:
        for path in _visible(root):
            inside = sorted(_files(path)) if path.is_dir() else [path] * (path.suffix.lower() in SUFFIXES)
            usable = [file for file in inside if file.suffix.lower() in SUFFIXES]
            if path.is_dir() and not usable and split in (None, "train"):
                raise UserError(f"class folder {path} holds no photos: add some, or remove it")
            if inside and not path.is_dir() and split != "test":
                raise UserError(f"{path} lies in no class folder: move it into {root / 'CLASS'}, CLASS being its class")
            name = path.name.strip() if path.is_dir() else None
            photos += [Photo(file.relative_to(folder).as_posix(), split, name) for file in usable]
            others = sorted(set(inside) - set(usable))
            strange += [f"{file.relative_to(folder).as_posix()} (not {', '.join(SUFFIXES)})" for file in others]
    return sorted(photos, key=lambda photo: photo.path), strange


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name[0] != "." and path.name.lower() not in LITTER)


def _files(folder: Path) -> Iterator[Path]:
    """Yield all files below; links to folders are not followed, so that none runs in circles.

    The class folder itself may be one.
    """
    for path in _visible(folder):
        if not path.is_dir():
            yield path
        elif not path.is_symlink():
            yield from _files(path)


def listed_photos(folder: Path, lists: Path) -> tuple[list[Photo], list[str]]:
    """Return the photos that train.txt, val.txt and test.txt name: `path`, `path<TAB>class` or `path,class` a line.

    Raises:
        UserError: there is no train.txt, or a line names no photo or one that another line has named.
    """
    photos: dict[str, Photo] = {}
    for split in SPLITS:
        path = lists / f"{split}.txt"
        if not path.is_file():
            if split == "train":
                raise UserError(f"{path} not found: it should name a training photo a line")
            continue
        for number, line in enumerate(path.read_text("utf-8-sig").splitlines(), 1):
            if not line.strip():
                continue
            photo = _listed_photo(folder, split, line.strip(), f"{path}:{number}")
            if photo.path in photos:
                raise UserError(f"{path}:{number}: {photo.path} is listed a second time; keep one of the two lines")
            photos[photo.path] = photo
    return sorted(photos.values(), key=lambda photo: photo.path), []


def _listed_photo(folder: Path, split: str, line: str, place: str) -> Photo:
    candidates: list[tuple[str, str | None]] = [(line, None)]
    candidates += [(path, name.strip()) for path, _, name in (line.rpartition("\t"), line.rpartition(",")) if path]
    for text, name in candidates:
        path = PurePosixPath(text.strip())
        if path.is_absolute() or ".." in path.parts:
            raise UserError(f"{place}: {path} is not a path relative to {folder}")
        if (folder / path).is_file():
            name = name or (path.parts[0] if len(path.parts) > 1 else None)
            return Photo(path.as_posix(), split, name)
    raise UserError(f"{place}: {folder / candidates[-1][0]} not found; correct the line or remove it")


def check_photos(place: Path, photos: list[Photo]) -> None:
    """Check that there are training photos, and that every photo that needs a class has a printable one of theirs.

    Raises:
        UserError: they are not so.
    """
    known = {photo.name for photo in photos if photo.split in (None, "train")}
    if not photos:
        raise UserError(
            f"{place}: no photos found; it should hold a folder for each class with {', '.join(SUFFIXES)} files"
        )
    if not known:
        raise UserError(f"{place}: no training photos; put them into {place / 'train' / 'CLASS'}")
    for photo in photos:
        if photo.name is None and photo.split != "test":
            raise UserError(f"{place}: {photo.path} has no class; put it into a folder named by its class")
        if photo.name is not None and not (photo.name.isprintable() and photo.name):
            raise UserError(f"{place}: class {photo.name!r} of {photo.path} is not printable text; rename its folder")
        if photo.name is not None and photo.name not in known:
            raise UserError(f"{place}: {photo.path} is of class {photo.name!r}, which has no training photo")
    if len({photo.name is None for photo in photos if photo.split == "test"}) > 1:
        raise UserError(f"{place}: some test photos have a class and some have none; give all of them one, or none")


def class_names(photos: Iterable[Photo]) -> tuple[str, ...]:
    """Return the names of the photos' classes in the order of their labels."""
    return tuple(sorted({photo.name for photo in photos if photo.name is not None}, key=natural_key))
