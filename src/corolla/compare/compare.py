"""`corolla compare`: runs against each other on the same val images, and what may be said about their recipes.

Runs that differ in nothing but the seed are one recipe. Scores are of the last epoch's weights; the best
epoch's stand beside them and are marked, because they were chosen on the very images they are scored on.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corolla.compare.recipes import Member, Recipe, distinct_names, distinct_runs, group_recipes, make_member
from corolla.compare.statistics import NUM_RESAMPLES, Effect, holm, interval, mcnemar, resample_weights, two_level
from corolla.data.transforms.tta import TTA
from corolla.errors import UserError
from corolla.evaluation.predict import predict
from corolla.runs.folder import CheckpointName

ALPHA = 0.05


@dataclass(frozen=True)
class Difference:
    """Of two recipes."""

    first: str
    second: str
    effect: Effect
    """First minus second, in macro F1."""
    p_adjusted: float
    """For the number of pairs (Holm)."""
    num_seeds: tuple[int, int]

    @property
    def shown(self) -> bool:
        return self.p_adjusted < ALPHA

    @property
    def sentence(self) -> str:
        """What may be said."""
        better, worse, sign = (self.first, self.second, 1) if self.effect.value >= 0 else (self.second, self.first, -1)
        low, high = sorted((sign * self.effect.low, sign * self.effect.high))
        size = f"macro F1 {sign * self.effect.value:+.3f} (95 % from {low:+.3f} to {high:+.3f}, {_p(self.p_adjusted)})"
        one = max(self.num_seeds) == 1
        if not self.shown:
            return f"No difference shown between {better} and {worse}: {size}."
        caution = (
            " One seed each: this is about these two networks; train 3 seeds or more of each before you say it of "
            "their recipes."
        )
        return f"{better} is better than {worse}: {size}.{caution if one else ''}"


@dataclass(frozen=True)
class Pair:
    """Two runs on the same images."""

    first: str
    second: str
    accuracy: float
    """First minus second."""
    mcnemar_p: float
    macro_f1: float
    low: float
    high: float
    """95 % interval of the paired bootstrap of the difference in macro F1."""
    bootstrap_p: float
    mcnemar_p_adjusted: float
    bootstrap_p_adjusted: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """All that was found."""

    split: str
    tta: str
    checkpoint: str
    recipes: tuple[Recipe, ...]
    """By falling mean macro F1."""
    differences: tuple[Difference, ...]
    pairs: tuple[Pair, ...]
    class_names: tuple[str, ...]

    @property
    def members(self) -> list[Member]:
        return [member for recipe in self.recipes for member in recipe.members]

    @property
    def verdict(self) -> list[str]:
        """A sentence per pair of recipes (of one alone, that there is nothing to be told apart), then what to mind."""
        return [*self._sentences, *(caution for recipe in self.recipes for caution in recipe.cautions)]

    @property
    def _sentences(self) -> list[str]:
        if self.differences:
            return [difference.sentence for difference in self.differences]
        (recipe,) = self.recipes
        if recipe.sd is None:
            return [f"{recipe.name} alone: macro F1 {recipe.mean:.3f}; name a second run to compare it with."]
        return [
            f"No difference shown: these are {len(recipe.members)} seeds of one recipe, {recipe.name}, with macro F1 "
            f"{recipe.mean:.3f} ± {recipe.sd:.3f}; what differs between them is chance."
        ]


def compare(
    folders: Sequence[Path],
    *,
    tta: TTA = "none",
    checkpoint: CheckpointName = "last",
    data: Path | None = None,
    num_resamples: int = NUM_RESAMPLES,
    device: str = "auto",
    workers: int | None = None,
    cache_dir: Path | None = None,
) -> Comparison:
    """Score runs on val, the same images for all, and test what differs; val is predicted where it was not yet.

    Args:
        data: the data folder; default: the one that each run was trained with.

    Raises:
        UserError: a run has no epoch to its end, or another val set than the first.
    """
    if not folders:
        raise UserError("name at least one run's folder, or an experiment whose runs are in the runs folder")
    runs = distinct_runs(folders)
    how: dict[str, Any] = {"tta": tta, "checkpoint": checkpoint, "data": data, "cache_dir": cache_dir}
    results = [predict(run.folder, split="val", device=device, workers=workers, **how) for run in runs]
    predictions = [result.predictions for result in results]
    weights = resample_weights(len(predictions[0].ids), num_resamples, seed=0)
    first = (runs[0], predictions[0])
    named = zip(runs, distinct_names(runs), predictions, strict=True)
    recipes = group_recipes([make_member(*each, first, weights) for each in named])
    return Comparison(
        split="val",
        tta=tta,
        checkpoint=checkpoint,
        recipes=recipes,
        differences=_differences(recipes),
        pairs=_pairs([member for recipe in recipes for member in recipe.members]),
        class_names=results[0].class_names,
    )


def _differences(recipes: Sequence[Recipe]) -> tuple[Difference, ...]:
    pairs = list(itertools.combinations(recipes, 2))
    effects = [two_level(a.macro_f1, b.macro_f1, a.resampled - b.resampled) for a, b in pairs]
    return tuple(
        Difference(a.name, b.name, effect, p, (len(a.members), len(b.members)))
        for (a, b), effect, p in zip(pairs, effects, holm([effect.p for effect in effects]), strict=True)
    )


def _pairs(members: Sequence[Member]) -> tuple[Pair, ...]:
    pairs = list(itertools.combinations(members, 2))
    correct = {member.name: member.predicted == member.labels for member in members}
    by_accuracy = [mcnemar(correct[a.name], correct[b.name]) for a, b in pairs]
    differences = [a.resampled - b.resampled for a, b in pairs]
    observed = [a.scores.macro_f1 - b.scores.macro_f1 for a, b in pairs]
    by_f1 = [bootstrap_p(values - values.mean() + seen) for values, seen in zip(differences, observed, strict=True)]
    adjusted = zip(holm(by_accuracy), holm(by_f1), strict=True)
    return tuple(
        Pair(
            first=a.name,
            second=b.name,
            accuracy=float(correct[a.name].mean() - correct[b.name].mean()),
            mcnemar_p=p,
            macro_f1=a.scores.macro_f1 - b.scores.macro_f1,
            low=interval(a.scores.macro_f1 - b.scores.macro_f1, difference)[0],
            high=interval(a.scores.macro_f1 - b.scores.macro_f1, difference)[1],
            bootstrap_p=bp,
            mcnemar_p_adjusted=p_adjusted,
            bootstrap_p_adjusted=bp_adjusted,
        )
        for (a, b), p, difference, bp, (p_adjusted, bp_adjusted) in zip(
            pairs, by_accuracy, differences, by_f1, adjusted, strict=True
        )
    )


def bootstrap_p(differences: NDArray[np.float64]) -> float:
    """Two-sided p of no difference: twice the share of resamples (their bias taken off) beyond 0, at least one."""
    below, above = int((differences <= 0).sum()), int((differences >= 0).sum())
    return min(1.0, 2 * (min(below, above) + 1) / (len(differences) + 1))


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
