"""F1 class by class: two recipes, or two runs of one, against each other."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from corolla.compare.compare import Comparison
from corolla.compare.recipes import Member
from corolla.compare.report.tables import Table, cell, make_table
from corolla.evaluation.metrics import class_f1


@dataclass(frozen=True)
class ClassScores:
    """F1 of the classes that val has photos of."""

    sides: tuple[str, ...]
    """Names of the two best recipes; of one recipe alone those of its first two runs, or of its only one."""
    names: tuple[str, ...]
    """Names of all classes, by number."""
    numbers: list[int]
    num_train: list[int | None]
    """Number of training photos; None where the data are not at hand."""
    num_val: list[int]
    f1: tuple[list[float], ...]
    """F1 of each side, mean over its seeds."""


def class_scores(comparison: Comparison, num_train: Mapping[int, int] | None) -> ClassScores:
    """Return the F1 of every class.

    Args:
        num_train: training photos of each class, where they are known.
    """
    labels = comparison.members[0].labels
    present, counts = np.unique(labels, return_counts=True)
    numbers = [int(number) for number in present]
    sides = _sides(comparison)
    return ClassScores(
        sides=tuple(sides),
        names=comparison.class_names,
        numbers=numbers,
        num_train=[num_train.get(number, 0) if num_train is not None else None for number in numbers],
        num_val=counts.tolist(),
        f1=tuple(_mean_f1(members, numbers) for members in sides.values()),
    )


def _sides(comparison: Comparison) -> dict[str, tuple[Member, ...]]:
    if len(comparison.recipes) > 1:
        return {recipe.name: recipe.members for recipe in comparison.recipes[:2]}
    return {member.name: (member,) for member in comparison.members[:2]}


def _mean_f1(members: tuple[Member, ...], numbers: list[int]) -> list[float]:
    found = [class_f1(member.labels, member.predicted) for member in members]
    return [float(np.mean([scores[number] for scores in found])) for number in numbers]


def classes_view(classes: ClassScores) -> Table:
    """Return a row per class, searchable."""
    columns = {
        "class": [cell(number, ".0f") for number in classes.numbers],
        "name": [cell(classes.names[number]) for number in classes.numbers],
        "train": [cell(n, ".0f") for n in classes.num_train],
        "val": [cell(n, ".0f") for n in classes.num_val],
    }
    columns |= {
        f"F1, {side}": [cell(value, ".3f") for value in values]
        for side, values in zip(classes.sides, classes.f1, strict=True)
    }
    if len(classes.sides) == 2:
        a, b = classes.f1
        columns["difference"] = [cell(x - y, "+.3f") for x, y in zip(a, b, strict=True)]
    return make_table("F1 of every class", columns, searchable=True)
