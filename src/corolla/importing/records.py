"""The photos in TFRecords of others, with their splits, classes and ids."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from corolla.data.competition import SPLITS
from corolla.data.foreign_records import missing_shards
from corolla.errors import UserError
from corolla.importing.feature_spec import Columns, parse_features
from corolla.importing.photos import Found, Photo
from corolla.importing.record_classes import Classes, name_classes
from corolla.importing.record_sources import RecordFile, find_record_files, root_of
from corolla.importing.record_survey import Row, Survey, survey
from corolla.importing.record_values import image_file
from corolla.importing.splits import photo_ids

SHOWN = 20


@dataclass(frozen=True)
class StoredPhotos:
    """Reads the photos of records by their paths, which are those of the files and the records' numbers."""

    places: Mapping[str, tuple[Path, Row]]

    def __call__(self, photo: Photo) -> bytes:
        """Return a photo as an image's file.

        Raises:
            ValueError: its bytes are no image and no raw pixels.
        """
        path, row = self.places[photo.path]
        with path.open("rb") as file:
            file.seek(row.start)
            return image_file(file.read(row.length), row.shape)


def find_record_photos(
    sources: Sequence[Path], features: str | None, unpacked: Path, *, skip_broken: bool, progress: bool
) -> Found:
    """Return the photos in TFRecord files, and in the folders that hold some.

    Args:
        sources: the files or folders.
        features: names of features, as `parse_features` takes them.
        unpacked: an empty folder for what is compressed, needed for as long as the photos are.
        skip_broken: leave out records, and the rest of files, that are damaged.

    Raises:
        UserError: there are none, some are damaged, or their photos, classes or splits can't be told.
    """
    named = parse_features(features)
    root = root_of(sources)
    read = survey(find_record_files(sources), named, unpacked, progress=progress)
    if read.faults and not skip_broken:
        raise UserError("\n".join(_told(read)))
    rows = {file: found for file, found in read.rows.items() if found}
    if not rows:
        raise UserError(f"{root}: the TFRecords hold no photo that can be read")
    splits = _splits(root, rows, read)
    classes = name_classes(((row.label, row.text) for found in rows.values() for row in found if row.label), root)
    photos, places, known = [], {}, {}
    for file, row in ((file, row) for file, found in rows.items() for row in found):
        photo = Photo(f"{file.name}/{row.number}", splits[file], classes.name[row.label.value] if row.label else None)
        photos.append(photo)
        places[photo.path] = read.plain[file], row._replace(shape=row.shape or read.squares.get(file))
        known |= {photo.path: row.id} if row.id else {}
    _check(root, photos)
    ids, id_notes = _ids(root, photos, known, named="id" in named)
    notes = [
        *_left_out(read),
        *_features_taken(read.columns),
        *_raw_notes(read),
        *_split_notes(rows, splits),
        *classes.notes,
        *id_notes,
    ]
    if missing := missing_shards(file.path for file in rows):
        notes.insert(0, missing)
    return Found(photos, [*notes, *_untrained(photos, classes)], classes.names, ids, StoredPhotos(places))


def record_facts(found: Found) -> str:
    """Return the SHA-256 (hex) over the order of the classes and the ids, which the photos alone do not tell."""
    return hashlib.sha256(repr((found.names, sorted(found.ids.items()))).encode()).hexdigest()


def broken_records(root: Path, faults: Mapping[str, str], total: int) -> str:
    """Return that photos in records can't be read, a place for each kind of fault of a file."""
    alike: dict[tuple[str, str], list[str]] = {}
    for path, fault in faults.items():
        alike.setdefault((path.rpartition("/")[0], fault), []).append(path)
    told = [
        f"{paths[0]} ({fault}{f'; so are {len(paths) - 1} more of the file' if len(paths) > 1 else ''})"
        for (_, fault), paths in alike.items()
    ]
    more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    what = "is no photo that can be read" if len(faults) == 1 else "are no photos that can be read"
    return f"{root}: {len(faults)} of {total} records {what}: {', '.join(told[:SHOWN])}{more}"


def _told(read: Survey) -> list[str]:
    """Return a line for each file with faults."""
    lines = [str(fault) for fault in read.faults]
    more = [f"and {len(lines) - SHOWN} more files"] if len(lines) > SHOWN else []
    return [f"{line}; or leave it out with --skip-broken" for line in lines[:SHOWN]] + more


def _left_out(read: Survey) -> list[str]:
    return [f"{fault}; left out" for fault in read.faults]


