"""`corolla audit`: what is wrong with a data folder that no checksum tells.

Duplicates, suspect labels, odd photos and class imbalance have a module each; here they are put into one table.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from corolla.audit.label_errors import LabelSuspect, Source, suspects_by_features, suspects_by_runs
from corolla.audit.outliers import FEW, Balance, Odd, balance, find_odd
from corolla.data.duplicates import Pair, find_pairs
from corolla.data.index import load_index
from corolla.data.survey import Survey, survey
from corolla.errors import UserError
from corolla.files import replacing

COLUMNS = (
    *("kind", "split", "id", "file", "record", "label", "name", "suggested_label", "suggested_name", "score"),
    *("partner_split", "partner", "note"),
)


@dataclass(frozen=True, eq=False)
class Audit:
    """What `audit` found; photos are named by their numbers in `photos`."""

    photos: Survey
    pairs: list[Pair]
    suspects: list[LabelSuspect]
    """The worst first."""
    source: Source
    """What the probabilities behind `suspects` come from."""
    odd: list[Odd]
    balance: Balance

    def table(self) -> pd.DataFrame:
        """A row a finding; `score` is the correlation of duplicates, the normalised margin of suspects, else empty."""
        rows = [self._pair_row(pair) for pair in self.pairs]
        rows += [self._suspect_row(suspect) for suspect in self.suspects]
        rows += [self._row("odd photo", odd.photo, note=", ".join(odd.reasons)) for odd in self.odd]
        rows += [
            {"kind": "rare class", "split": "train", "label": label, "name": self._name(label)}
            | {"note": f"{self.balance.counts['train'][label]} photos"}
            for label in self.balance.few
        ]
        frame = pd.DataFrame(rows, columns=list(COLUMNS))
        integers = ["record", "label", "suggested_label"]
        return frame.astype(dict.fromkeys(integers, "Int64"))

    def write_csv(self, path: Path) -> None:
        """`table()`, UTF-8, whole or not at all."""
        with replacing(path) as temporary:
            self.table().to_csv(temporary, index=False)

    def sentences(self) -> list[str]:
        """What was found and what it means, a sentence a line."""
        return [*self._about_pairs(), self._about_suspects(), *self._about_odd(), *self._about_balance()]

    def _about_pairs(self) -> list[str]:
        lines = []
        for exact, what in ((True, "exact"), (False, "near")):
            pairs = [pair for pair in self.pairs if (pair.kind != "near") == exact]
            across = [pair for pair in pairs if pair.across]
            line = f"{_count(len(pairs), 'pair')} of {what} duplicates"
            if across:
                line += f", {len(across)} of them across splits: scores on them are a little too kind"
            conflicts = sum(pair.conflict for pair in pairs)
            lines.append(line + (f"; {conflicts} with different labels" if conflicts else ""))
        return lines

    def _about_suspects(self) -> str:
        if not self.source.num_photos:
            return f"labels were not judged: {self.source.text}"
        share = len(self.suspects) / self.source.num_photos
        found = _count(len(self.suspects), "suspect label")
        return f"{found} ({share:.1%} of {self.source.num_photos}), by {self.source.text}"

    def _about_odd(self) -> list[str]:
        counts: dict[str, int] = {}
        for odd in self.odd:
            for reason in odd.reasons:
                counts[reason] = counts.get(reason, 0) + 1
        listed = ", ".join(f"{count} {reason}" for reason, count in counts.items())
        return [f"{_count(len(self.odd), 'odd photo')}" + (f": {listed}" if listed else "")]

    def _about_balance(self) -> list[str]:
        found = self.balance
        lines = [f"the largest class of train has {found.ratio:.1f} times as many photos as the smallest"]
        if found.few:
            lines[0] += f"; {_count(len(found.few), 'class', 'classes')} below {FEW}"
        if not math.isnan(found.divergence):
            alike = "much like" if found.divergence < 0.05 else "unlike"
            lines.append(f"val's classes are distributed {alike} train's (KL divergence {found.divergence:.3f} nats)")
        return lines

    def _name(self, label: int) -> str | None:
        names = self.photos.index.class_names
        return names[label] if 0 <= label < len(names) else None

    def _row(self, kind: str, photo: int, **more: Any) -> dict[str, Any]:
        file, record = self.photos.place(photo)
        label = int(self.photos.label[photo])
        where = {"split": str(self.photos.split[photo]), "id": self.photos.id(photo), "file": file, "record": record}
        named = {"label": label if label >= 0 else None, "name": self._name(label)}
        return {"kind": kind, **where, **named, **more}

    def _pair_row(self, pair: Pair) -> dict[str, Any]:
        marks = {"mirrored": pair.mirrored, "across splits": pair.across, "different labels": pair.conflict}
        return self._row(
            "near duplicate" if pair.kind == "near" else pair.kind,
            pair.first,
            score=pair.score,
            partner_split=str(self.photos.split[pair.second]),
            partner=self.photos.id(pair.second),
            note=", ".join([f"group {pair.group}", *(mark for mark, there in marks.items() if there)]),
        )

    def _suspect_row(self, suspect: LabelSuspect) -> dict[str, Any]:
        suggested = {"suggested_label": suspect.suggested, "suggested_name": self._name(suspect.suggested)}
        return self._row("suspect label", suspect.photo, score=suspect.margin, **suggested)


def audit(
    data: Path,
    *,
    size: int | None = None,
    cache_dir: Path | None = None,
    runs: Sequence[Path] = (),
    folds: int = 5,
    splits: Sequence[str] = ("train", "val", "test"),
    progress: bool = True,
) -> Audit:
    """Look for duplicates, suspect labels, odd photos and class imbalance.

    Labels are judged by confident learning on probabilities of models that did not learn them. Without `runs` those are
    a logistic regression and nearest neighbours over pretrained features, out of fold, for train and val; with `runs`
    the mean of what these runs predict for val, and val's labels alone.

    Args:
        folds: of the cross-validation.
        splits: whose photos are looked at.

    Raises:
        UserError: no data, a photo that does not decode, no such run, or fewer than 2 folds.
    """
    if folds < 2:
        raise UserError(f"--folds {folds}: must be at least 2, or nothing is out of fold")
    photos = survey(load_index(data, size, cache_dir), tuple(splits), progress=progress)
    pairs = find_pairs(photos)
    if runs:
        suspects, source = suspects_by_runs(photos, tuple(runs), cache_dir)
    else:
        suspects, source = suspects_by_features(photos, pairs, folds=folds, progress=progress)
    return Audit(photos, pairs, suspects, source, find_odd(photos), balance(photos))


def _count(number: int, singular: str, plural: str | None = None) -> str:
    return f"{number} {singular if number == 1 else plural or singular + 's'}"
