"""Faults with a known place: a copy of a data folder with near duplicates and wrong labels, to measure the audit by."""

import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import simplejpeg

from corolla.data.competition import SPLITS
from corolla.data.dataset import TFRecordDataset
from corolla.data.decode import Image, resize
from corolla.data.duplicates import find_pairs
from corolla.data.index import Index, load_index
from corolla.data.survey import survey
from corolla.data.tfrecord import encode_example, write_tfrecord
from corolla.errors import UserError

if TYPE_CHECKING:
    from corolla.audit.audit import Audit

COPY_QUALITY = 80  # of the copies' JPEGs; the competition's have 90 and more
KINDS = ("re-encoded", "brightened", "cropped", "mirrored", "cropped, darkened and mirrored")
Place = tuple[str, int]
"""Split and row in it."""


@dataclass(frozen=True)
class Planted:
    """What `plant` put into `folder`."""

    folder: Path
    size: int
    copies: dict[str, str]
    """The copy's id → the id of the photo it was made from."""
    wrong_labels: dict[str, int]
    """The photo's id → its right label."""


@dataclass(frozen=True)
class _Copy:
    source: Place
    split: str
    id: str
    image: Image


def plant(
    data: Path,
    out: Path,
    *,
    duplicates: int = 20,
    wrong_labels: int = 50,
    seed: int = 0,
    size: int | None = None,
    cache_dir: Path | None = None,
) -> Planted:
    """Write a copy of `data` to `out` in which `duplicates` photos stand twice and `wrong_labels` have another label.

    A copy is re-encoded (quality 80) and, in turn, brightened, cropped to 92-97 % of each side, mirrored, or all of
    that; every second one stands in another split. A wrong label is another class, drawn uniformly; photos with a copy
    keep theirs. What is drawn depends on `seed` and the data alone.

    Raises:
        UserError: no data, fewer labelled photos than faults, one class, or `out` holds something.
    """
    loaded = load_index(data, size, cache_dir)
    labelled = [(name, row) for name, split in loaded.splits.items() for row in np.flatnonzero(split.label >= 0)]
    if min(duplicates, wrong_labels) < 0 or len(labelled) < duplicates + wrong_labels:
        asked = f"{duplicates} copies and {wrong_labels} wrong labels"
        raise UserError(f"{data}: {len(labelled)} labelled photos are too few for {asked}; ask for fewer")
    if wrong_labels and len(loaded.class_names) < 2:
        raise UserError(f"{data}: wrong labels need two classes, classes.txt names one")
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty; choose another folder")
    rng = np.random.default_rng(seed)
    chosen = [
        (labelled[i][0], int(labelled[i][1])) for i in rng.permutation(len(labelled))[: duplicates + wrong_labels]
    ]
    copies = [_copy(loaded, place, number, rng) for number, place in enumerate(chosen[:duplicates])]
    wrong = {place: _other_label(loaded, place, rng) for place in chosen[duplicates:]}
    for name in loaded.splits:
        _write_split(loaded, name, out, [copy for copy in copies if copy.split == name], wrong)
    _write_tables(loaded, out, [copy for copy in copies if copy.split == "test"])
    right = {_id(loaded, place): int(loaded.splits[place[0]].label[place[1]]) for place in wrong}
    return Planted(out, loaded.size, {copy.id: _id(loaded, copy.source) for copy in copies}, right)


def alter(image: Image, kind: str, rng: np.random.Generator) -> Image:
    """The change that `kind` (one of KINDS) names, to an H x W x 3 photo; its shape stays."""
    height, width = image.shape[:2]
    if "crop" in kind:
        part = rng.uniform(0.92, 0.97)
        h, w = round(height * part), round(width * part)
        top, left = rng.integers(0, height - h, endpoint=True), rng.integers(0, width - w, endpoint=True)
        image = resize(np.ascontiguousarray(image[top : top + h, left : left + w]), width, height)
    if "bright" in kind or "dark" in kind:
        factor = rng.uniform(1.1, 1.25) if "bright" in kind else rng.uniform(0.75, 0.9)
        image = np.clip(image * factor, 0, 255).astype(np.uint8)
    return np.asarray(cv2.flip(image, 1), np.uint8) if "mirror" in kind else image


def _copy(index: Index, source: Place, number: int, rng: np.random.Generator) -> _Copy:
    split, row = source
    others = [name for name in index.splits if name != split]
    target = others[int(rng.integers(len(others)))] if others and number % 2 else split
    image = alter(TFRecordDataset(index, split).image(row), KINDS[number % len(KINDS)], rng)
    return _Copy(source, target, f"copy{number:05d}", image)


def _other_label(index: Index, place: Place, rng: np.random.Generator) -> int:
    label = int(index.splits[place[0]].label[place[1]])
    return (label + int(rng.integers(1, len(index.class_names)))) % len(index.class_names)