def _splits(root: Path, rows: Mapping[RecordFile, list[Row]], read: Survey) -> dict[RecordFile, str | None]:
    """Return the split of each file: what its path tells, test where none of its photos has a class."""
    bare = {file for file, found in rows.items() if not any(row.label for row in found)}
    if len(bare) == len(rows):
        file = next(iter(rows))
        raise UserError(f"{file.path}: no class; {read.features[file]}: name it with --features class=FEATURE")
    splits: dict[RecordFile, str | None] = {}
    told = {file.split for file in rows if file.split}
    for file, found in rows.items():
        splits[file] = file.split or ("test" if file in bare else None)
        lacking = sum(row.label is None for row in found)
        if lacking and splits[file] != "test":
            hint = f"; {read.features[file]}: name it with --features class=FEATURE" if file in bare else ""
            first = next(row.number for row in found if row.label is None)
            raise UserError(f"{file.path}: {lacking} of {len(found)} records have no class, record {first} first{hint}")
    if "train" in told and (untold := [file for file, split in splits.items() if split is None]):
        raise UserError(
            f"{untold[0].path} tells no split by its name, others do: rename it, or move it into a folder called "
            f"{', '.join(SPLITS[:-1])} or {SPLITS[-1]}"
        )
    if any(splits.values()):
        splits = {file: split or "train" for file, split in splits.items()}
    return splits


def _check(root: Path, photos: list[Photo]) -> None:
    trained = {photo.name for photo in photos if photo.split in (None, "train")}
    if not trained:
        raise UserError(f"{root}: no training photos; name the files of train too")
    if len({photo.name for photo in photos if photo.name is not None}) == 1:
        name = next(photo.name for photo in photos if photo.name is not None)
        raise UserError(f"{root}: all photos are of one class, {name!r}: nothing is learned from it; name more files")
    if len({photo.name is None for photo in photos if photo.split == "test"}) > 1:
        raise UserError(f"{root}: some test photos have a class and some have none; give all of them one, or none")


def _ids(root: Path, photos: list[Photo], known: Mapping[str, str], *, named: bool) -> tuple[dict[str, str], list[str]]:
    """Return the id of each photo: the record's own, else one that is made of the file and the record's number."""
    made = photo_ids(photos)
    if not known:
        return made, ["the ids are made of the files' names and the records' numbers; photos.csv says which is which"]
    ids = made | dict(known)
    times = Counter(ids.values())
    wrong = next((path for path, id in known.items() if times[id] > 1 or set(',"') & set(id)), None)
    if wrong is None:
        lacking = len(photos) - len(known)
        return ids, [f"photos without an id, which have one made of file and record number: {lacking}"] * bool(lacking)
    what = (
        f"there {times[known[wrong]]} times" if times[known[wrong]] > 1 else "no id for a CSV, with its comma or quote"
    )
    if named:
        raise UserError(f"{root}: the id {known[wrong]!r} of {wrong} is {what}; name another feature, or none")
    return made, [f"the id {known[wrong]!r} is {what}, so ids are made of the files' names and the records' numbers"]


def _features_taken(columns: Mapping[RecordFile, Columns]) -> list[str]:
    kinds: dict[Columns, RecordFile] = {}
    for file, taken in columns.items():
        kinds.setdefault(taken, file)
    where = [f" (in {file.name} and such files)" if len(kinds) > 1 else "" for file in kinds.values()]
    return [f"features taken{place}: {taken}" for place, taken in zip(where, kinds, strict=True)]


def _raw_notes(read: Survey) -> list[str]:
    """Return how raw pixels are taken: nothing tells whether they are so, as channels first have as many."""
    sides = {shape[0]: file for file, shape in reversed(list(read.squares.items()))}
    notes = [
        f"no feature tells the size of the raw pixels (in {file.name}): they are taken as {side} x {side} of 3 colours"
        for side, file in sorted(sides.items())
    ]
    raw = [file.name for file, rows in read.rows.items() if any(not row.is_file for row in rows)]
    how = "raw pixels are taken row by row, with the colours of each side by side; look at some with corolla show"
    return [*notes, f"{how} (in {raw[0]}{' and others' * (len(raw) > 1)})"] if raw else notes


def _split_notes(rows: Mapping[RecordFile, list[Row]], splits: Mapping[RecordFile, str | None]) -> list[str]:
    notes = []
    if any(file.split and file.by_name for file in rows):
        counts = Counter(split for split in splits.values() if split)
        notes.append(
            f"splits by the files' names: {', '.join(f'{split} {counts[split]}' for split in SPLITS if counts[split])}"
        )
    if bare := [file.name for file in rows if file.split is None and splits[file] == "test"]:
        notes.append(
            f"test photos are those of the files without a class: {', '.join(bare[:5])}{', …' * (len(bare) > 5)}"
        )
    return notes


def _untrained(photos: list[Photo], classes: Classes) -> list[str]:
    """Return a note where classes have no photo to train on."""
    trained = {photo.name for photo in photos if photo.split in (None, "train")}
    missing = [name for name in classes.names if name not in trained]
    some = f"{', '.join(missing[:5])}{', …' * (len(missing) > 5)}"
    return [f"classes without a training photo: {len(missing)} ({some})"] if missing else []
