"""The scores of a study's rows, their differences, and the sentences that may be said, all from its record.

Scores are of the last epoch's weights on val. A difference has the interval and the test of `corolla compare`
(`two_level`: seeds and photos both count; of train top-1, whose photos no record has, seeds alone; a vote and a row
with a say in it are paired by their seeds), and p values are adjusted for the number of differences (Holm). Nothing
is claimed of rows of fewer than three seeds.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from corolla.compare.compare import Difference
from corolla.compare.convergence import own_course
from corolla.compare.formatting import p_value
from corolla.compare.statistics import NUM_RESAMPLES, holm, resample_weights, two_level, weighted_macro_f1
from corolla.evaluation.metrics import macro_f1
from corolla.study.file import Study, seen_by
from corolla.study.inside import LEAST_SEEDS, measured_sentences, num_seeds
from corolla.study.plan import StudyOptions, planned_run
from corolla.study.records import Measured, Record, Records, settings_of_vote
from corolla.text_files import shell_words

MACRO_F1, TRAIN_TOP1 = "macro F1", "train top-1"


@dataclass(frozen=True, eq=False)
class RowResult:
    """A row of the table with its runs, by rising seed; none where nothing was run."""

    name: str
    records: tuple[Record, ...]
    labels: NDArray[np.int64]
    weights: NDArray[np.float32]
    """Bootstrap samples of the photos: resamples x photos."""
    is_vote: bool = False
    _resampled: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def seeds(self) -> list[int]:
        return [record.seed for record in self.records]

    def scores(self, column: str, views: str) -> list[float]:
        """Return a score of each run that has it: macro_f1, top1 and top5 of `views`, the others of its epochs."""
        return [value for record in self.records if (value := self.score(record, column, views)) is not None]

    def score(self, record: Record, column: str, views: str) -> float | None:
        """Return a score of one run; None where it is unknown."""
        predicted = record.predicted[views]
        if column == "macro_f1":
            return macro_f1(self.labels, predicted)
        if column == "top1":
            return float(np.mean(self.labels == predicted))
        if column == "top5":
            return record.top5.get(views)
        if not record.epochs:
            return None
        if column in ("epochs_to_plateau", "lowest_loss"):
            _, reached, lowest = own_course(record.epochs)
            return reached if column == "epochs_to_plateau" else lowest
        return record.epochs[-1].get(column)

    def resampled(self, views: str) -> NDArray[np.float64]:
        """Return the mean macro F1 over seeds in each bootstrap sample."""
        if views not in self._resampled:  # differences and figures ask for the same
            each = [weighted_macro_f1(self.labels, record.predicted[views], self.weights) for record in self.records]
            self._resampled[views] = np.mean(each, axis=0)
        return self._resampled[views]


@dataclass(frozen=True, eq=False)
class StudyResults:
    """All rows of a study, and their differences with the first kind of views."""

    study: Study
    records: Records
    rows: tuple[RowResult, ...]
    """As the file has them, those that were not run too; votes last."""

    @property
    def differences(self) -> tuple[Difference, ...]:
        """The differences in macro F1 that the study asks for, each row before the one it is compared with.

        Those of the first row by other views come last.
        """
        return tuple(each for each in self._all_differences if each.score == MACRO_F1)

    @property
    def train_differences(self) -> tuple[Difference, ...]:
        """Those in train top-1, where the study asks for them, of rows of enough seeds."""
        return tuple(each for each in self._all_differences if each.score == TRAIN_TOP1)

    @cached_property
    def _all_differences(self) -> tuple[Difference, ...]:
        pairs = [(a, b) for a, b in _pairs(self.study, self.rows) if a.records and b.records]
        asked = [(a, b, MACRO_F1) for a, b in pairs]
        asked += [(a, b, TRAIN_TOP1) for a, b in pairs if self.study.compare_train and self._have_train_top1(a, b)]
        found = [self._difference(*each) for each in asked]
        if self.study.compare_views and self.rows[0].records:
            found += [self._difference_of_views(self.rows[0], views) for views in self.study.views[1:]]
        adjusted = holm([each.effect.p for each in found])
        return tuple(replace(each, p_adjusted=p) for each, p in zip(found, adjusted, strict=True))

    def _have_train_top1(self, *rows: RowResult) -> bool:
        """Return whether rows have a train top-1 of enough seeds, for an interval over them; a vote has none."""
        scores = [row.scores("train_top1", self.study.views[0]) for row in rows]
        varies = any(len({*each}) > 1 for each in scores)  # else the interval would have no width
        return varies and min(map(len, scores)) >= LEAST_SEEDS

    def _difference(self, a: RowResult, b: RowResult, score: str) -> Difference:
        """Return a difference of two rows; its p is not adjusted yet."""
        views, seeds = self.study.views[0], (len(a.records), len(b.records))
        if score == TRAIN_TOP1:
            effect = two_level(a.scores("train_top1", views), b.scores("train_top1", views), np.zeros(0))
        else:
            is_paired = a.seeds == b.seeds and (a.name in self._voters(b) or b.name in self._voters(a))
            resampled = a.resampled(views) - b.resampled(views)
            scores = a.scores("macro_f1", views), b.scores("macro_f1", views)
            effect = two_level(*scores, resampled, is_paired=is_paired)
        return Difference(a.name, b.name, effect, effect.p, seeds, score)

    def _difference_of_views(self, row: RowResult, views: str) -> Difference:
        """Return what other views than the first kind change in the score of the same networks."""
        first = self.study.views[0]
        resampled = row.resampled(views) - row.resampled(first)
        effect = two_level(row.scores("macro_f1", views), row.scores("macro_f1", first), resampled, is_paired=True)
        seeds = len(row.records)
        return Difference(seen_by(row.name, views), row.name, effect, effect.p, (seeds, seeds), MACRO_F1)

    def _voters(self, row: RowResult) -> tuple[str, ...]:
        """Return the rows whose networks a vote is made of; none of another row."""
        return next((vote.of for vote in self.study.votes if vote.name == row.name), ())

    @cached_property
    def measured(self) -> dict[str, Measured]:
        """Tables of lesions and gradients, of the runs that its rows have, in their order."""
        runs = [(row.name, record.seed) for row in self.rows for record in row.records]
        place = {run: number for number, run in enumerate(runs)}
        found = {
            name: Measured(
                each.keys,
                sorted(
                    (row for row in each.rows if (row["run"], row["seed"]) in place),
                    key=lambda row: place[row["run"], row["seed"]],
                ),
            )
            for name, each in self.records.measured.items()
        }
        return {name: each for name, each in found.items() if each.rows}

    @cached_property
    def unlearned(self) -> str:
        """Why nothing counts, as the first row has not learned what the study asks of it; empty where it has."""
        least, base = self.study.least_macro_f1, self.rows[0]
        if not least:
            return ""
        if not base.records:
            return f"{base.name}, which has to reach a macro F1 of {least:g}, was not run"
        reached = self._mean(base)
        return f"{base.name} has a macro F1 of {reached:.3f}, and {least:g} is asked of it" if reached < least else ""

    @property
    def sentences(self) -> list[str]:
        """A sentence for each difference, which claims no more than seeds, test and what was learned allow.

        Then one for each network that was measured.
        """
        said = [self._sentence(difference) for difference in self.differences]
        said += [self._sentence(difference) for difference in self.train_differences]
        return [*said, *itertools.chain(*measured_sentences(self.measured).values())]

    def _sentence(self, difference: Difference) -> str:
        """Return what may be said of a difference, and which of its rows have learned little."""
        said, poor = _sentence(difference, is_counted=not self.unlearned), self.poor_rows(difference)
        return f"{said} {poor} (macro F1 below {self.study.least_macro_f1:g})." if poor else said

    def poor_rows(self, difference: Difference) -> str:
        """Return which rows of a difference have learned little, in words; empty where none has."""
        least = self.study.least_macro_f1
        if self.unlearned or not least:
            return ""
        rows = [row for row in self.rows[1:] if row.name in (difference.first, difference.second)]
        poor = [row.name for row in rows if self._mean(row) < least]
        return f"{' and '.join(poor)} {'have' if poor[1:] else 'has'} learned little" if poor else ""

    @property
    def limits(self) -> str:
        """The study's sentence on what is not shown; empty at full size, of which it does not speak."""
        return "" if self.records.full else self.study.limits

    @property
    def command(self) -> str:
        """The command that makes them, with the length and the size of the record."""
        words = ["--full"] * self.records.full
        factor = self.records.epochs_factor
        words += ["--epochs-factor", f"{factor:g}"] if factor != 1 else []
        return f"{self.study.command} {shell_words(*words)}".rstrip()

    def _mean(self, row: RowResult) -> float:
        return float(np.mean(row.scores("macro_f1", self.study.views[0])))


