"""Photos as a folder or a list names them, and which files are photos at all."""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from corolla.errors import UserError
from corolla.files import natural_key
from corolla.text_files import printable

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"),
    *(".ppm", ".pgm", ".jp2", ".tga"),
)
COMMON = "jpg, png, webp, gif, tif, bmp, avif"  # for messages
# The decoders of HEIC are not permissively licensed, so corolla has none.
HEIC = "HEIC, which corolla doesn't read: export it as JPEG, or convert it with `magick mogrify -format jpg *.heic`"
RAW = "a camera's raw file, which corolla doesn't read: export it as JPEG"
UNREAD: dict[str, str] = {
    **dict.fromkeys((".heic", ".heif", ".hif"), HEIC),
    **dict.fromkeys((".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw"), RAW),
    **dict.fromkeys((".jxl", ".svg", ".psd", ".eps"), "a format that corolla doesn't read: export it as JPEG"),
}
"""Photos that can't be read, and why: they may not be left out without a word, as a text file may."""
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*")
# What systems leave beside photos, as hidden files are.
LITTER = {
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "#recycle", "$recycle.bin"),
    *("system volume information", "lost+found", "__pycache__"),
}


class Photo(NamedTuple):
    """A photo found: its POSIX path relative to the folder, and its split and class, None where neither is given."""

    path: str
    split: str | None
    name: str | None

    def draw(self, purpose: object) -> str:
        """Return pseudo-random hex characters of the path alone; file system and other photos do not change them."""
        path = unicodedata.normalize("NFC", self.path)  # macOS and Linux spell an accent differently
        return hashlib.sha1(f"{purpose}/{path}".encode(errors="surrogateescape")).hexdigest()


class Found(NamedTuple):
    """The photos of a folder, of lists or of TFRecords, and what the user should know about how they were read."""

    photos: list[Photo]
    notes: list[str]
    names: tuple[str, ...] = ()
    """The classes in the order of their labels, where TFRecords tell it; else it is that of their names."""
    ids: Mapping[str, str] = {}
    """Path → id, for TFRecords; else it is made of the path."""
    read: Callable[[Photo], bytes] | None = None
    """Returns a photo's file, for TFRecords; else it lies in the folder."""


def is_photo(path: Path) -> bool:
    """Return whether a file is a photo by its name, or by its first bytes where its name does not tell."""
    if path.exists() and not path.is_file():  # a pipe or a socket, at which reading would wait for ever
        return False
    suffix = path.suffix.lower()
    if suffix in SUFFIXES or suffix in UNREAD:
        return True
    if suffix[1:].isalpha() and suffix:
        return False
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError:  # a socket, a file that nobody may read: nothing that a photo is taken from
        return False
    return start.startswith(SIGNATURES) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")


def visible(folder: Path) -> list[Path]:
    """Return what lies in a folder, sorted, without hidden files and what systems leave there."""
    return sorted(path for path in folder.iterdir() if path.name[0] != "." and path.name.lower() not in LITTER)


def check_photos(place: Path, photos: list[Photo]) -> None:
    """Check that there are training photos, and that every photo that needs a class has a printable one of theirs.

    Raises:
        UserError: they are not so.
    """
    known = {photo.name for photo in photos if photo.split in (None, "train")}
    if not photos:
        raise UserError(f"{place}: no photos found; it should hold a folder for each class with photos ({COMMON})")
    if not known:
        raise UserError(f"{place}: no training photos; put them into {place / 'train' / 'CLASS'}")
    spelled = _one_spelling(place, photos)
    for photo in photos:
        if photo.name is None and photo.split != "test":
            raise UserError(f"{place}: {printable(photo.path)} has no class; put it into a folder named by its class")
        if photo.name is not None and not (photo.name.isprintable() and photo.name):
            where = f"class {photo.name!r} of {printable(photo.path)}"
            raise UserError(f"{place}: {where} is not printable text; rename its folder")
        if photo.name is not None and photo.name not in known:
            near = spelled.get(photo.name.casefold())
            hint = f"; if {near!r} is meant, rename it so" if near else ""
            raise UserError(
                f"{place}: {printable(photo.path)} is of class {photo.name!r}, which has no training photo{hint}"
            )
    if len({photo.name is None for photo in photos if photo.split == "test"}) > 1:
        raise UserError(f"{place}: some test photos have a class and some have none; give all of them one, or none")
    if len(known) == 1:
        where = sorted({str(PurePosixPath(photo.path).parent) for photo in photos})[0]
        raise UserError(
            f"{place}: all photos are of one class, {next(iter(known))!r} (those in {where}/): nothing is learned "
            "from it; put the photos of each class into a folder of its own, or list them: --lists CSV, with path,class"
        )


def _one_spelling(place: Path, photos: list[Photo]) -> dict[str, str]:
    """Return the training photos' classes by their names in lower case.

    Raises:
        UserError: two classes look the same, because an accent is one character in one name and two in the other.
    """
    normal: dict[str, str] = {}
    for photo in photos:
        name = photo.name or ""
        other = normal.setdefault(unicodedata.normalize("NFC", name), name)
        if other != name:
            raise UserError(
                f"{place}: the class of {photo.path} is written as {name!a} and as {other!a}, which look the "
                "same: give both the same name"
            )
    return {photo.name.casefold(): photo.name for photo in photos if photo.name and photo.split in (None, "train")}


def alike_names(names: Iterable[str]) -> list[str]:
    """Return the names that differ from another one in case alone."""
    names = list(names)
    counts = Counter(name.casefold() for name in names)
    return [name for name in names if counts[name.casefold()] > 1]


def class_names(photos: Iterable[Photo]) -> tuple[str, ...]:
    """Return the names of the photos' classes in the order of their labels."""
    return tuple(sorted({photo.name for photo in photos if photo.name is not None}, key=natural_key))