def _id(index: Index, place: Place) -> str:
    return str(index.splits[place[0]].id[place[1]])


def _write_split(index: Index, name: str, out: Path, copies: list[_Copy], wrong: dict[Place, int]) -> None:
    photos, split = TFRecordDataset(index, name), index.splits[name]
    folder = out / f"tfrecords-jpeg-{index.size}x{index.size}" / name
    folder.mkdir(parents=True)
    parts = np.array_split(np.random.default_rng(0).permutation(len(copies)), len(split.files))
    for number, part in enumerate(parts):

        def examples(rows: np.ndarray, part: np.ndarray = part) -> Iterator[bytes]:
            for row in rows.tolist():
                label = wrong.get((name, row), int(split.label[row]))
                known = None if label < 0 else label
                yield encode_example(image=bytes(photos.jpeg(row)), label=known, id=str(split.id[row]))
            for copy in (copies[i] for i in part):
                label = int(index.splits[copy.source[0]].label[copy.source[1]]) if name != "test" else None
                jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(copy.image), quality=COPY_QUALITY, colorspace="RGB")
                yield encode_example(image=jpeg, label=label, id=copy.id)

        rows = np.flatnonzero(split.file == number)
        file = f"{number:02d}-{index.size}x{index.size}-{len(rows) + len(part)}.tfrec"
        write_tfrecord(folder / file, examples(rows))


def _write_tables(index: Index, out: Path, copies: list[_Copy]) -> None:
    """classes.txt, and the tables of test with a line more for each copy that stands there."""
    for table in ("classes.txt", "sample_submission.csv", "test_labels.csv"):
        if (index.folder / table).exists():
            shutil.copyfile(index.folder / table, out / table)
    for copy in copies:
        label = int(index.splits[copy.source[0]].label[copy.source[1]])
        for table, value in (("sample_submission.csv", 0), ("test_labels.csv", label)):
            if (out / table).exists():
                with (out / table).open("a") as file:
                    file.write(f"{copy.id},{value}\n")


@dataclass(frozen=True)
class Score:
    """How well the audit finds one kind of planted fault; `precision` is NaN where it reported nothing."""

    kind: str
    planted: int
    found: int
    reported: int
    known: int = 0
    """Reported too, but left out of both: they stood in the data before anything was planted."""

    @property
    def recall(self) -> float:
        return self.found / self.planted if self.planted else float("nan")

    @property
    def precision(self) -> float:
        return self.found / self.reported if self.reported else float("nan")

    def __str__(self) -> str:
        text = f"{self.kind}: recall {self.recall:.3f} ({self.found} of {self.planted} planted), "
        text += f"precision {self.precision:.3f} ({self.found} of {self.reported} reported)"
        return text + (f"; {self.known} that the data itself has are not counted" if self.known else "")


def standing_pairs(data: Path, *, size: int | None = None, cache_dir: Path | None = None) -> set[frozenset[str]]:
    """The ids of the duplicates that a folder has before anything is planted."""
    photos = survey(load_index(data, size, cache_dir), SPLITS)
    return {frozenset((photos.id(pair.first), photos.id(pair.second))) for pair in find_pairs(photos)}


def recall_and_precision(
    audit: "Audit", planted: Planted, before: Collection[frozenset[str]] = frozenset()
) -> list[Score]:
    """Of the duplicates; of all suspect labels; and of the worst as many suspects as labels were planted.

    A pair counts as found where one of its photos was made from the other; whatever else is reported counts as wrong,
    but for the pairs in `before` (a copy stands for what it was made from): data have duplicates of their own. Suspects
    have no such allowance, as the planted labels change the model that judges them; wrong labels of the data's own,
    and flowers that are hard to tell apart, count as wrong.
    """
    found: set[str] = set()
    reported = known = 0
    for pair in audit.pairs:
        first, second = audit.photos.id(pair.first), audit.photos.id(pair.second)
        ways = ((first, second), (second, first))
        copy = next((name for name, other in ways if planted.copies.get(name) == other), None)
        if copy is not None:
            found.add(copy)
        elif frozenset(planted.copies.get(name, name) for name in (first, second)) in before:
            known += 1
            continue
        reported += 1
    duplicates = Score("duplicates", len(planted.copies), len(found), reported, known)
    ids = [audit.photos.id(suspect.photo) for suspect in audit.suspects]
    number = len(planted.wrong_labels)
    labels, worst = (
        Score(kind, number, sum(name in planted.wrong_labels for name in part), len(part))
        for kind, part in (("wrong labels", ids), (f"wrong labels, worst {number} suspects", ids[:number]))
    )
    return [duplicates, labels, worst]
