"""`corolla audit`: find the faults of a data folder that no checksum tells, and put them into one table.

Duplicates (data/duplicates.py), likely label errors, outliers and class imbalance are found in modules of their own.
"""

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from corolla.audit.label_errors import LabelIssue, Source, issues_by_features, issues_by_runs
from corolla.audit.outliers import FEW, ClassBalance, Outlier, class_balance, find_outliers
from corolla.data.competition import SPLITS
from corolla.data.corrections import ACTION, check_not_filled
from corolla.data.duplicates import Pair, find_pairs
from corolla.data.index import load_index
from corolla.data.survey import Survey, survey
from corolla.errors import UserError
from corolla.files import replacing
from corolla.paths import AnyPath, AnyPaths, as_path, as_paths
from corolla.results import Result
from corolla.text_files import read_bytes

COLUMNS = (
    *("kind", "split", "id", "path", "file", "record", "label", "name", "suggested_label", "suggested_name", "score"),
    *("partner_split", "partner", "partner_path", "note"),
)


@dataclass(frozen=True, eq=False, repr=False)
class Audit(Result):
    """Everything that `audit` found; photos are named by their numbers in `photos`."""

    photos: Survey
    pairs: list[Pair]
    label_issues: list[LabelIssue]
    """Likely label errors, the worst first."""
    source: Source
    """Origin of the probabilities behind `label_issues`."""
    outliers: list[Outlier]
    balance: ClassBalance
    paths: Mapping[str, str] = field(default_factory=dict)
    """Id → path of the photo that was imported; empty where the data were not made by `corolla import`."""

    @property
    def summary(self) -> str:
        """The findings, a few words each."""
        return "; ".join(self.sentences())

    def to_pandas(self) -> pd.DataFrame:
        """Return `table()`."""
        return self.table()

    def table(self) -> pd.DataFrame:
        """Return a row for each finding.

        `score` is the correlation of duplicates and the normalised margin of label issues; else it is empty. `path`
        is that of an imported photo, from the folder that was imported.
        """
        rows = [self._pair_row(pair) for pair in self.pairs]
        rows += [self._label_row(issue) for issue in self.label_issues]
        rows += [self._row("odd photo", one.photo, note=", ".join(one.reasons)) for one in self.outliers]
        rows += [
            {"kind": "rare class", "split": "train", "label": label, "name": self._name(label)}
            | {"note": f"{self.balance.counts['train'][label]} photos"}
            for label in self.balance.few
        ]
        frame = pd.DataFrame(rows, columns=list(COLUMNS))
        integers = ["record", "label", "suggested_label"]
        return frame.astype(dict.fromkeys(integers, "Int64"))

    def write_csv(self, path: AnyPath) -> None:
        """Write `table()` and an empty column `action` in UTF-8, whole or not at all.

        Raises:
            UserError: the file is there, and a person has filled that column.
        """
        check_not_filled(as_path(path))
        with replacing(as_path(path)) as temporary:
            self.table().assign(**{ACTION: ""}).to_csv(temporary, index=False, errors="surrogateescape")

    def sentences(self) -> list[str]:
        """Return the findings and what they mean, a sentence each."""
        return [*self._about_pairs(), self._about_labels(), self._about_outliers(), *self._about_balance()]

    def _about_pairs(self) -> list[str]:
        lines = []
        for exact, name in ((True, "exact"), (False, "near")):
            pairs = [pair for pair in self.pairs if (pair.kind != "near") == exact]
            across = [pair for pair in pairs if pair.cross_split]
            line = f"{_count(len(pairs), 'pair')} of {name} duplicates"
            if across:
                line += f", {len(across)} of them across splits: scores on them are a little optimistic"
            conflicts = sum(pair.label_conflict for pair in pairs)
            lines.append(line + (f"; {conflicts} with different labels" if conflicts else ""))
        return lines

    def _about_labels(self) -> str:
        if not self.source.num_photos:
            return f"labels were not judged: {self.source.text}"
        fraction = len(self.label_issues) / self.source.num_photos
        found = _count(len(self.label_issues), "likely label error")
        return f"{found} ({fraction:.1%} of {self.source.num_photos}), by {self.source.text}"

    def _about_outliers(self) -> str:
        counts = Counter(reason for one in self.outliers for reason in one.reasons)
        listed = ", ".join(f"{count} {reason}" for reason, count in counts.items())
        return f"{_count(len(self.outliers), 'outlier')}" + (f": {listed}" if listed else "")

    def _about_balance(self) -> list[str]:
        found = self.balance
        if "train" not in found.counts:
            return ["the balance of the classes was not judged: there is no photo of train with a label"]
        lines = [f"the largest class of train has {found.ratio:.1f} times as many photos as the smallest"]
        if empty := int((found.counts["train"] == 0).sum()):
            lines[0] += f" but {_count(empty, 'class', 'classes')} without any"
        if found.few:
            lines[0] += f"; {_count(len(found.few), 'class', 'classes')} below {FEW}"
        if not math.isnan(found.divergence):
            alike = "much like" if found.divergence < 0.05 else "unlike"
            lines.append(f"val's classes are distributed {alike} train's (KL divergence {found.divergence:.3f} nats)")
        return lines

    def _name(self, label: int) -> str | None:
        names = self.photos.index.class_names
        return names[label] if 0 <= label < len(names) else None

    def path(self, photo: int) -> str | None:
        """Return the path of the photo that was imported; None where it is not known."""
        return self.paths.get(self.photos.id(photo))

    def _row(self, kind: str, photo: int, **more: Any) -> dict[str, Any]:
        file, record = self.photos.place(photo)
        label = int(self.photos.label[photo])
        where = {"split": str(self.photos.split[photo]), "id": self.photos.id(photo), "path": self.path(photo)}
        where |= {"file": file, "record": record}
        named = {"label": label if label >= 0 else None, "name": self._name(label)}
        return {"kind": kind, **where, **named, **more}

    def _pair_row(self, pair: Pair) -> dict[str, Any]:
        marks = {"mirrored": pair.mirrored, "across splits": pair.cross_split, "different labels": pair.label_conflict}
        return self._row(
            "near duplicate" if pair.kind == "near" else pair.kind,
            pair.first,
            score=pair.score,
            partner_split=str(self.photos.split[pair.second]),
            partner=self.photos.id(pair.second),
            partner_path=self.path(pair.second),
            note=", ".join([f"group {pair.group}", *(mark for mark, there in marks.items() if there)]),
        )

    def _label_row(self, issue: LabelIssue) -> dict[str, Any]:
        suggested = {"suggested_label": issue.suggested, "suggested_name": self._name(issue.suggested)}
        return self._row("suspect label", issue.photo, score=issue.margin, **suggested)


