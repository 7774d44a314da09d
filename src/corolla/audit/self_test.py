"""Measure the audit by synthetic faults: near duplicates and wrong labels put into a copy of a data folder."""

import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from corolla.audit.audit import Audit, audit
from corolla.data.competition import SAMPLE_SUBMISSION, SPLITS
from corolla.data.dataset import TFRecordDataset
from corolla.data.decode import Image, resize
from corolla.data.duplicates import find_pairs
from corolla.data.index import Index, load_index
from corolla.data.survey import survey
from corolla.data.tfrecord import encode_example, write_tfrecord
from corolla.errors import UserError
from corolla.temporary import scratch_folder

COPY_QUALITY = 80  # the copies' JPEGs have it; the competition's have 90 and more
KINDS = ("re-encoded", "brightened", "cropped", "mirrored", "cropped, darkened and mirrored")
Place = tuple[str, int]
"""Split and row in it."""


@dataclass(frozen=True)
class Score:
    """The recall and precision of the audit on one kind of synthetic fault."""

    kind: str
    num_faults: int
    found: int
    reported: int
    existing: int = 0
    """Number of faults reported too, but left out of recall and precision: the data had them before."""

    @property
    def recall(self) -> float:
        """Fraction of the synthetic faults that the audit reported; NaN where there are none."""
        return self.found / self.num_faults if self.num_faults else float("nan")

    @property
    def precision(self) -> float:
        """Fraction of the reports that are synthetic faults; NaN where nothing was reported."""
        return self.found / self.reported if self.reported else float("nan")

    def __str__(self) -> str:
        text = f"{self.kind}: recall {self.recall:.3f} ({self.found} of {self.num_faults} synthetic), "
        text += f"precision {self.precision:.3f} ({self.found} of {self.reported} reported)"
        return text + (f"; {self.existing} that the data itself has are not counted" if self.existing else "")


@dataclass(frozen=True)
class SelfTest:
    """The audit of a copy with synthetic faults, and its scores on them."""

    audit: Audit
    scores: list[Score]


def self_test(data: Path, *, size: int | None = None, folds: int = 5, cache_dir: Path | None = None) -> SelfTest:
    """Audit a temporary copy of `data` into which 20 duplicates and 50 wrong labels are put.

    Raises:
        UserError: no data, or fewer labelled photos than faults.
    """
    with scratch_folder("audit") as temporary:
        faults = plant_faults(data, temporary / "data", size=size, cache_dir=cache_dir)
        found = audit(faults.folder, cache_dir=temporary / "index", folds=folds)
        existing = existing_duplicates(data, size=size, cache_dir=cache_dir)
        return SelfTest(found, recall_and_precision(found, faults, existing))


@dataclass(frozen=True)
class SyntheticFaults:
    """The faults that `plant_faults` put into `folder`."""

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


def plant_faults(
    data: Path,
    out: Path,
    *,
    duplicates: int = 20,
    wrong_labels: int = 50,
    seed: int = 0,
    size: int | None = None,
    cache_dir: Path | None = None,
) -> SyntheticFaults:
    """Write a copy of `data` to `out` in which `duplicates` photos stand twice and `wrong_labels` have another label.

    A copy is re-encoded (quality 80) and, in turn, brightened, cropped to 92-97 % of each side, mirrored, or all of
    that; every second one stands in another split. A wrong label is another class, drawn uniformly; photos with a copy
    keep theirs. All draws depend on `seed` and the data alone.

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
    return SyntheticFaults(out, loaded.size, {copy.id: _id(loaded, copy.source) for copy in copies}, right)


def alter(image: Image, kind: str, rng: np.random.Generator) -> Image:
    """Return an H x W x 3 photo changed as `kind` (one of KINDS) says; its shape stays."""
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
    """Write classes.txt, and the tables of test with a line more for each copy that is in test."""
    for table in ("classes.txt", SAMPLE_SUBMISSION, "test_labels.csv"):
        if (index.folder / table).exists():
            shutil.copyfile(index.folder / table, out / table)
    for copy in copies:
        label = int(index.splits[copy.source[0]].label[copy.source[1]])
        for table, value in ((SAMPLE_SUBMISSION, 0), ("test_labels.csv", label)):
            if (out / table).exists():
                with (out / table).open("a") as file:
                    file.write(f"{copy.id},{value}\n")


def existing_duplicates(data: Path, *, size: int | None = None, cache_dir: Path | None = None) -> set[frozenset[str]]:
    """Return the pairs of ids of the duplicates that a folder has before faults are put into it."""
    photos = survey(load_index(data, size, cache_dir), SPLITS)
    return {frozenset((photos.id(pair.first), photos.id(pair.second))) for pair in find_pairs(photos)}


def recall_and_precision(
    found: Audit, faults: SyntheticFaults, existing: Collection[frozenset[str]] = frozenset()
) -> list[Score]:
    """Score the duplicates; all label issues; and the worst label issues, as many as there are wrong labels.

    A pair counts as found where one of its photos was made from the other; whatever else is reported counts as wrong,
    but for the pairs in `existing` (a copy counts as the photo it was made from): data have duplicates of their own.
    Label issues have no such allowance, as the wrong labels change the model that judges them; wrong labels of the
    data's own, and flowers that are hard to tell apart, count as wrong.
    """
    ids = [found.photos.id(issue.photo) for issue in found.label_issues]
    number = len(faults.wrong_labels)
    labels, worst = (
        Score(kind, number, sum(name in faults.wrong_labels for name in part), len(part))
        for kind, part in (("wrong labels", ids), (f"wrong labels, worst {number} issues", ids[:number]))
    )
    return [_score_of_duplicates(found, faults, existing), labels, worst]


def _score_of_duplicates(found: Audit, faults: SyntheticFaults, existing: Collection[frozenset[str]]) -> Score:
    copies: set[str] = set()
    reported = num_existing = 0
    for pair in found.pairs:
        first, second = found.photos.id(pair.first), found.photos.id(pair.second)
        ways = ((first, second), (second, first))
        copy = next((name for name, other in ways if faults.copies.get(name) == other), None)
        if copy is not None:
            copies.add(copy)
        elif frozenset(faults.copies.get(name, name) for name in (first, second)) in existing:
            num_existing += 1
            continue
        reported += 1
    return Score("duplicates", len(faults.copies), len(copies), reported, num_existing)
