"""`corolla compare`: runs against each other on the same val images, and what may be said about their recipes.

Runs that differ in nothing but the seed are one recipe. Scores are of the last epoch's weights; the best
epoch's stand beside them and are marked, because they were chosen on the very images they are scored on.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from corolla.compare.formatting import p_value, spread
from corolla.compare.recipes import (
    Member,
    Recipe,
    distinct_names,
    distinct_runs,
    find_runs,
    group_recipes,
    make_member,
    recipe_table,
)
from corolla.compare.statistics import (
    NUM_RESAMPLES,
    Effect,
    bootstrap_p,
    holm,
    interval,
    mcnemar,
    resample_weights,
    two_level,
)
from corolla.errors import UserError
from corolla.evaluation.compute import PredictOptions
from corolla.evaluation.predict import predict
from corolla.evaluation.predictions import views_in_common
from corolla.paths import AnyPath, AnyPaths, as_path, as_paths
from corolla.results import Result
from corolla.runs.folder import RUNS
from corolla.runs.folds import cross_validation_name, scored_together

ALPHA = 0.05
"""Level of significance."""
LAST_EPOCH = PredictOptions(split="val", checkpoint="last")


@dataclass(frozen=True)
class Difference:
    """The difference of two recipes."""

    first: str
    second: str
    effect: Effect
    """First minus second, in `score`."""
    p_adjusted: float
    """p of no difference, adjusted for the number of pairs (Holm)."""
    num_seeds: tuple[int, int]
    score: str = "macro F1"

    @property
    def significant(self) -> bool:
        """True where the adjusted p is below ALPHA."""
        return self.p_adjusted < ALPHA

    @property
    def sentence(self) -> str:
        """A sentence that claims no more than the test allows."""
        better, worse, sign = (self.first, self.second, 1) if self.effect.value >= 0 else (self.second, self.first, -1)
        low, high = sorted((sign * self.effect.low, sign * self.effect.high))
        p = f"p {p_value(self.p_adjusted)}"
        size = f"{self.score} {sign * self.effect.value:+.3f} (95 % from {low:+.3f} to {high:+.3f}, {p})"
        if not self.significant:
            return f"No difference shown between {better} and {worse}: {size}."
        caution = (
            " One seed each: this is about these two networks; train 3 seeds or more of each before you say it of "
            "their recipes."
        )
        return f"{better} is better than {worse}: {size}.{caution if max(self.num_seeds) == 1 else ''}"


@dataclass(frozen=True)
class RunPair:
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


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Result):
    """Recipes scored on the same images, with their differences."""

    split: str
    """val, or oof: all photos of train and val, out of fold."""
    tta: str
    """Name of the views."""
    checkpoint: str
    recipes: tuple[Recipe, ...]
    """Sorted by falling mean macro F1."""
    differences: tuple[Difference, ...]
    pairs: tuple[RunPair, ...]
    class_names: tuple[str, ...]

    @property
    def summary(self) -> str:
        """The verdict."""
        return " ".join(self._sentences)

    def to_pandas(self) -> pd.DataFrame:
        """Return a row per recipe: seeds, means and sds of its scores, interval over images, the best epoch's score."""
        return recipe_table(self.recipes)

    @property
    def members(self) -> list[Member]:
        """All runs, recipe by recipe."""
        return [member for recipe in self.recipes for member in recipe.members]

    @property
    def verdict(self) -> list[str]:
        """A sentence per pair of recipes (for one alone, that there is nothing to tell apart), then the cautions."""
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
            f"{spread(recipe.mean, recipe.sd)}; what differs between them is chance."
        ]


