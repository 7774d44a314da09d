"""How runs went: how soon they came how far, what they cost, and how far training and validation parted."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from corolla.compare.recipes import Member
from corolla.models.factory import build_model, multiply_adds, num_parameters

SHARES = (0.5, 0.8, 0.9, 0.95)  # of the best run's macro F1, as in the report this project starts from


@dataclass(frozen=True)
class Reached:
    """When a run first had a macro F1."""

    macro_f1: float
    epoch: int | None
    """None: never."""
    minutes: float | None


@dataclass(frozen=True)
class Course:
    """A run's way."""

    name: str
    reached: tuple[Reached, ...]
    """For SHARES of the best last-epoch macro F1 among the runs compared."""
    lr_drops: tuple[int, ...]
    """Epochs before which schedule step or plateau has lowered the learning rate; cosine falls all the time."""
    train_loss: float
    val_loss: float
    """Of the last epoch. The training loss is of augmented images, with all that the recipe has in it (label smoothing,
    mixing, class weights, distillation)."""

    @property
    def gap(self) -> float:
        """Val minus train loss, in nats."""
        return self.val_loss - self.train_loss


@dataclass(frozen=True)
class Cost:
    """What a run took."""

    name: str
    epochs: int
    minutes: float
    """Training and evaluating, over all starts."""
    images: int
    """That went through the network in training."""
    images_per_s: float
    parameters: int
    multiply_adds: int
    """Of one image's forward."""
    memory_mib: float
    """Peak: of the GPU, or resident in the main process."""


def courses(members: Sequence[Member]) -> list[Course]:
    """Of every member, in their order."""
    best = max(member.rows[-1]["macro_f1"] for member in members)
    return [_course(member, best) for member in members]


def _course(member: Member, best: float) -> Course:
    rows, seconds = member.rows, {int(line["epoch"]): line["total_seconds"] for line in member.run.timing}
    reached = []
    for goal in (share * best for share in SHARES):
        epoch = next((row["epoch"] for row in rows if row["macro_f1"] >= goal), None)
        reached.append(Reached(goal, epoch, seconds[epoch] / 60 if epoch in seconds else None))
    steps = member.run.config.optim.schedule in ("step", "plateau")
    drops = [now["epoch"] for before, now in itertools.pairwise(rows) if steps and 0 < now["lr"] < before["lr"]]
    return Course(member.name, tuple(reached), tuple(drops), rows[-1]["train_loss"], rows[-1]["val_loss"])


def cost(member: Member) -> Cost:
    """Of one run."""
    config = member.run.config
    size = config.input_size or config.size or 224
    model = build_model(config.model, member.probabilities.shape[1], size)
    timing: list[dict[str, Any]] = member.run.timing
    images = int(member.rows[-1]["step"]) * config.train.batch_size
    seconds = timing[-1]["total_seconds"] if timing else 0.0
    return Cost(
        name=member.name,
        epochs=len(member.rows),
        minutes=seconds / 60,
        images=images,
        images_per_s=images / seconds if seconds else 0.0,
        parameters=num_parameters(model),
        multiply_adds=multiply_adds(model, size),
        memory_mib=max((line["memory_mib"] for line in timing), default=0.0),
    )
