"""The folds of a cross-validation over the photos of train and val together (--train.fold).

They are a function of the photos' ids, labels and groups of near duplicates, whatever the order of files: photos are
taken in the order of their ids' SHA-256, and no library draws a number. The groups are those of the audit
(duplicates.py), found on the smallest photos of the data folder that have the same ids, so that all its sizes have the
same folds; a group is in one fold, as a copy of a photo that was learned would be known in validation.
"""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corolla.data.index import Index, load_index
from corolla.data.index_cache import resolve_cache_dir
from corolla.data.record_files import size_folders
from corolla.data.regroup import joined, regrouped
from corolla.data.subset import take_rows
from corolla.errors import UserError
from corolla.files import write_atomically
from corolla.text_files import read_json

FORMAT = 1  # of the groups that are kept; counted up when duplicates are found in another way
COPY = "folds.json"
"""The name of the copy in a run's folder."""
SHAPE = {"folds": int, "of": {str: int}}
"""The shape of such a file: the number of folds, and the fold of each photo by its id, from 1 on."""
GROUPS = {"groups": [[str]], "sha256": str}
"""The shape of the file that keeps groups of near duplicates: the ids of each."""


@dataclass(frozen=True)
class Folds:
    """The fold of each photo of train and val."""

    number: int
    of: Mapping[str, int]
    """The fold by the photo's id, 1 to `number`."""

    @property
    def content(self) -> bytes:
        """The bytes of the file that holds them, the same for the same folds."""
        values = {"folds": self.number, "of": dict(self.of)}
        return (json.dumps(values, sort_keys=True, separators=(",", ":")) + "\n").encode()

    @property
    def sha256(self) -> str:
        """SHA-256 of `content`, in hex."""
        return hashlib.sha256(self.content).hexdigest()


def read_folds(path: Path) -> Folds:
    """Read a file of folds.

    Raises:
        UserError: it is missing, damaged or of something else.
    """
    values = read_json(path, SHAPE)
    return Folds(values["folds"], values["of"])


def parts_of(fold: str) -> tuple[int, int]:
    """Return K and N of K/N."""
    number, _, total = fold.partition("/")
    return int(number), int(total)


def assign_folds(ids: Sequence[str], labels: Sequence[int], number: int, groups: Sequence[Sequence[str]] = ()) -> Folds:
    """Return stratified folds: each class, and all photos, spread as evenly as the groups allow.

    Groups come first, the largest ones before smaller ones, then single photos, each in the order of SHA-256 of the
    (least) id. Each goes into the fold that has the fewest photos of its classes, of equal ones the one with the
    fewest photos, then the first one.

    Args:
        ids: of the photos, each once.
        labels: of the photos.
        number: of the folds, N.
        groups: ids of photos that belong together.

    Raises:
        UserError: a fold would have no photo.
    """
    row_of = {name: row for row, name in enumerate(ids)}
    keys = [hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest() for name in ids]
    together = [[row_of[name] for name in group] for group in groups]
    in_groups = {row for group in together for row in group}
    units = together + [[row] for row in range(len(ids)) if row not in in_groups]
    units = [sorted(unit, key=lambda row: keys[row]) for unit in units]
    if len(units) < number:
        raise UserError(f"--train.fold: {len(units)} different photos are too few for {number} folds; ask for fewer")
    places = np.unique(np.asarray(labels), return_inverse=True)[1]
    counts, totals = np.zeros((number, int(places.max()) + 1), np.int64), np.zeros(number, np.int64)
    of: dict[str, int] = {}
    for unit in sorted(units, key=lambda unit: (-len(unit), keys[unit[0]])):
        own = np.bincount(places[unit], minlength=counts.shape[1])
        fold = int(np.lexsort((totals, counts @ own))[0])
        counts[fold] += own
        totals[fold] += len(unit)
        of |= {ids[row]: fold + 1 for row in unit}
    return Folds(number, of)


def find_folds(index: Index, number: int, cache_dir: Path | None = None) -> Folds:
    """Return the folds of the photos of an index.

    Every photo is decoded once to find near duplicates; they are kept in the cache.

    Raises:
        UserError: the data has no train or no val split, or too few photos.
    """
    photos = joined(index)
    groups = _kept_groups(_smallest(index, cache_dir), cache_dir)
    return assign_folds([str(name) for name in photos.id], photos.label.tolist(), number, groups)


def with_fold(index: Index, folds: Folds, fold: str) -> Index:
    """Return the index with the photos of fold K of N ("K/N") as val, and those of the other folds as train.

    Raises:
        UserError: the data has no train or no val split, or other photos than the folds were made of.
    """
    photos, (own, _) = joined(index), parts_of(fold)
    unknown = [str(name) for name in photos.id if str(name) not in folds.of]
    if unknown or len(photos) != len(folds.of):
        which = f"such as {unknown[0]}" if unknown else f"of which there were {len(folds.of)}, now {len(photos)}"
        raise UserError(f"{index.folder}: has other photos in train and val than the folds were made of, {which}")
    is_own = np.array([folds.of[str(name)] == own for name in photos.id])
    val = dataclasses.replace(take_rows(photos, is_own), name="val")
    return regrouped(index, {"train": take_rows(photos, ~is_own), "val": val})


def _smallest(index: Index, cache_dir: Path | None) -> Index:
    """Return the index of the smallest photos of the folder that have the ids and labels of these."""
    wanted = _labels(index)
    for size in sorted(size for size in size_folders(index.folder) if size < index.size):
        with contextlib.suppress(UserError):
            other = load_index(index.folder, size, cache_dir)
            if {"train", "val"} <= other.splits.keys() and _labels(other) == wanted:
                return other
    return index


def _labels(index: Index) -> dict[str, int]:
    photos = joined(index)
    return dict(zip(map(str, photos.id), photos.label.tolist(), strict=True))


def _kept_groups(index: Index, cache_dir: Path | None) -> list[list[str]]:
    """Return the groups of near duplicates among the photos of train and val, from the cache where they are there."""
    key = json.dumps([FORMAT, index.size, joined(index).fingerprint])
    digest = hashlib.sha256(key.encode()).hexdigest()[:24]
    path = resolve_cache_dir(cache_dir) / f"duplicates-{index.size}-{digest}.json"
    with contextlib.suppress(OSError, UserError):
        kept = read_json(path, GROUPS)
        if kept["sha256"] == _digest(kept["groups"]):
            return kept["groups"]
    groups = _find_groups(index)
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
        write_atomically(path, json.dumps({"groups": groups, "sha256": _digest(groups)}).encode())
    return groups


def _digest(groups: list[list[str]]) -> str:
    return hashlib.sha256(json.dumps(groups).encode()).hexdigest()


def _find_groups(index: Index) -> list[list[str]]:
    from corolla.data.duplicates import components, find_pairs  # a second, which nothing else here needs
    from corolla.data.survey import survey

    photos = survey(index, ("train", "val"), progress=True, bad_images="grey")
    number = components([(pair.first, pair.second) for pair in find_pairs(photos)], len(photos))
    found: dict[int, list[str]] = {}
    for photo, group in enumerate(number.tolist()):
        found.setdefault(group, []).append(photos.id(photo))
    return sorted(sorted(group) for group in found.values() if len(group) > 1)
