"""The photos of the report, small and inline, and the mistakes they show."""

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corolla.compare.recipes import Member
from corolla.compare.statistics import confident_mistakes, most_confident
from corolla.data.dataset import TFRecordDataset
from corolla.data.index import load_index
from corolla.errors import UserError
from corolla.evaluation.out_of_fold import all_photos
from corolla.plots.confusion import confused_pairs, confusion_matrix
from corolla.plots.html import jpeg_uri, photo_jpeg
from corolla.runs.corrections import trained_index
from corolla.runs.folder import data_of
from corolla.runs.folds import own_index

SIDE = 96  # pixels, at most
NUM_PAIRS = 8
NUM_EXAMPLES = 3
NUM_MISTAKES = 12


class Photos:
    """The photos that a comparison scored, as data URIs; none where the data folder is gone or holds others now."""

    def __init__(
        self, member: Member, split: str, *, data: Path | None, cache_dir: Path | None, size: int | None = None
    ) -> None:
        folder = data or data_of(member.run)
        self.why_not = ""
        self.num_train: dict[int, int] | None = None
        self._rows: dict[str, int] = {}
        try:
            index = load_index(folder, size or member.run.config.size, cache_dir)
            shown = all_photos(index) if split == "oof" else own_index(member.run, index, cache_dir)
            self._dataset = TFRecordDataset(shown, "val" if split == "oof" else split, bad_images="grey")
        except (UserError, OSError) as error:
            self.why_not = f"The photos are left out: {error}."
            return
        found = {str(name): row for row, name in enumerate(self._dataset.split.id)}
        labels = self._dataset.split.label
        wanted = zip(map(str, member.ids), member.labels, strict=True)
        if not all(name in found and labels[found[name]] == label for name, label in wanted):
            self.why_not = f"The photos are left out: {folder} holds other ones than the runs were scored on."
            return
        self._rows = found
        if "train" in index.splits and not member.is_imported:
            with contextlib.suppress(UserError):  # what it was corrected by is lost
                self.num_train = dict(Counter(trained_index(member.run, index).splits["train"].label.tolist()))

    def __bool__(self) -> bool:
        return not self.why_not

    def uri(self, name: str) -> str | None:
        """Return the photo with the id `name`; None where it is not there."""
        if name not in self._rows:
            return None
        return jpeg_uri(photo_jpeg(self._dataset.image(self._rows[name]), SIDE, quality=85))


@dataclass(frozen=True)
class PredictedPhoto:
    """One prediction, with its photo where there is one."""

    uri: str | None
    id: str
    true: str
    said: str
    confidence: float


@dataclass(frozen=True)
class Confusion:
    """Photos of one class taken for another."""

    true: str
    said: str
    count: int
    share: float
    """Fraction of the photos of the class `true`."""
    examples: tuple[PredictedPhoto, ...]
    right: PredictedPhoto | None
    """A photo of the class `said` that was classified correctly."""


def confusions(member: Member, names: Sequence[str], photos: Photos) -> list[Confusion]:
    """Return the most frequent mistakes of a run, each with its most confident examples."""
    counts = confusion_matrix(member.labels, member.predicted, len(names))
    found = []
    for true, said, count in confused_pairs(counts)[:NUM_PAIRS]:
        wrong = np.flatnonzero((member.labels == true) & (member.predicted == said))
        right = np.flatnonzero((member.labels == said) & (member.predicted == said))
        examples = _predicted(member, most_confident(member.probabilities, wrong)[:NUM_EXAMPLES], names, photos)
        models = _predicted(member, most_confident(member.probabilities, right)[:1], names, photos)
        share = count / int(counts[true].sum())
        found.append(Confusion(names[true], names[said], count, share, examples, models[0] if models else None))
    return found


def mistakes(member: Member, names: Sequence[str], photos: Photos) -> tuple[PredictedPhoto, ...]:
    """Return the most confident mistakes of a run."""
    rows = confident_mistakes(member.probabilities, member.labels)[:NUM_MISTAKES]
    return _predicted(member, rows, names, photos)


def _predicted(member: Member, rows: Sequence[int], names: Sequence[str], photos: Photos) -> tuple[PredictedPhoto, ...]:
    return tuple(
        PredictedPhoto(
            uri=photos.uri(str(member.ids[row])),
            id=str(member.ids[row]),
            true=names[int(member.labels[row])],
            said=names[int(member.predicted[row])],
            confidence=float(member.probabilities[row].max()),
        )
        for row in rows
    )
