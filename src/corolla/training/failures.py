"""Say why training cannot go on: what happened, what was kept, and what the user can do."""

import math
from collections.abc import Sequence

import torch

from corolla.data.loader import Batch
from corolla.device import choose_precision
from corolla.device_errors import fault_line, fault_of
from corolla.errors import Failure, UserError
from corolla.evaluation.metrics import Metrics
from corolla.runs.folder import Run
from corolla.training.compiling import compiling_told
from corolla.training.state import NoFiniteGradientError, NonFiniteError, TrainState

AGAIN = "the same command goes on in a new process (a notebook: restart its kernel)"


TOO_HIGH = (
    "most likely the learning rate is too high: try a lower --optim.lr, --optim.warmup-epochs or --optim.clip-norm"
)


class TrainingFailed(Failure):
    """Training cannot go on; the message says why, and what was kept."""


class NumbersFailed(TrainingFailed):
    """The numbers are not finite any more: of several processes that train together, all find it out."""


def update(state: TrainState, batch: Batch, lr: float) -> torch.Tensor:
    """Call `state.update`, and tell the user what to do about its errors; the device's faults are passed on."""
    try:
        with compiling_told(state):
            return state.update(batch, lr)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UserError(
            "batch norm needs more than one value per channel: more images in each part of a batch "
            "(--train.batch-size, --train.accumulate), or a larger --input-size"
        ) from None
    except Exception as error:
        # What compiling meets is wrapped in an error of the compiler, a lack of memory too.
        if fault_of(error) or not type(error).__module__.startswith(("torch._dynamo", "torch._inductor", "triton")):
            raise
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"--train.compile does not work here, train without it: {reason}") from None


def explain_numbers(error: NonFiniteError, state: TrainState, run: Run, *, lr: float, ids: Sequence[str]) -> str:
    """Say which step was not finite, at what learning rate, what was kept, the likely cause, and some of its images."""
    kept = _kept(run)
    if isinstance(error, NoFiniteGradientError):  # no one batch is at fault
        other = "bf16" if choose_precision("auto", state.device) == "bf16" else "fp32"
        return (
            f"step {error.step}: the {error}, at lr {lr:g}; in fp16 no step changes a weight any more, and {kept}; try "
            f"--train.precision {other} or a lower --optim.lr under another --run-name"
        )
    said = f"step {error.step}: {error} at lr {lr:g}; nothing was updated and {kept}"
    return f"{said}; {_cause(error, state)}, under another --run-name. {_some(ids)}"


def check_validation(metrics: Metrics, state: TrainState, run: Run) -> None:
    """Check that the network gives numbers for val: of NaN, class 0 would be predicted, which has a score as well.

    Raises:
        TrainingFailed: it does not, though the loss of every step and the weights are finite.
    """
    if math.isfinite(metrics.loss):
        return
    raise NumbersFailed(
        f"epoch {state.epoch + 1}: the validation loss is {metrics.loss}, as some logits are not finite, in fp32 "
        f"either; the epoch does not count and {_kept(run)}; {TOO_HIGH}, under another --run-name"
    )


def _cause(error: NonFiniteError, state: TrainState) -> str:
    """Return what is likely at fault, and the remedy.

    What a run starts from is checked before its first step (training/checks.py), so that the learning rate is left,
    but at the first step: no weight has changed yet.
    """
    if error.step == 1 and error.of_loss:
        normalisation = state.meta.preprocessing
        mean, std = (", ".join(f"{x:.3g}" for x in three) for three in (normalisation.mean, normalisation.std))
        other = "" if state.precision == "fp32" else "--train.precision fp32 or "
        return (
            "no weight had changed yet, so that it is not the learning rate: look at what pixels are divided by "
            f"(mean {mean}, std {std}), and try {other}other weights to begin with"
        )
    return TOO_HIGH


def _some(ids: Sequence[str]) -> str:
    """Return the number of images in a step, and the first three of their ids."""
    shown = list(dict.fromkeys(ids))
    return f"Images of the step: {len(ids)}, {', '.join(shown[:3])}" + (" and others" if len(shown) > 3 else "")


def explain_fault(error: RuntimeError, state: TrainState, run: Run) -> str | None:
    """Say what the device reports; None where the error is the program's own."""
    doing = f"in training, after step {state.progress.step}"
    return fault_line(error, state.device, doing, memory=_smaller(state, run), again=f"{AGAIN}; {_kept(run)}")


def _kept(run: Run) -> str:
    return f"{run.last} holds the last checkpoint" if run.last.exists() else "there is no checkpoint yet"


def _smaller(state: TrainState, run: Run) -> str:
    """Return what to do about a lack of memory; parts of half the size decide the result, so they make another run."""
    train = state.config.train
    fewer = f"--train.accumulate {2 * train.num_parts}"
    if 2 * train.num_parts > train.batch_size:
        fewer = "a smaller --input-size or network"
    if not run.last.exists():
        return f"it needs less with {fewer}"
    return (
        f"the same command goes on from {run.last} where more memory is free (nvidia-smi lists who holds it); a run "
        f"under another --run-name needs less with {fewer}"
    )
