"""What a user can do when a step of training fails."""

import torch

from corolla.data.flowers import Batch, Flowers
from corolla.data.loader import TrainBatches
from corolla.device import describe
from corolla.errors import Failure, UserError
from corolla.training.learner import Learner
from corolla.training.run import Run
from corolla.training.tally import NotFinite


class TrainingFailed(Failure):
    """Training cannot go on; the message says why, and what was kept."""


def update(learner: Learner, batch: Batch, lr: float) -> torch.Tensor:
    """`learner.update`, with what a user can do about its errors."""
    try:
        return learner.update(batch, lr)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UserError(
            "batch norm needs more than one value per channel: more images in each part of a batch "
            "(--train.batch-size, --train.accumulate), or a larger --input-size"
        ) from None
    except torch.OutOfMemoryError:
        raise TrainingFailed(
            f"{describe(learner.device)} is out of memory: --train.accumulate 2 (or more) sends the batch "
            "through in parts; or a smaller --train.batch-size or --input-size"
        ) from None
    except Exception as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"--train.compile does not work here, train without it: {reason}") from None


def explain(error: NotFinite, run: Run, lr: float, plan: TrainBatches, photos: Flowers) -> str:
    """Which step was not finite, at what learning rate, what was kept, and the ids of its images."""
    ids = ", ".join(str(photos.split.id[i % len(photos)]) for _, i in plan.keys(error.step - 1))
    kept = f"{run.last} holds the last checkpoint" if run.last.exists() else "there is no checkpoint yet"
    return (
        f"step {error.step}: {error} at lr {lr:g}; nothing was updated and {kept}; try a lower "
        f"--optim.lr, --optim.warmup-epochs or --optim.clip-norm under another --run-name. Images of the step: {ids}"
    )
