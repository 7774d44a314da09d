"""`corolla import`: write one's own photos, or others' TFRecords, as a data folder in the competition's layout."""

import contextlib
import hashlib
import json
import logging
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from corolla.data.tfrecord import encode_example, write_tfrecord
from corolla.errors import UserError
from corolla.files import locked, write_atomically
from corolla.importing.conversion import ConvertedPhoto, Read, convert_photos, photo_digests
from corolla.importing.folders import find_photos
from corolla.importing.imported import DRAWN_APART, SAME_PIXELS, Imported, copies_in, imported_before
from corolla.importing.lists import listed_photos
from corolla.importing.photos import Found, Photo, alike_names, check_photos, class_names
from corolla.importing.pixels import Crop, Pixels
from corolla.importing.record_sources import holds_records, root_of
from corolla.importing.records import broken_records, find_record_photos, record_facts
from corolla.importing.splits import photo_ids, split_photos
from corolla.importing.suspect_layouts import ARCHIVES
from corolla.importing.tables import tables_of, write_tables
from corolla.paths import AnyPath, AnyPaths, as_path, as_paths
from corolla.temporary import remove_leftovers, scratch_folder, temporary_folder
from corolla.text_files import printable

log = logging.getLogger(__name__)

FORMAT = 1  # one more whenever the same photos give other bytes: an older import is then not taken for a new one
WRITTEN = ("classes.txt", "*.csv")  # beside the folders of TFRecords
FILE_RECORDS = 800  # at most
REMEDY = "; fix or remove them, or leave them out with --skip-broken"


