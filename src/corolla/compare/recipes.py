"""The runs of a comparison, scored on the same images, and grouped into recipes."""

import glob
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from corolla.compare.statistics import interval, weighted_macro_f1
from corolla.config import to_dict
from corolla.data.corrections import COPY
from corolla.errors import UserError
from corolla.evaluation.metrics import Metrics, metrics_of_probabilities
from corolla.evaluation.predictions import Predictions
from corolla.files import is_folder, natural_key
from corolla.runs.folder import Run, is_run, open_run
from corolla.runs.same_data import check_has_val


@dataclass(frozen=True, eq=False)
class Member:
    """A run with its predictions; `ids` are sorted, and the same for all members of a comparison."""

    run: Run
    name: str
    """Name of the run; its folder, where another run of the comparison has the same name."""
    recipe: str
    """Key of its recipe, as JSON: the config without the seed, and the fingerprint of the training data."""
    seed: int | None
    """None of an imported run, of which it is unknown."""
    ids: NDArray[np.str_]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    """Shape: images x classes."""
    resampled: NDArray[np.float64]
    """Macro F1 in each bootstrap sample of the images; the same samples for all members."""
    is_own_val: bool = True
    """False where the images are another val than the one that each epoch was scored on."""
    num_folds: int = 0
    """Number of the runs of a cross-validation, of which `run` is the first; 0 of a run by itself."""

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable class of each image."""
        return self.probabilities.argmax(1)

    @cached_property
    def scores(self) -> Metrics:
        """The metrics of the probabilities."""
        return metrics_of_probabilities(self.probabilities, self.labels)

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl; none of an imported run, whose training is unknown."""
        return self.run.metrics

    @cached_property
    def is_imported(self) -> bool:
        """True of weights that were trained elsewhere."""
        return self.run.imported is not None

    @cached_property
    def best_macro_f1(self) -> float | None:
        """Macro F1 of the best epoch: chosen on val, so optimistic; None where no epoch is known."""
        return max((row["macro_f1"] for row in self.rows), default=None)