def compare(
    folders: AnyPaths,
    options: PredictOptions | None = None,
    *,
    runs: AnyPath = RUNS,
    num_resamples: int = NUM_RESAMPLES,
    **changes: Any,
) -> Comparison:
    """Score runs on val, the same images for all, and test what differs; val is predicted where it was not yet.

    The runs of cross-validations (--train.fold), each with all its folds, are scored out of fold on train and val.

    Args:
        folders: folders of the runs, or names of experiments: resnet34 is every run `runs`/resnet34-seed*.
        options: how val is predicted; default: the last epoch's weights, and the views with which val was predicted
            already where these are of one kind, else one view. Always of val.
        runs: where experiments' runs are looked for.
        num_resamples: bootstrap samples of the images.
        changes: single options: `compare(folders, tta="ten-crop", checkpoint="best")`.

    Raises:
        UserError: a run has no epoch to its end, or another val set than the first.
    """
    if changes.get("split") not in (None, "val"):
        raise UserError(f"split {changes['split']!r}: runs are compared on val alone, whose labels are known")
    if num_resamples < 1:
        raise UserError(f"num_resamples {num_resamples}: must be at least 1")
    folders = as_paths(folders)
    if not folders:
        raise UserError("name at least one run's folder, or an experiment whose runs are in the runs folder")
    options = replace(replace(options or LAST_EPOCH, **changes), split="val")
    opened = distinct_runs(find_runs(folders, as_path(runs)))
    if options.is_default:
        views = views_in_common(opened, ("val",), options.checkpoint, prefers_none=True)
        options = replace(options, tta=views)
    groups = scored_together(opened)
    split = "val" if len(groups) == len(opened) else "oof"
    results = [predict(group, replace(options, split=split)) for group in groups]
    predictions = [result.predictions for result in results]
    weights = resample_weights(len(predictions[0].ids), num_resamples, seed=0)
    firsts = [group[0] for group in groups]
    names = distinct_names(firsts) if split == "val" else [cross_validation_name(group) for group in groups]
    first, named = (firsts[0], predictions[0]), zip(firsts, names, predictions, strict=True)
    recipes = group_recipes([make_member(*each, first, weights, options.size) for each in named])
    return Comparison(
        split=split,
        tta=options.name,
        checkpoint=options.checkpoint,
        recipes=recipes,
        differences=_differences(recipes),
        pairs=_run_pairs([member for recipe in recipes for member in recipe.members]),
        class_names=results[0].class_names,
    )


def _differences(recipes: Sequence[Recipe]) -> tuple[Difference, ...]:
    pairs = list(itertools.combinations(recipes, 2))
    effects = [two_level(a.macro_f1, b.macro_f1, a.resampled - b.resampled) for a, b in pairs]
    return tuple(
        Difference(a.name, b.name, effect, p, (len(a.members), len(b.members)))
        for (a, b), effect, p in zip(pairs, effects, holm([effect.p for effect in effects]), strict=True)
    )


def _run_pairs(members: Sequence[Member]) -> tuple[RunPair, ...]:
    pairs = [_run_pair(a, b) for a, b in itertools.combinations(members, 2)]
    mcnemar_ps, bootstrap_ps = holm([pair.mcnemar_p for pair in pairs]), holm([pair.bootstrap_p for pair in pairs])
    return tuple(
        replace(pair, mcnemar_p_adjusted=p, bootstrap_p_adjusted=bp)
        for pair, p, bp in zip(pairs, mcnemar_ps, bootstrap_ps, strict=True)
    )


def _run_pair(a: Member, b: Member) -> RunPair:
    """Return the pair with p values that are not adjusted yet."""
    a_correct, b_correct = a.predicted == a.labels, b.predicted == b.labels
    observed, resampled = a.scores.macro_f1 - b.scores.macro_f1, a.resampled - b.resampled
    low, high = interval(observed, resampled, lowest=-1.0)
    p, bp = mcnemar(a_correct, b_correct), bootstrap_p(resampled - resampled.mean() + observed)
    return RunPair(
        first=a.name,
        second=b.name,
        accuracy=float(a_correct.mean() - b_correct.mean()),
        mcnemar_p=p,
        macro_f1=observed,
        low=low,
        high=high,
        bootstrap_p=bp,
        mcnemar_p_adjusted=p,
        bootstrap_p_adjusted=bp,
    )
