"""`corolla check`: read every byte of a data folder, decode every JPEG, name every fault."""

import contextlib
import csv
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from corolla.data.competition import SAMPLE_SUBMISSION
from corolla.data.dataset import FileMaps
from corolla.data.decode import decode_jpeg
from corolla.data.feature_names import Features, features_of
from corolla.data.features import read_features
from corolla.data.foreign_records import image_remedy, missing_shards
from corolla.data.index import Index, Split, scan
from corolla.data.tfrecord import RecordFault, together
from corolla.parallel import map_in_threads
from corolla.paths import AnyPath, as_path
from corolla.results import Result
from corolla.text_files import read_bytes

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True, repr=False)
class CheckResult(Result):
    """The content of a data folder, and its faults."""

    folder: Path
    size: int  # pixels a side
    num_classes: int
    counts: dict[str, int]  # records that can be read in each split
    num_bytes: int
    seconds: float
    faults: tuple[RecordFault, ...]  # in split, file and record order, sample_submission.csv's last
    notes: tuple[str, ...]  # a line on each thing that could not be checked

    @property
    def summary(self) -> str:
        """The photos of each split, and the number of faults."""
        counts = ", ".join(f"{name} {count}" for name, count in self.counts.items())
        return f"{self.folder}, {counts} photos of {self.num_classes} classes, {len(self.faults) or 'no'} faults"

    def to_pandas(self) -> "pd.DataFrame":
        """Return a row per fault: file, record and reason."""
        import pandas as pd

        rows = [(str(fault.path), fault.record, fault.reason) for fault in self.faults]
        return pd.DataFrame(rows, columns=["file", "record", "reason"])


def check(data: AnyPath, size: int | None = None, *, progress: bool = True) -> CheckResult:
    """Find every fault: those of the index, JPEGs that don't decode or have another size, ids that aren't asked for.

    str() of a fault is its line, `PATH:OFFSET record N: reason`.

    Raises:
        UserError: there are no files to check, or several sizes and `size` is None.
    """
    start = time.perf_counter()
    index, faults = scan(as_path(data), size, progress=progress)
    faults += _image_faults(index, progress=progress)
    id_faults, notes = _id_faults(index, complete=not any(fault.path.parent.name == "test" for fault in faults))
    files = [index.folder / file for split in index.splits.values() for file in split.files]
    order = {path: number for number, path in enumerate([*files, index.folder / SAMPLE_SUBMISSION])}
    return CheckResult(
        folder=index.folder,
        size=index.size,
        num_classes=len(index.class_names),
        counts={name: len(split) for name, split in index.splits.items()},
        num_bytes=sum(path.stat().st_size for path in files),
        seconds=time.perf_counter() - start,
        faults=tuple(sorted(faults + id_faults, key=lambda fault: (order.get(fault.path, -1), fault.record))),
        notes=(*notes, *filter(None, [missing_shards(files)])),
    )


def _image_faults(index: Index, *, progress: bool) -> list[RecordFault]:
    """Decode every JPEG, on all cores (simplejpeg works without the GIL), and return the faults."""
    places = [(split, row) for split in index.splits.values() for row in range(len(split))]
    maps = {split.name: FileMaps(index.folder, split.files) for split in index.splits.values()}

    def fault(place: tuple[Split, int]) -> RecordFault | None:
        split, row = place
        start = int(split.offset[row])
        jpeg = maps[split.name][int(split.file[row])][start : start + int(split.length[row])]
        path = index.folder / split.files[int(split.file[row])]
        if not (reason := _image_fault(index.size, jpeg)):
            return None
        remedy = image_remedy(path, jpeg, index.size)
        if remedy:
            reason += f"; {_features(maps[split.name][int(split.file[row])], int(split.start[row]))}"
        return RecordFault(path, int(split.start[row]), int(split.record[row]), reason, remedy)

    found = map_in_threads(fault, places, title="decode", unit=" images", progress=progress)
    faults = [each for each in found if each]
    return [fault for _, of_file in groupby(faults, key=lambda fault: fault.path) for fault in together(list(of_file))]


def _features(file: memoryview, offset: int) -> Features:
    """Return the features of the record that begins at `offset`."""
    (length,) = struct.unpack_from("<Q", file, offset)
    record = bytes(file[offset + 12 : offset + 12 + length])
    return features_of(record, read_features(record, 0, length))


def _image_fault(size: int, jpeg: memoryview) -> str | None:
    try:
        height, width, _ = decode_jpeg(jpeg).shape
    except ValueError as error:
        sides = size * size
        raw = ", but as many as the raw pixels have" if len(jpeg) in (sides, sides * 3, sides * 12) else ""
        return f"JPEG does not decode: {error}{raw}"
    return None if height == width == size else f"JPEG is {width}x{height} pixels instead of {size}x{size}"


def _id_faults(index: Index, *, complete: bool) -> tuple[list[RecordFault], list[str]]:
    """Compare the ids of test and of sample_submission.csv; return the faults, and notes on what could not be compared.

    Unless test is `complete`, an id that only the CSV has may be that of a record which can't be read.
    """
    path, test = index.folder / SAMPLE_SUBMISSION, index.splits.get("test")
    if test is None or not path.exists():
        return [], [f"{path if test else 'test split'} not found: test ids are not compared with those asked for"]
    faults: list[RecordFault] = []
    known, asked = set(test.id.tolist()), set[str]()
    for number, (offset, identity) in enumerate(_submission_ids(path)):
        if identity in asked:
            faults.append(RecordFault(path, offset, number, f"id {identity!r} is there twice"))
        elif complete and identity not in known:
            faults.append(RecordFault(path, offset, number, f"id {identity!r} is in no test record"))
        asked.add(identity)
    for i in np.flatnonzero([identity not in asked for identity in test.id.tolist()]):
        reason = f"id {str(test.id[i])!r} is not in {SAMPLE_SUBMISSION}"
        faults.append(
            RecordFault(index.folder / test.files[test.file[i]], int(test.start[i]), int(test.record[i]), reason)
        )
    note = f"test has faults: ids that only {SAMPLE_SUBMISSION} has are not counted among them"
    return faults, [] if complete else [note]


def _submission_ids(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each row's byte offset and id, without the header."""
    offset = 0
    for number, line in enumerate(read_bytes(path).splitlines(keepends=True)):
        if number and line.strip():
            text = line.decode(errors="replace")
            with contextlib.suppress(csv.Error):  # of a cell of over 128 KiB, say: it is in no test record as it is
                text = next(csv.reader([text]))[0]
            yield offset, text.strip()
        offset += len(line)
