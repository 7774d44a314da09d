"""The place of every record of a data folder: found in one pass over the mapped files, then kept in a cache.

The folder holds `tfrecords-jpeg-SxS/{train,val,test}/*.tfrec` and optionally `classes.txt`.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from corolla.data.class_names import read_class_names
from corolla.data.competition import SPLITS
from corolla.data.foreign_records import OtherFeatures
from corolla.data.index_cache import IndexCache
from corolla.data.mounts import mounted_data
from corolla.data.record_files import count_in_name, passed_over, record_files, size_folders, where_else
from corolla.data.tfrecord import Example, Record, RecordFault, map_file, parse_example, read_records, together
from corolla.errors import UserError
from corolla.parallel import hidden
from corolla.paths import AnyPath, as_path

FORMAT = 1  # of the cache; counted up when its content changes, so that older ones are made again
COLUMNS: dict[str, Any] = dict.fromkeys(("file", "offset", "length", "label", "id", "crc", "record", "start"), np.int64)
COLUMNS |= {"id": np.str_, "crc": np.uint32}


@dataclass(frozen=True, eq=False)
class Split:
    """The records of a split, in file and record order; all arrays have one entry a record."""

    name: str
    files: tuple[str, ...]  # POSIX paths relative to the data folder, sorted
    file: NDArray[np.int64]  # which of `files`
    offset: NDArray[np.int64]  # of the JPEG, in bytes from the file's start
    length: NDArray[np.int64]  # of the JPEG, in bytes
    label: NDArray[np.int64]  # -1 where there is none
    id: NDArray[np.str_]
    crc: NDArray[np.uint32]  # masked CRC32C of each record's data, as stored
    record: NDArray[np.int64]  # 0-based number in its file
    start: NDArray[np.int64]  # of the record, in bytes from the file's start

    def __len__(self) -> int:
        return len(self.offset)

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over the records' CRCs: equal where the data are."""
        return hashlib.sha256(self.crc.astype("<u4").tobytes()).hexdigest()


@dataclass(frozen=True)
class Index:
    """The records of one size in a data folder; `splits` has those of train, val and test that are there."""

    folder: Path
    size: int  # pixels a side
    class_names: tuple[str, ...]
    splits: dict[str, Split]
    uncorrected: dict[str, str] = field(default_factory=dict)
    """Fingerprints of the splits that were corrected by hand (corrections.py), as without the corrections."""
    of_folder: dict[str, str] = field(default_factory=dict)
    """Fingerprints of the folder's own train and val, where a run has put their photos together (regroup.py), under
    "train of the folder" and "val of the folder"."""

    @property
    def fingerprint(self) -> dict[str, str]:
        """The data fingerprint of each split: that of its records, whatever was corrected."""
        return {name: split.fingerprint for name, split in self.splits.items()} | self.uncorrected | self.of_folder


def load_index(data: AnyPath, size: int | None = None, cache_dir: AnyPath | None = None) -> Index:
    """Index the data folder, or take the index from the cache if no file of the folder was touched since it was read.

    `size` None is the only size there. The index is kept in `cache_dir`, or else in the user's own cache. Where sizes,
    times or inodes of the files are others (they were replaced, or copied here), every byte is read again: equal data
    have an equal fingerprint, whatever was computed from them holds on, and the next start reads nothing.

    Raises:
        UserError: there are no such files, or several sizes.
        RecordFault: the first fault in them.
    """
    found, cache_dir = _find(as_path(data), size), as_path(cache_dir)
    for path, reason in found.passed_over:
        raise UserError(f"{path}: {reason}")
    cache = IndexCache(found.folder, found.size, cache_dir, manifest=found.manifest, stats=found.stats)
    columns = cache.read(list(found.files), COLUMNS)
    if columns is not None:
        splits = {
            split: Split(split, tuple(files), **{column: columns[f"{split}.{column}"] for column in COLUMNS})
            for split, files in found.files.items()
        }
        return Index(found.folder, found.size, found.class_names, splits)
    read_at = time.time_ns()
    index, faults = _scan(found, progress=True)
    if faults:
        raise faults[0]
    read = {f"{name}.{column}": getattr(split, column) for name, split in index.splits.items() for column in COLUMNS}
    cache.write(read, read_at=read_at)
    return index


