"""The record of a study: what its tables and figures are made of, without the runs, in one small file.

It holds of each run its epochs and, for the photos of val, the class that it says, with each kind of views; so does a
vote of several. Photos are in the order of their ids, and their labels stand there once.
"""

import dataclasses
import json
import lzma
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corolla.errors import UserError
from corolla.files import write_atomically
from corolla.study.plan import MOST_FACTOR, digest
from corolla.text_files import Shape, parse_json, printable, read_bytes

FILE = "records.json.xz"
FORMAT = 1
REMEDY = "put a whole one in its place, or move it away: corolla study run makes one of the runs that are there"
MOST_CLASSES = 1_000_000
"""More than any data have."""
Labels = NDArray[np.int64]
_RUN: Shape = {
    "row": str,
    "seed": int,
    "settings": str,
    "key": str,
    "epochs": [{str: (float, None)}],
    "minutes": (float, None),
    "predicted": {str: [int]},
    "top5": {str: (float, None)},
    "data?": str,
}
_MEASURED: dict[str, Shape] = {
    "lesions": {
        **{
            "run": str,
            "seed?": int,
            "network": str,
            "kind": str,
            "block": (str, None),
            "k": (int, None),
            "tau": (float, None),
        },
        **{"draw": int, "macro_f1": float, "top1": float},
    },
    "gradients": {
        **{
            "run": str,
            "seed?": int,
            "network": str,
            "moment": str,
            "epoch": int,
            "depth": int,
            "layer": str,
            "kind": str,
        },
        **{"gradient_norm": (float, None), "weight_norm": (float, None)},
    },
}
_SHAPE: Shape = {
    "format": int,
    "study": str,
    "epochs_factor": float,
    "full?": bool,
    "photos": str,
    "classes": int,
    "labels": [int],
    "runs": [_RUN],
    "measured?": {name + "?": {"keys": [str], "rows": [row]} for name, row in _MEASURED.items()},
    "size?": (int, None),
}


@dataclass(frozen=True, eq=False)
class Record:
    """The outcome of a run, or of a vote."""

    row: str
    seed: int
    settings: str
    """SHA-256 of the settings that the study file gave it (`Planned.settings`), of a vote of those of its rows; empty
    of one that an earlier version has written."""
    key: str
    """SHA-256 of everything that decided it, its photos too (`Wanted.key`)."""
    epochs: list[dict[str, Any]]
    """The rows of metrics.jsonl; none of a vote."""
    minutes: float | None
    predicted: Mapping[str, Labels]
    """Class of each photo of val, by the views."""
    top5: Mapping[str, float | None] = field(default_factory=dict)
    """Top-5 accuracy, by the views; None of a vote."""
    data: str = ""
    """SHA-256 of the fingerprints of all its photos; empty of a vote, or where an earlier version wrote it."""


@dataclass(frozen=True)
class Measured:
    """A table that was measured of trained networks, such as their lesions."""

    keys: tuple[str, ...]
    """Keys of the runs, in the order of the table."""
    rows: list[dict[str, Any]]
    """Its rows, in which runs are called as the study's rows are, each with its seed."""