def import_photos(
    folder: AnyPaths,
    out: AnyPath,
    *,
    size: int = 224,
    val: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
    lists: AnyPath | None = None,
    crop: Crop = "center",
    quality: int = 95,
    skip_broken: bool = False,
    features: str | None = None,
    progress: bool = True,
) -> Imported:
    """Write the photos of `folder` at `size` x `size` pixels into `out`, which may hold other sizes of them.

    The folder holds CLASS/… or {train,val,test}/CLASS/… (photos right in test/ have no class); or `lists` is a folder
    with train.txt, val.txt, test.txt. Where no split is given, `val` and `test` are the shares of each class. The bytes
    written depend on the photos, their paths and the arguments alone, and are moved into place whole.

    In place of the folder, or in it, may be TFRecords of others, whose photo, class and id have the names that
    `features` tells (`image=image/encoded,class=label`) or else usual ones.

    Raises:
        UserError: arguments out of range, photos without a class, photos that can't be read (unless `skip_broken`
            leaves them out), or `out` holds something else.
    """
    sources, out, lists = as_paths(folder), as_path(out), as_path(lists)
    if not sources:
        raise UserError("name a folder of photos, or files of TFRecords")
    from_records = features is not None or len(sources) > 1 or holds_records(sources[0])
    root = root_of(sources) if from_records else sources[0]
    _check_arguments(out, size=size, val=val, test=test, seed=seed, quality=quality)
    _check_places(sources, out, from_records=from_records)
    recipe: dict[str, Any] = {"format": FORMAT, "val": val, "test": test, "seed": seed}
    with scratch_folder("import") as unpacked:  # for compressed TFRecords
        if from_records:
            if lists:
                raise UserError("--lists names photos in a folder: with TFRecords leave it out")
            found = find_record_photos(sources, features, unpacked, skip_broken=skip_broken, progress=progress)
            recipe["records"] = record_facts(found)
        else:
            found = listed_photos(root, lists) if lists else find_photos(root)
            check_photos(lists or root, found.photos)
        out.mkdir(parents=True, exist_ok=True)
        with _alone(out):
            return _import(root, out, found, recipe, Pixels(size, crop, quality), skip_broken, progress=progress)


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Wait until no other import writes into `out`, and keep others out."""
    lock = out / ".import.lock"

    def waiting() -> None:
        log.info("%s: another import writes there; waiting for it", out)

    # The lock's file stays: one process that has opened it and one that made it anew would both hold it.
    with locked(lock, waiting=waiting):
        remove_leftovers(out, *WRITTEN)
        yield


def _import(
    folder: Path, out: Path, found: Found, recipe: dict[str, Any], pixels: Pixels, skip_broken: bool, *, progress: bool
) -> Imported:
    photos, size, read = found.photos, pixels.size, found.read or _from_folder(folder)
    val, test, seed = recipe["val"], recipe["test"], recipe["seed"]
    copies = copies_in(out)  # another size is split as the first one was
    if any(out.glob("tfrecords-jpeg-*")):
        recipe |= _contents(photos, photo_digests(read, photos, progress=progress), copies)
        if reused := imported_before(out, recipe, pixels):
            return reused
    with temporary_folder(out, "import") as private:
        with (private / "spool").open("wb+") as spool:
            jpegs = convert_photos(read, photos, pixels, spool, progress=progress)
            faults = {path: jpeg.fault for path, jpeg in jpegs.items() if jpeg.fault}
            broken = (broken_records if found.names else _broken)(folder, faults, len(photos)) if faults else ""
            if broken and not skip_broken:
                raise UserError(broken + REMEDY)
            same = {path: jpeg.picture if copies == SAME_PIXELS else jpeg.digest for path, jpeg in jpegs.items()}
            same = {} if copies == DRAWN_APART else same
            splits = split_photos(_whole(folder, photos, jpegs), val=val, test=test, seed=seed, digests=same)
            names, ids = found.names or class_names(photos), found.ids or photo_ids(photos)
            records = private / f"tfrecords-jpeg-{size}x{size}"
            _write_records(records, splits, names, ids, lambda path: jpegs[path].read(spool))
        recipe |= _contents(photos, (jpeg.digest for jpeg in jpegs.values()), copies)
        notes = [*found.notes, *[broken + "; left out"] * bool(broken), *_notes(photos, splits, jpegs)]
        counts = {split: len(members) for split, members in splits.items()}
        about = {"recipe": recipe, "pixels": asdict(pixels), "notes": notes, "counts": counts}
        write_atomically(records / "import.json", (json.dumps(about) + "\n").encode())
        write_tables(out, tables_of(splits, names, ids))
        records.rename(out / records.name)  # last: only now does the set look whole
    return Imported(folder=out, size=size, class_names=names, counts=counts, notes=tuple(notes), reused=False)


def _check_arguments(out: Path, *, size: int, val: float, test: float, seed: int, quality: int) -> None:
    if not 32 <= size <= 1024:
        raise UserError(f"--size {size}: photos are written 32 to 1024 pixels wide")
    if not (val > 0 and test >= 0 and val + test < 1):
        raise UserError(f"--val {val:g} --test {test:g}: shares, val above 0, test not below, together less than 1")
    if not 1 <= quality <= 100:
        raise UserError(f"--quality {quality}: must be 1 to 100")
    if seed < 0:
        raise UserError(f"--seed {seed}: must not be negative")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; choose a folder")


def _check_places(sources: list[Path], out: Path, *, from_records: bool) -> None:
    for source in sources:
        if source.suffix.lower() in ARCHIVES and source.is_file() and not from_records:
            raise UserError(f"{source} is packed: unpack it, and name the folder that holds its class folders")
        if not source.is_dir() and not from_records:
            raise UserError(f"{source} is no folder: name the one that holds a folder of photos for each class")
        if not source.exists():
            raise UserError(f"{source}: there is no such file")
        if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
            what = "which is searched for TFRecords" if from_records else "whose folders are classes"
            raise UserError(f"{out} lies inside {source}, {what}; choose a folder elsewhere")


def _from_folder(folder: Path) -> Read:
    def read(photo: Photo) -> bytes:
        return (folder / photo.path).read_bytes()

    return read


def _broken(folder: Path, reasons: Mapping[str, str], total: int, shown: int = 20) -> str:
    faults = [f"{printable(path)} ({printable(reason)})" for path, reason in reasons.items()]
    more = f" and {len(faults) - shown} more" if len(faults) > shown else ""
    what = "is no photo that can be read" if len(faults) == 1 else "are no photos that can be read"
    return f"{folder}: {len(faults)} of {total} files {what}: {', '.join(faults[:shown])}{more}"


def _whole(folder: Path, photos: list[Photo], jpegs: Mapping[str, ConvertedPhoto]) -> list[Photo]:
    """Return the photos that can be read; every class must have one to train on."""
    whole = [photo for photo in photos if not jpegs[photo.path].fault]
    trained = {photo.name for photo in whole if photo.split in (None, "train")}
    had = class_names(photo for photo in photos if photo.split in (None, "train"))
    if lost := [name for name in had if name not in trained]:
        raise UserError(f"{folder}: class {lost[0]!r} has no training photo that can be read; replace its photos")
    return whole


def _contents(photos: list[Photo], digests: Iterable[str], copies: str) -> dict[str, str]:
    """Return what the recipe says of the photos: the SHA-256 (hex) over their paths, splits, classes and contents.

    It says how copies are drawn as well, where they are not drawn each for itself.
    """
    known = [(*photo, digest) for photo, digest in zip(photos, digests, strict=True)]
    whole = hashlib.sha256(repr(known).encode()).hexdigest()
    return {"photos": whole} | ({} if copies == DRAWN_APART else {"copies": copies})


def _notes(photos: list[Photo], splits: Mapping[str, list[Photo]], jpegs: Mapping[str, ConvertedPhoto]) -> list[str]:
    notes: list[str] = []
    if alike := alike_names(class_names(photos)):
        notes.append(f"classes whose names differ in case alone are kept apart: {', '.join(alike[:6])}")
    if photos[0].split is not None and all(photo.split != "val" for photo in photos):
        notes.append(f"no val photos were given: {len(splits['val'])} were split off train")
    if "test" not in splits:
        notes.append("no test photos: there is nothing to predict but --split val, and no sample_submission.csv")
    sizes = Counter(photo.name for members in splits.values() for photo in members)
    if small := sum(1 for name, count in sizes.items() if name is not None and count < 3) * (photos[0].split is None):
        notes.append(f"classes with fewer than 3 photos, which are not in every split: {small}")
    copies = defaultdict[str, list[tuple[str, str | None]]](list)
    for split, members in splits.items():
        for photo in members:
            copies[jpegs[photo.path].picture].append((split, photo.name))
    twice = [found for found in copies.values() if len(found) > 1]
    if twice:
        across = sum(len({split for split, _ in found}) > 1 for found in twice)
        differ = sum(len({name for _, name in found if name is not None}) > 1 for found in twice)
        extra = sum(map(len, twice)) - len(twice)
        where = f"{across} across splits, which corolla audit names" if across else "each in the split of its original"
        where += f"; {differ} in different classes" * bool(differ)
        copies = f"{extra} {'copy' if extra == 1 else 'copies'}"
        notes.append(f"photos there more than once, pixel for pixel: {len(twice)} ({copies}; {where})")
    return notes


def _write_records(
    folder: Path,
    splits: Mapping[str, list[Photo]],
    names: tuple[str, ...],
    ids: Mapping[str, str],
    read: Callable[[str], bytes],
) -> None:
    """Write each split to files that differ in length by one record at most."""
    labels = {name: label for label, name in enumerate(names)}
    size = folder.name.rpartition("-")[2]
    for split, members in splits.items():
        (folder / split).mkdir(parents=True)
        num_files = math.ceil(len(members) / FILE_RECORDS)
        for number in range(num_files):
            part = members[len(members) * number // num_files : len(members) * (number + 1) // num_files]
            hidden = split == "test"  # as in the competition
            write_tfrecord(
                folder / split / f"{number:02d}-{size}-{len(part)}.tfrec",
                (
                    encode_example(
                        image=read(photo.path),
                        label=None if hidden or photo.name is None else labels[photo.name],
                        id=ids[photo.path],
                    )
                    for photo in part
                ),
            )