def find_index(data: Path, size: int | None, cache_dir: Path | None = None) -> Index | None:
    """Return the index of a data folder as `load_index` does; None where it holds no TFRecords of that size.

    Raises:
        UserError: it holds several sizes, and `size` is None.
        RecordFault: the first fault in its files.
    """
    there = _sizes_in(_mounted(data))
    return load_index(data, size, cache_dir) if (size in there if size else there) else None


def split_of(index: Index, name: str) -> Split:
    """Return a split of the index.

    Raises:
        UserError: the data has no such split.
    """
    if name not in index.splits:
        folder = index.folder / f"tfrecords-jpeg-{index.size}x{index.size}" / name
        raise UserError(f"{folder}: no .tfrec files, but the split {name} is needed")
    return index.splits[name]


def scan(data: Path, size: int | None, *, progress: bool = False) -> tuple[Index, list[RecordFault]]:
    """Read every byte of the folder and return its index, not from the cache, and all faults in file and record order.

    A record that can't be read is missing from the index; one whose label or id is at fault is there.

    Raises:
        UserError: there are no such files, or several sizes.
    """
    found = _find(data, size)
    index, faults = _scan(found, progress=progress)
    return index, [*(RecordFault(path, 0, 0, reason) for path, reason in found.passed_over), *faults]


@dataclass(frozen=True)
class _Found:
    """The files that an index is made from, as they were before they are read; the cache holds as long as they are."""

    folder: Path
    size: int
    class_names: tuple[str, ...]
    files: dict[str, dict[str, os.stat_result]]  # split → relative path

    @property
    def passed_over(self) -> list[tuple[Path, str]]:
        """The paths beside the files that nothing would read, each with what mends it."""
        return list(passed_over(self.folder / f"tfrecords-jpeg-{self.size}x{self.size}"))

    @property
    def manifest(self) -> str:
        """The content of the folder as its names and sizes tell it."""
        sizes = {split: {file: stat.st_size for file, stat in files.items()} for split, files in self.files.items()}
        facts = {"folder": None, "size": self.size, "class_names": self.class_names, "files": sizes}
        return json.dumps(facts | {"format": FORMAT})

    @property
    def stats(self) -> list[os.stat_result]:
        """The facts of the file system on each file."""
        return [stat for files in self.files.values() for stat in files.values()]


def _find(data: Path, size: int | None) -> _Found:
    data = _mounted(data)
    sizes = _sizes_in(data)
    present = ", ".join(map(str, sorted(sizes)))
    if not sizes or (size is not None and size not in sizes):
        wanted = f"tfrecords-jpeg-{size or 'S'}x{size or 'S'}/{{train,val,test}}/*.tfrec"
        hint = f"; the sizes there are {present} (--size)" if sizes else ""
        raise UserError(f"no TFRecords in {data}: looked for {wanted}{hint or where_else(data)}")
    if size is None and len(sizes) > 1:
        raise UserError(f"{data} holds the sizes {present}: choose one with --size")
    size = size or next(iter(sizes))
    return _Found(data, size, read_class_names(data / "classes.txt"), sizes[size])


def _mounted(data: Path) -> Path:
    """Return the folder; in place of the default, in a notebook, the one that is mounted elsewhere."""
    return mounted_data() or data if data == Path("data") and not data.exists() else data


def _sizes_in(data: Path) -> dict[int, dict[str, dict[str, os.stat_result]]]:
    """Return the files of each size and split that a data folder holds."""
    sizes: dict[int, dict[str, dict[str, os.stat_result]]] = {}
    for size, folder in size_folders(data).items():
        files = {split: _stats(data, folder / split) for split in SPLITS}
        if any(files.values()):
            sizes[size] = {split: names for split, names in files.items() if names}
    return sizes


def _stats(data: Path, folder: Path) -> dict[str, os.stat_result]:
    return {path.relative_to(data).as_posix(): path.stat() for path in record_files(folder)}


