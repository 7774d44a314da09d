"""The convergence of runs: epochs and minutes to a score, the gap between train and val loss; and their cost.

Epochs to a fraction of the best run's score say which recipe is good soon. Epochs to a run's own plateau say how soon
it has learned what it learns at all, however much that is.
"""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from corolla.compare.recipes import Member, Recipe
from corolla.models.factory import build_model, multiply_adds, num_parameters

FRACTIONS = (0.5, 0.8, 0.9, 0.95)
"""Fractions of the best run's macro F1, as in the ResNet report."""
STEPWISE = ("step", "plateau")
"""Schedules that lower the learning rate at once."""
OWN_FRACTION = 0.95
"""The fraction of its own plateau that a run has to reach."""
PLATEAU_SHARE, LEAST_PLATEAU = 0.1, 3
"""The plateau is that of the last tenth of the epochs, but of at least three, or of all where there are fewer."""


@dataclass(frozen=True)
class TimeToScore:
    """The time that a run took to a macro F1."""

    macro_f1: float
    epoch: int | None
    """The first epoch with this score; None: never."""
    minutes: float | None
    """None: never, or not known."""


@dataclass(frozen=True)
class Convergence:
    """The convergence of a run."""

    name: str
    times: tuple[TimeToScore, ...]
    """Times to FRACTIONS of the best last-epoch macro F1 among the runs compared."""
    lr_drops: tuple[int, ...]
    """Epochs before which schedule step or plateau has lowered the learning rate; cosine falls all the time."""
    train_loss: float | None
    val_loss: float | None
    """Both are of the last epoch, and None of an imported run, whose epochs are unknown. The training loss is that of
    augmented images, with all that the recipe has in it (label smoothing, mixing, class weights, distillation)."""
    train_top1: float | None
    """Accuracy on augmented images in the last epoch, with the weights of the moment; None of an imported run and of
    an epoch that an earlier version trained, which did not record it."""
    plateau: float | None
    """The median macro F1 on val of the last epochs (PLATEAU_SHARE)."""
    epochs_to_plateau: int | None
    """The first epoch with OWN_FRACTION of the plateau."""
    lowest_loss: int | None
    """The epoch of the smallest loss on val."""

    @property
    def gap(self) -> float | None:
        """Val minus train loss, in nats."""
        return None if self.val_loss is None or self.train_loss is None else self.val_loss - self.train_loss


@dataclass(frozen=True)
class Sooner:
    """Two recipes, and how many epochs the first is ahead of the second: means over the seeds."""

    first: str
    second: str
    epochs_to_plateau: tuple[float, float]
    """Epochs of each of the two to its own plateau; NaN of imported runs."""
    lowest_loss: tuple[float, float]
    """Epoch of each of the two with the smallest loss on val."""

    @property
    def by(self) -> tuple[float, float]:
        """How many epochs sooner the first reaches its plateau, and the smallest loss on val; negative: later."""
        (own, others), (lowest, others_lowest) = self.epochs_to_plateau, self.lowest_loss
        return others - own, others_lowest - lowest


@dataclass(frozen=True)
class Cost:
    """The cost of a run. What it took is None of an imported one, as it is unknown."""

    name: str
    epochs: int | None
    minutes: float | None
    """Time of training and evaluating, over all starts."""
    images: int | None
    """Images that went through the network in training."""
    images_per_s: float | None
    parameters: int
    multiply_adds: int
    """Multiply-adds of one image's forward pass."""
    memory_mib: float | None
    """Peak: of the GPU, or resident in the main process."""


def convergences(members: Sequence[Member]) -> list[Convergence]:
    """Return the convergence of every member, in their order."""
    best = max((member.rows[-1]["macro_f1"] for member in members if member.rows), default=math.nan)
    return [_convergence(member, best) for member in members]