@dataclass(frozen=True, eq=False)
class Recipe:
    """Runs that differ in their seed only, trained with the same photos."""

    name: str
    members: tuple[Member, ...]

    @property
    def macro_f1(self) -> list[float]:
        """One value a seed."""
        return [member.scores.macro_f1 for member in self.members]

    @property
    def mean(self) -> float:
        """Mean macro F1 over seeds."""
        return float(np.mean(self.macro_f1))

    @property
    def sd(self) -> float | None:
        """Standard deviation of macro F1 over seeds; None of one seed."""
        return float(np.std(self.macro_f1, ddof=1)) if len(self.members) > 1 else None

    @property
    def cautions(self) -> list[str]:
        """Warnings about runs that are unfinished, lengthened, corrected or of another val, and about doubled seeds."""
        found = []
        for member in self.members:
            if member.is_imported:
                found.append(
                    f"{member.name} was imported, and what it was trained with is unknown: if photos of this val were "
                    "among that, its score here is too good."
                )
                continue
            done, epochs = len(member.rows), member.run.config.train.epochs
            if member.num_folds:
                found.append(
                    f"{member.name} is a cross-validation of {member.num_folds} runs, scored out of fold; its curves, "
                    "cost and best epoch are those of the run of fold 1."
                )
            if member.run.stopped_early is not None:
                found.append(
                    f"{member.name} stopped early, after epoch {done} of {epochs}: val has chosen where it ends "
                    f"(--train.stop-early {member.run.config.train.stop_early})."
                )
            elif done < epochs:
                found.append(f"{member.name} is not finished ({done} of {epochs} epochs): its score says little.")
            if earlier := member.run.environment.get("lengthened_from"):
                steps = " to ".join(map(str, [*earlier, epochs]))
                found.append(
                    f"{member.name} was lengthened from {steps} epochs: one training of {epochs} may have other "
                    "learning rates, and so another result."
                )
            if corrected := member.run.config.train.corrections_sha256:
                found.append(
                    f"{member.name} has learned from corrected training photos ({COPY} in its folder, SHA-256 "
                    f"{corrected[:12]})."
                )
            if not member.is_own_val:
                found.append(
                    f"{member.name} was trained beside another val than this one, of which its curves and its best "
                    "epoch are; if it has learned photos that are in this one, its score here is too good."
                )
        for seed in sorted({member.seed for member in self.members if member.seed is not None}):
            repeated = [member.name for member in self.members if member.seed == seed]
            if len(repeated) > 1:
                times = f"{len(repeated)} times ({', '.join(repeated)})"
                found.append(f"Seed {seed} is there {times}: the spread over seeds is too small.")
        return found

    @cached_property
    def resampled(self) -> NDArray[np.float64]:
        """Mean macro F1 over seeds in each bootstrap sample."""
        return np.mean([member.resampled for member in self.members], axis=0)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the mean, over images alone."""
        return interval(self.mean, self.resampled)


def find_runs(words: Sequence[Path], runs: Path) -> list[Path]:
    """Return folders of runs as they are, and for the name of an experiment all its runs (`runs`/NAME-seed*).

    Raises:
        UserError: a word is neither.
    """
    found: list[Path] = []
    for word in words:
        if is_run(word):
            found.append(word)
        elif is_run(runs / word):
            found.append(runs / word)
        elif not word.is_absolute() and (seeds := list(runs.glob(f"{glob.escape(str(word))}-seed*/config.json"))):
            found += sorted((path.parent for path in seeds), key=lambda path: natural_key(path.name))
        elif is_folder(word) or len(word.parts) > 1:
            open_run(word)  # which says what is there
        else:
            raise UserError(f"{word}: neither a run's folder nor an experiment with runs {runs / f'{word}-seed*'}")
    return found


def distinct_runs(folders: Sequence[Path]) -> list[Run]:
    """Return the runs in these folders.

    Raises:
        UserError: one is named twice, or has no epoch to its end.
    """
    runs: dict[Path, Run] = {}
    for folder in folders:
        run = open_run(folder)
        if run.folder.resolve() in runs:
            raise UserError(f"{folder}: is named twice")
        check_has_val(run)
        if not run.metrics and not run.imported:
            raise UserError(f"{folder}: no epoch is finished yet, so there is nothing to compare")
        runs[run.folder.resolve()] = run
    return list(runs.values())


def distinct_names(runs: Sequence[Run]) -> list[str]:
    """Return a name for each run that no other has: where two have the same, their folders."""
    names = [run.name for run in runs]
    return [name if names.count(name) == 1 else str(run.folder) for name, run in zip(names, runs, strict=True)]


def make_member(
    run: Run,
    name: str,
    found: Predictions,
    reference: tuple[Run, Predictions],
    weights: NDArray[np.float32],
    size: int | None = None,
) -> Member:
    """Return a run with its predictions, scored in every bootstrap sample.

    Args:
        name: of the run in this comparison.
        reference: the run, with its predictions, whose images all others must have.
        weights: the bootstrap samples: resamples x images in the order of sorted ids.
        size: of the images, where it was asked for; default: that of the run's own.

    Raises:
        UserError: its images, labels or classes are not those of the reference.
    """
    first_run, first = reference
    order, first_order = np.argsort(found.ids), np.argsort(first.ids)
    if found.labels is None or first.labels is None or not np.array_equal(found.ids[order], first.ids[first_order]):
        raise UserError(
            f"{run.folder}: its val images are not those of {first_run.folder}; runs of other data can't be compared"
        )
    if not np.array_equal(found.labels[order], first.labels[first_order]):
        raise UserError(f"{run.folder}: val has other labels than for {first_run.folder}")
    if len({found.class_names, first.class_names} - {()}) > 1:
        raise UserError(f"{run.folder}: was trained for other classes than {first_run.folder}")
    config = to_dict(run.config, with_runtime=False)
    if found.fold != first.fold:
        raise UserError(f"{run.folder}: is scored on another fold than {first_run.folder}")
    if config["size"] == first_run.config.size and found.fingerprint != first.fingerprint:
        raise UserError(
            f"{run.folder}: its val images are not those of {first_run.folder}, though the ids are the same; compare "
            "them on the same --data"
        )
    seed, trained = config["train"].pop("seed"), run.environment.get("fingerprint") or {}
    config["trained with"] = trained.get("train")
    if imported := run.imported:  # two of them are not one recipe with two seeds
        seed, config["imported"] = None, [imported["sha256"], name]
    if earlier := run.environment.get("lengthened_from"):  # its learning rates are not those of a straight run
        config["lengthened from"] = earlier
    labels, probabilities = found.labels[order], found.probabilities[order]
    return Member(
        run=run,
        name=name,
        recipe=json.dumps(config, sort_keys=True),
        seed=seed,
        ids=found.ids[order],
        labels=labels,
        probabilities=probabilities,
        resampled=weighted_macro_f1(labels, probabilities.argmax(1), weights),
        is_own_val=found.fold.startswith("oof")
        or size not in (None, run.config.size)
        or trained.get("val") in (None, found.fingerprint),
        num_folds=int(found.fold.split()[1]) if found.fold.startswith("oof") else 0,
    )


def without_seed(name: str) -> str:
    """Return a run's name without the part that tells its seed: `resnet34` of `resnet34-seed0`."""
    return re.sub(r"[-_]?seed[-_]?\d+", "", name) or name


def group_recipes(members: Sequence[Member]) -> tuple[Recipe, ...]:
    """Put members together whose config and training data differ in the seed only; sorted by falling mean macro F1."""
    grouped: dict[str, list[Member]] = {}
    for member in members:
        grouped.setdefault(member.recipe, []).append(member)
    names = [without_seed(group[0].name) for group in grouped.values()]
    recipes = [
        Recipe(name if names.count(name) == 1 else group[0].name, tuple(sorted(group, key=lambda each: each.seed or 0)))
        for name, group in zip(names, grouped.values(), strict=True)
    ]
    return tuple(sorted(recipes, key=lambda recipe: -recipe.mean))


def recipe_table(recipes: Sequence[Recipe]) -> pd.DataFrame:
    """Return a row per recipe: seeds, means and sds of the scores, interval over images, and the best epoch's score."""
    rows: list[dict[str, Any]] = []
    for recipe in recipes:
        scores = [member.scores for member in recipe.members]
        low, high = recipe.interval
        row: dict[str, Any] = {
            "recipe": recipe.name,
            "seeds": None if recipe.members[0].is_imported else len(recipe.members),
            "macro F1": recipe.mean,
            "sd": recipe.sd,
            "95 % low": low,
            "95 % high": high,
        }
        for title, name in (("top-1", "top1"), ("top-5", "top5"), ("loss", "loss")):
            values = pd.Series([getattr(score, name) for score in scores])
            row |= {title: values.mean(), f"{title} sd": values.std() if len(values) > 1 else None}
        row["best epoch (chosen on val)"] = pd.Series(
            [member.best_macro_f1 for member in recipe.members], dtype=float
        ).mean()
        rows.append(row)
    return pd.DataFrame(rows)