@dataclass(frozen=True, eq=False)
class Records:
    """All that is known of a study."""

    study: str
    epochs_factor: float
    photos: str
    """SHA-256 of the ids of the photos of val."""
    num_classes: int
    labels: Labels
    """Classes of the photos of val, in the order of their ids."""
    runs: tuple[Record, ...]
    full: bool = False
    """True where every run had its full size."""
    measured: Mapping[str, Measured] = field(default_factory=dict)
    """By what was measured: lesions, gradients."""
    size: int | None = None
    """Side of the photos on disk, for rows that do not say it; None: they all do, or an earlier version wrote it."""

    def save(self, path: Path) -> None:
        """Write the record, packed."""
        values = {
            "format": FORMAT,
            "study": self.study,
            "epochs_factor": self.epochs_factor,
            **({"full": True} if self.full else {}),
            "photos": self.photos,
            "classes": self.num_classes,
            "labels": self.labels.tolist(),
            "runs": [_plain(each) for each in self.runs],
            "measured": {
                name: {"keys": list(each.keys), "rows": [_short_row(row) for row in each.rows]}
                for name, each in self.measured.items()
            },
            "size": self.size,
        }
        text = json.dumps(values, separators=(",", ":"))
        write_atomically(path, lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))

    @staticmethod
    def load(path: Path) -> "Records":
        """Read a record.

        Raises:
            UserError: there is none, or it is damaged.
        """
        if not path.exists():
            raise UserError(f"{path}: there is no such record; corolla study run makes one")
        try:
            text = lzma.decompress(read_bytes(path)).decode()
        except (lzma.LZMAError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: not a readable record of a study ({error}); {REMEDY}") from None
        values = parse_json(text, _SHAPE, source=str(path), remedy=REMEDY)
        if values["format"] > FORMAT:
            raise UserError(f"{path}: is of format {values['format']}, which a later version of corolla writes")
        labels = np.array(values["labels"], np.int64)
        runs = tuple(_record(each) for each in values["runs"])
        if fault := _fault(values, labels, runs):
            raise UserError(f"{path}: {fault}; {REMEDY}")
        seeds = {run.key: run.seed for run in runs}
        return Records(
            study=values["study"],
            epochs_factor=float(values["epochs_factor"]),
            photos=values["photos"],
            num_classes=values["classes"],
            labels=labels,
            runs=runs,
            full=values.get("full", False),
            measured={
                name: Measured(tuple(each["keys"]), _with_seed(each["rows"], each["keys"], seeds))
                for name, each in values.get("measured", {}).items()
                if each["rows"]
            },
            size=values.get("size"),
        )


def _with_seed(rows: list[dict[str, Any]], keys: Sequence[str], seeds: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return the rows of what was measured with their seed; earlier versions measured one alone and don't say it."""
    first = next((seeds[key] for key in keys if key in seeds), min(seeds.values(), default=0))
    return [{"run": row["run"], "seed": first, **row} for row in rows]


def _fault(values: dict[str, Any], labels: Labels, runs: Sequence[Record]) -> str | None:
    """Return what in a record of the right shape can't be; None where nothing."""
    if values["format"] < 1:
        return f"format: {values['format']} is none"
    if not (math.isfinite(values["epochs_factor"]) and 0 < values["epochs_factor"] <= MOST_FACTOR):
        return f"epochs_factor: {values['epochs_factor']:g} is none"
    if other := [name for name in values.get("measured", {}) if name not in _MEASURED]:
        return f"measured: {printable(other[0])} is none of {' and '.join(_MEASURED)}"
    lesions = values.get("measured", {}).get("lesions", {}).get("rows", [])
    whole = {(row["run"], row.get("seed")) for row in lesions if row["kind"] == "whole"}
    if parts := [row["run"] for row in lesions if (row["run"], row.get("seed")) not in whole]:
        return f"measured.lesions: {printable(parts[0])} has no score of the whole network"
    if not len(labels):
        return "labels: there are no photos"
    if not 0 < values["classes"] <= MOST_CLASSES:
        return f"classes: {values['classes']} is no number of classes"
    places = [(run.row, run.seed) for run in runs]
    for run in runs:
        where = f"{printable(run.row)}, seed {run.seed}"
        if not 0 <= run.seed < 2**32:
            return f"{where}: is no seed"
        if places.count((run.row, run.seed)) > 1:
            return f"{where}: is there twice"
        if any(len(predicted) != len(labels) for predicted in run.predicted.values()):
            return f"{where}: has not one class for each of the photos"
    for classes in (labels, *(predicted for run in runs for predicted in run.predicted.values())):
        if classes.min() < 0 or classes.max() >= values["classes"]:
            return f"there is a photo of a class that is none of the {values['classes']}"
    return None


def settings_of_vote(settings: Sequence[str]) -> str:
    """Return what a vote has as its settings: a SHA-256 of those of the rows that vote, in their order."""
    return digest({str(number): each for number, each in enumerate(settings)})


def _plain(record: Record) -> dict[str, Any]:
    values = {each.name: getattr(record, each.name) for each in dataclasses.fields(record)}
    predicted = {views: labels.tolist() for views, labels in record.predicted.items()}
    epochs = [_short_row(row) for row in record.epochs]
    return values | {"predicted": predicted, "epochs": epochs, "top5": dict(record.top5)}


def _short_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _short(value) for key, value in row.items()}


def _short(value: Any) -> Any:
    """Return a number with the six digits that a figure can show."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _record(values: dict[str, Any]) -> Record:
    predicted = {views: np.array(labels, np.int64) for views, labels in values["predicted"].items()}
    known = {key: values[key] for key in (each.name for each in dataclasses.fields(Record)) if key in values}
    return Record(**{**known, "predicted": predicted})