def sooner(recipes: Sequence[Recipe]) -> list[Sooner]:
    """Return how many epochs a recipe is ahead of another one, for every pair in their order."""
    means = []
    for recipe in recipes:
        found = convergences(recipe.members)
        means.append((_mean([each.epochs_to_plateau for each in found]), _mean([each.lowest_loss for each in found])))
    pairs = itertools.combinations(zip(recipes, means, strict=True), 2)
    return [Sooner(a.name, b.name, (own[0], other[0]), (own[1], other[1])) for (a, own), (b, other) in pairs]


def _mean(epochs: Sequence[int | None]) -> float:
    known = [epoch for epoch in epochs if epoch is not None]
    return sum(known) / len(known) if len(known) == len(epochs) else math.nan


def own_course(rows: list[dict[str, Any]]) -> tuple[float | None, int | None, int | None]:
    """Return a run's plateau, the epochs to OWN_FRACTION of it, and the epoch of the smallest loss on val."""
    if not rows:
        return None, None, None
    length = max(LEAST_PLATEAU, math.ceil(PLATEAU_SHARE * len(rows)))
    plateau = statistics.median(row["macro_f1"] for row in rows[-length:])
    reached = next((row["epoch"] for row in rows if row["macro_f1"] >= OWN_FRACTION * plateau), None)
    return plateau, reached, min(rows, key=lambda row: row["val_loss"])["epoch"]


def _convergence(member: Member, best: float) -> Convergence:
    rows, seconds = member.rows, {int(line["epoch"]): line["total_seconds"] for line in member.run.timing}
    times = []
    for goal in (fraction * best for fraction in FRACTIONS):
        epoch = next((row["epoch"] for row in rows if row["macro_f1"] >= goal), None)
        times.append(TimeToScore(goal, epoch, seconds[epoch] / 60 if epoch in seconds else None))
    last: dict[str, Any] = rows[-1] if rows else {}
    ends = (last.get("train_loss"), last.get("val_loss"), last.get("train_top1"))
    return Convergence(member.name, tuple(times), lr_drops(member), *ends, *own_course(rows))


def lr_drops(member: Member) -> tuple[int, ...]:
    """Return the epochs before which schedule step or plateau has lowered the learning rate of a run."""
    return drops_in(member.rows) if member.run.config.optim.schedule in STEPWISE else ()


def drops_in(rows: Sequence[dict[str, Any]]) -> tuple[int, ...]:
    """Return the epochs before which the learning rate was lowered, of the rows of metrics.jsonl."""
    return tuple(now["epoch"] for before, now in itertools.pairwise(rows) if 0 < now["lr"] < before["lr"])


def _images_per_step(member: Member) -> int:
    """Return the images of an update: a batch, but where an epoch is one update, which may be of fewer photos.

    Earlier versions did not write how many they were.
    """
    batch = member.run.config.train.batch_size
    if int(member.rows[-1]["step"]) > len(member.rows):
        return batch
    timing: list[dict[str, Any]] = member.run.timing
    return max([int(line.get("images", 0)) for line in timing], default=0) or batch


def cost(member: Member) -> Cost:
    """Return the cost of one run."""
    config = member.run.config
    size = config.input_size or config.size or 224
    model = build_model(config.model, member.probabilities.shape[1], size)
    known = {"parameters": num_parameters(model), "multiply_adds": multiply_adds(model, size)}
    if member.is_imported:
        unknown = dict.fromkeys(("epochs", "minutes", "images", "images_per_s", "memory_mib"))
        return Cost(name=member.name, **unknown, **known)
    timing: list[dict[str, Any]] = member.run.timing
    images = int(member.rows[-1]["step"]) * _images_per_step(member)
    seconds = timing[-1]["total_seconds"] if timing else 0.0
    return Cost(
        name=member.name,
        epochs=len(member.rows),
        minutes=seconds / 60,
        images=images,
        images_per_s=images / seconds if seconds else 0.0,
        memory_mib=max((line.get("memory_mib", 0.0) for line in timing), default=0.0),
        **known,
    )