def results_of(study: Study, records: Records) -> StudyResults:
    """Return the results of a study; records of settings that it has no longer count as not run.

    So do votes in which such a row, or another one, has a say.
    """
    options = StudyOptions(epochs_factor=records.epochs_factor, full=records.full and study.has_full)
    weights = resample_weights(len(records.labels), NUM_RESAMPLES, seed=0)
    rows: list[RowResult] = []
    seeds: dict[str, set[int]] = {}
    for name, of in [*((row.name, ()) for row in study.rows), *((vote.name, vote.of) for vote in study.votes)]:
        own = [record for record in records.runs if record.row == name and set(study.views) <= set(record.predicted)]
        own = [one for one in own if _is_current(study, one, of, options) and all(one.seed in seeds[row] for row in of)]
        own.sort(key=lambda record: record.seed)
        seeds[name] = {record.seed for record in own}
        rows.append(RowResult(name, tuple(own), records.labels, weights, bool(of)))
    return StudyResults(study, records, tuple(rows))


def _is_current(study: Study, record: Record, of: Sequence[str], options: StudyOptions) -> bool:
    """Return whether a run, or a vote of these rows, has the settings that the study gives it now."""
    names = of or (record.row,)
    settings = [planned_run(study, study.row(name), record.seed, options).settings for name in names]
    return record.settings in (("", settings_of_vote(settings)) if of else settings)


def _pairs(study: Study, rows: Sequence[RowResult]) -> list[tuple[RowResult, RowResult]]:
    """Return which rows are compared, each with the one it is held against."""
    if isinstance(study.compare, tuple):
        by_name = {row.name: row for row in rows}
        return [(by_name[first], by_name[second]) for first, second in study.compare]
    if study.compare == "all":
        return [(second, first) for place, first in enumerate(rows) for second in rows[place + 1 :]]
    if study.compare == "above":
        return [(row, above) for above, row in itertools.pairwise(rows)]
    return [(row, rows[0]) for row in rows[1:]]


def _sentence(difference: Difference, *, is_counted: bool) -> str:
    least = min(difference.num_seeds)
    if least >= LEAST_SEEDS and is_counted:
        return difference.sentence
    effect = difference.effect
    seeds = num_seeds(least)
    reason = seeds if is_counted else f"{seeds}, and the first row has hardly learned"
    return (
        f"{difference.first} against {difference.second}: {difference.score} {effect.value:+.3f} "
        f"(95 % from {effect.low:+.3f} to {effect.high:+.3f}, p {p_value(difference.p_adjusted)}); {reason}, no claim."
    )
