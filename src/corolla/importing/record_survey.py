"""One pass over TFRecord files of others: what each record tells, where its photo lies, and what is at fault."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from corolla.data.feature_names import Features, features_of, shown
from corolla.data.features import read_features
from corolla.data.protobuf import Buffer
from corolla.data.tfrecord import Record, RecordFault, instead_of_example, read_records
from corolla.errors import UserError
from corolla.importing.feature_spec import Columns, choose
from corolla.importing.record_sources import RecordFile, open_records
from corolla.importing.record_values import (
    HEAD,
    Label,
    Shape,
    is_file,
    read_image,
    read_label,
    read_shape,
    read_text,
    square,
)
from corolla.parallel import hidden

LOOKED_AT = 32  # records of a file, for the features that it has


class Row(NamedTuple):
    """A record that can be read: the place of its photo in the plain file, and what else it tells."""

    number: int
    start: int
    length: int
    label: Label | None
    text: str | None
    """The name of the class, beside its number."""
    id: str | None
    shape: Shape | None
    """The size of raw pixels, where it is told."""
    is_file: bool
    """True where the photo begins as a file does, so it is no raw pixels."""


@dataclass
class Survey:
    """The content of each file that can be read."""

    rows: dict[RecordFile, list[Row]] = field(default_factory=dict)
    plain: dict[RecordFile, Path] = field(default_factory=dict)
    """The file itself, or the one it was unpacked to."""
    features: dict[RecordFile, Features] = field(default_factory=dict)
    columns: dict[RecordFile, Columns] = field(default_factory=dict)
    squares: dict[RecordFile, Shape] = field(default_factory=dict)
    """The size of raw pixels for which no feature tells it, in files where they have one."""
    faults: list[RecordFault] = field(default_factory=list)
    """One for a file, at the first record that is at fault."""


def survey(files: Sequence[RecordFile], named: Mapping[str, bytes], unpacked: Path, *, progress: bool) -> Survey:
    """Read every byte of the files.

    Raises:
        UserError: a named feature is in no file, or a file's photo or class can't be told by the features' names.
    """
    result = Survey()
    doubts: list[str] = []
    for file in tqdm(files, desc="read", unit=" files", leave=False, disable=hidden(progress)):
        faults: list[RecordFault] = []
        try:
            result.plain[file], buffer = open_records(file.path, unpacked)
            result.features[file] = features = _features(file, buffer)
            try:
                columns = choose(features, named) if features.kinds else Columns(b"image", None, None, None)
            except ValueError as error:
                doubts.append(f"{file.path}: {error}")
                continue
            result.columns[file] = columns
            result.rows[file] = rows = []
            for record in read_records(file.path, buffer):
                try:
                    rows.append(_row(record, buffer, columns, own_id="id" in named))
                except ValueError as error:
                    faults.append(RecordFault(file.path, record.offset, record.number, str(error)))
        except RecordFault as fault:  # without the command that converts the file, which is this one
            faults.append(RecordFault(fault.path, fault.offset, fault.record, fault.reason))
        result.faults += _first(faults)
        untold = {row.length for row in result.rows.get(file, []) if not row.is_file and row.shape is None}
        if shape := square(untold):
            result.squares[file] = shape
    _refuse_unknown(result, named)
    if doubts:
        more = f" (so in {len(doubts) - 1} more files)" if len(doubts) > 1 else ""
        raise UserError(doubts[0] + more)
    return result


def _row(record: Record, buffer: Buffer, columns: Columns, *, own_id: bool) -> Row:
    """Return what a record tells; a text or an id that was not asked for may be of any kind."""
    if not record.intact:
        raise ValueError("data CRC differs")
    try:
        values = read_features(buffer, record.start, record.end)
    except ValueError as error:
        kind = instead_of_example(buffer, record.start, record.end) or "no tf.train.Example"
        raise ValueError(f"the record is {kind} ({error}): write one with the features image and class") from None
    start, end = read_image(buffer, values, columns.image)
    label = read_label(buffer, values, columns.label)
    text = id = None
    with contextlib.suppress(ValueError):
        text = read_text(buffer, values, columns.text) if label else None
    with contextlib.suppress(*() if own_id else (ValueError,)):
        id = read_text(buffer, values, columns.id)
    shape, begins_as_file = read_shape(buffer, values), is_file(buffer[start : min(end, start + HEAD)])
    return Row(record.number, start, end - start, label, text, id, shape, begins_as_file)


def _features(file: RecordFile, buffer: Buffer) -> Features:
    """Return the features that the first records of a file have."""
    kinds: dict[bytes, int | None] = {}
    pictures: dict[bytes, None] = {}
    with contextlib.suppress(RecordFault):  # told when all records are read
        for record in islice(filter(lambda record: record.intact, read_records(file.path, buffer)), LOOKED_AT):
            try:
                found = features_of(buffer, read_features(buffer, record.start, record.end))
            except ValueError:  # told then, too
                continue
            kinds |= {name: kinds.get(name) or kind for name, kind in found.kinds.items()}
            pictures |= dict.fromkeys(found.pictures)
    return Features(kinds, tuple(pictures))


def _first(faults: list[RecordFault]) -> list[RecordFault]:
    """Return one fault in place of all those of a file."""
    if len(faults) < 2:
        return faults
    first = faults[0]
    more = f" (and {len(faults) - 1} more records of the file are at fault, to {faults[-1].record})"
    return [RecordFault(first.path, first.offset, first.record, first.reason + more, first.remedy)]


def _refuse_unknown(result: Survey, named: Mapping[str, bytes]) -> None:
    for key, name in named.items():
        if result.features and not any(name in features.kinds for features in result.features.values()):
            file, features = next(iter(result.features.items()))
            raise UserError(f"--features {key}={shown(name)}: there is no such feature in {file.path}; {features}")
