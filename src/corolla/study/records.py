"""The record of a study: what its tables and figures are made of, without the runs, in one small file.

It holds of each run its epochs and, for the photos of val, the class that it says, with each kind of views; so does a
vote of several. Photos are in the order of their ids, and their labels stand there once.
"""

import dataclasses
import json
import lzma
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corolla.errors import UserError
from corolla.files import write_atomically
from corolla.text_files import Shape, parse_json

FILE = "records.json.xz"
FORMAT = 1
Labels = NDArray[np.int64]
_RUN: Shape = {
    "row": str,
    "seed": int,
    "settings": str,
    "key": str,
    "epochs": [{"epoch": int}],
    "minutes": (float, None),
    "predicted": {str: [int]},
    "top5": {str: (float, None)},
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
    "measured?": {str: {"keys": [str], "rows": [{str: object}]}},
}


@dataclass(frozen=True, eq=False)
class Record:
    """The outcome of a run, or of a vote."""

    row: str
    seed: int
    settings: str
    """SHA-256 of the settings that the study file gave it (`Planned.settings`)."""
    key: str
    """SHA-256 of everything that decided it, its photos too (`Wanted.key`)."""
    epochs: list[dict[str, Any]]
    """The rows of metrics.jsonl; none of a vote."""
    minutes: float | None
    predicted: Mapping[str, Labels]
    """Class of each photo of val, by the views."""
    top5: Mapping[str, float | None] = field(default_factory=dict)
    """Top-5 accuracy, by the views; None of a vote."""


@dataclass(frozen=True)
class Measured:
    """A table that was measured of trained networks, such as their lesions."""

    keys: tuple[str, ...]
    """Keys of the runs, in the order of the table."""
    rows: list[dict[str, Any]]
    """Its rows, in which runs are called as the study's rows are."""


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
        }
        text = json.dumps(values, separators=(",", ":"))
        write_atomically(path, lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))

    @staticmethod
    def load(path: Path) -> "Records":
        """Read a record.

        Raises:
            UserError: there is none, or it is damaged.
        """
        try:
            text = lzma.decompress(path.read_bytes()).decode()
        except FileNotFoundError:
            raise UserError(f"{path}: there is no such record; corolla study run makes one") from None
        except (lzma.LZMAError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: not a readable record of a study ({error})") from None
        values = parse_json(text, _SHAPE, source=str(path))
        if values["format"] != FORMAT:
            raise UserError(f"{path}: is of format {values['format']}, which a later version of corolla writes")
        labels = np.array(values["labels"], np.int64)
        runs = tuple(_record(each) for each in values["runs"])
        for run in runs:
            if any(len(predicted) != len(labels) for predicted in run.predicted.values()):
                raise UserError(f"{path}: {run.row}, seed {run.seed}: has not one class for each of the photos")
        return Records(
            study=values["study"],
            epochs_factor=float(values["epochs_factor"]),
            photos=values["photos"],
            num_classes=values["classes"],
            labels=labels,
            runs=runs,
            full=values.get("full", False),
            measured={
                name: Measured(tuple(each["keys"]), each["rows"]) for name, each in values.get("measured", {}).items()
            },
        )


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
    return Record(**{**{key: values[key] for key in _RUN}, "predicted": predicted})