def audit(
    data: AnyPath,
    *,
    size: int | None = None,
    cache_dir: AnyPath | None = None,
    runs: AnyPaths = (),
    folds: int = 5,
    splits: str | Sequence[str] = SPLITS,
    progress: bool = True,
) -> Audit:
    """Find duplicates, likely label errors, outliers and class imbalance.

    Labels are judged by confident learning on probabilities of models that did not learn them. Without `runs` those are
    a logistic regression and nearest neighbours over pretrained features, out of fold, for train and val; with `runs`
    the mean of what these runs predict for val, and val's labels alone.

    Args:
        folds: number of parts of the cross-validation.
        splits: the splits whose photos are looked at.

    Raises:
        UserError: no data, a photo that does not decode, no such run, no such split, or fewer than 2 folds.
    """
    if folds < 2:
        raise UserError(f"--folds {folds}: must be at least 2, or nothing is out of fold")
    cache_dir, folders = as_path(cache_dir), as_paths(runs)
    names = (splits,) if isinstance(splits, str) else tuple(splits)
    if not names or not set(names) <= set(SPLITS):
        raise UserError(f"splits {', '.join(names) or 'none'}: must be some of {', '.join(SPLITS)}")
    index = load_index(as_path(data), size, cache_dir)
    paths = imported_paths(index.folder)
    photos = survey(index, names, progress=progress)
    pairs = find_pairs(photos)
    if folders:
        issues, source = issues_by_runs(photos, tuple(folders), cache_dir)
    else:
        issues, source = issues_by_features(photos, pairs, folds=folds, progress=progress)
    return Audit(photos, pairs, issues, source, find_outliers(photos), class_balance(photos), paths)


def imported_paths(folder: Path) -> dict[str, str]:
    """Return id → path of each photo by the photos.csv that `corolla import` leaves in a data folder; {} without one.

    Raises:
        UserError: the file is damaged.
    """
    table = folder / "photos.csv"
    if not table.is_file():
        return {}
    # A name that is no UTF-8 is kept as its bytes, as os.fsdecode has it.
    text = io.StringIO(read_bytes(table).decode("utf-8", "surrogateescape"), newline="")
    rows = csv.DictReader(text, strict=True)
    try:
        if not {"id", "path"} <= set(rows.fieldnames or ()):
            return {}
        return {row["id"]: row["path"] for row in rows if row["path"] is not None}
    except csv.Error as error:
        raise UserError(f"{table}: no CSV ({error}); move it away, and paths are left out") from None


def _count(number: int, singular: str, plural: str | None = None) -> str:
    return f"{number} {singular if number == 1 else plural or singular + 's'}"