def _scan(found: _Found, *, progress: bool) -> tuple[Index, list[RecordFault]]:
    scanner = _Scanner(found)
    total = sum(stat.st_size for files in found.files.values() for stat in files.values())
    with tqdm(total=total, desc="index", unit="B", unit_scale=True, leave=False, disable=hidden(progress)) as bar:
        splits = {split: scanner.split(split, bar) for split in found.files}
    return Index(found.folder, found.size, found.class_names, splits), scanner.faults


@dataclass
class _Scanner:
    """A pass over the splits of a folder; `split` is to be called in their order."""

    found: _Found
    faults: list[RecordFault] = field(default_factory=list)
    seen: dict[str, tuple[str, int]] = field(default_factory=dict)  # id → file and record where it came first

    def split(self, name: str, bar: tqdm) -> Split:
        """Return the records of a split that can be read, and note all its faults."""
        rows: list[tuple[int | str, ...]] = []  # in the order of COLUMNS
        files = self.found.files[name]
        for number, (file, file_id) in enumerate(zip(files, _file_ids(files), strict=True)):
            before = len(self.faults)
            for record, example in self.readable(file):
                label = -1 if example.label is None else example.label
                identity = f"{name}/{file_id}/{record.number}" if example.id is None else example.id
                if example.id is None and name == "test":
                    self.fault(file, record.offset, record.number, "no id, by which a submission would name it")
                for reason in self.mistakes(name, file, record.number, example.label, identity):
                    self.fault(file, record.offset, record.number, reason)
                image = example.image_offset, example.image_length
                rows.append((number, *image, label, identity, record.crc, record.number, record.offset))
            self.faults[before:] = together(self.faults[before:])
            bar.update(files[file].st_size)
        columns = zip(*rows, strict=True) if rows else [()] * len(COLUMNS)
        arrays = {key: np.array(column, COLUMNS[key]) for key, column in zip(COLUMNS, columns, strict=True)}
        return Split(name, tuple(files), **arrays)

    def readable(self, file: str) -> Iterator[tuple[Record, Example]]:
        """Yield the records that can be read; the faults of the others, and of their number, are noted."""
        path = self.found.folder / file
        needed = b"id" if path.parent.name == "test" else b"class"
        count = 0
        try:
            buffer = map_file(path)
            for record in read_records(path, buffer):
                count += 1
                try:
                    if not record.intact:
                        raise ValueError("data CRC differs")
                    example = parse_example(buffer, record.start, record.end, needed=needed)
                except OtherFeatures as error:
                    self.fault(file, record.offset, record.number, str(error), error.remedy(path))
                except ValueError as error:
                    self.fault(file, record.offset, record.number, str(error))
                else:
                    yield record, example
        except RecordFault as fault:
            self.faults.append(fault)
            return
        except OSError as error:
            self.fault(file, 0, 0, f"can't be read: {error.strerror}")
            return
        stated = count_in_name(path)
        if stated is not None and stated != count:
            self.fault(file, len(buffer), count, f"the file holds {count} records, its name says {stated}")
        elif stated is None and not count:
            self.fault(file, 0, 0, "the file is empty")

    def mistakes(self, split: str, file: str, record: int, label: int | None, identity: str) -> Iterator[str]:
        """Yield each reason why a record that can be read is at fault."""
        num_classes = len(self.found.class_names)
        if label is None and split != "test":
            yield "no class"
        elif label is not None and not 0 <= label < num_classes and not (split == "test" and label == -1):
            yield f"class {label} is outside 0..{num_classes - 1}"
        first = self.seen.setdefault(identity, (file, record))
        if first != (file, record):
            yield f"id {identity!r} is that of {first[0]} record {first[1]} too"

    def fault(self, file: str, offset: int, record: int, reason: str, remedy: str = "") -> None:
        self.faults.append(RecordFault(self.found.folder / file, offset, record, reason, remedy))


def _file_ids(files: Iterable[str]) -> list[str]:
    """Return an id for each file of a split, the same for every image size: its leading number, else its position."""
    leading = [match[0] for file in files if (match := re.match(r"\d+", Path(file).name))]
    names = list(files)
    return leading if len(set(leading)) == len(names) else [str(position) for position in range(len(names))]
