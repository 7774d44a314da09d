"""The training loop, top to bottom: step, checkpoint, validation, until the last epoch or until it is told to stop."""

import copy
import functools
import math
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from corolla.data.cache import use_cache
from corolla.data.dataset import TFRecordDataset
from corolla.data.index import Index
from corolla.data.loader import Batch, load_batches
from corolla.data.sampler import TrainBatchSampler, steps_per_epoch
from corolla.data.transforms.views import ViewsTransform
from corolla.device import describe, num_workers
from corolla.errors import Failure, UserError
from corolla.evaluation.inference import predict_probabilities
from corolla.evaluation.metrics import Metrics, metrics_of_probabilities
from corolla.evaluation.tta_model import TTAModel
from corolla.runs.folder import Run
from corolla.training.build import build_datasets
from corolla.training.log import Clock, RunLog, log
from corolla.training.schedule import learning_rate, scale_lr
from corolla.training.state import NonFiniteError, TrainState
from corolla.training.stop import Stop

OnStep = Callable[[TrainState, Batch, float, torch.Tensor], None]
"""Called after every update with the state, the batch, the learning rate and the batch's mean loss (on the device)."""


class TrainingFailed(Failure):
    """Training cannot go on; the message says why, and what was kept."""


def fit(state: TrainState, run: Run, index: Index, stop: Stop, *, on_step: OnStep | None = None) -> None:
    """Train to the last epoch, or until `stop` says so."""
    config, progress = state.config, state.progress
    train_set, val_set = build_datasets(state.meta, index)
    cached = use_cache(
        (train_set, val_set), config.pipeline.cache, config.cache_dir, stopped=lambda: stop.reason is not None
    )
    log.info(cached)
    epoch_steps = steps_per_epoch(len(train_set), config.train.batch_size)
    sampler = TrainBatchSampler(
        len(train_set),
        config.train.batch_size,
        config.train.seed,
        progress.step,
        config.train.epochs * epoch_steps,
        balance=config.train.balance,
        labels=train_set.split.label,
    )
    workers = num_workers(config.pipeline.workers, state.device)
    images_per_step = min(config.train.batch_size, len(train_set))
    with (
        closing(load_batches(train_set, sampler, workers=workers, device=state.device)) as batches,
        RunLog(
            run,
            rows=progress.history,
            step=progress.step,
            total=sampler.stop * images_per_step,
            done=progress.step * images_per_step,
            class_names=index.class_names,
        ) as run_log,
    ):
        validate = functools.partial(evaluate, state, val_set, workers=workers, stop=stop)
        try:
            run_steps(state, batches, run_log, stop, validate=validate, epoch_steps=epoch_steps, on_step=on_step)
        except NonFiniteError as error:
            lr = _lr_of_step(state, error.step - 1, epoch_steps)
            raise TrainingFailed(_explain(error, run, lr, sampler, train_set)) from None


def run_steps(
    state: TrainState,
    batches: Iterator[Batch],
    run_log: RunLog,
    stop: Stop,
    *,
    validate: Callable[[], Metrics | None],
    epoch_steps: int,
    on_step: OnStep | None = None,
) -> None:
    """Run the loop itself, in epochs of `epoch_steps`. `validate` gives None where it was told to stop."""
    run, config, progress = run_log.run, state.config, state.progress
    clock = Clock(progress.seconds)
    while True:
        stopped = stop.reason is not None  # asked once, so that a signal cannot fall between saving and leaving
        if stopped or clock.minutes_since_save >= config.train.checkpoint_minutes:
            state.sync_and_check()
            progress.seconds = clock.total
            state.save(run.last)
            clock.saved()
        if stopped:
            return
        if progress.step == (state.epoch + 1) * epoch_steps:  # an epoch is over, and not evaluated yet
            state.sync_and_check()
            metrics = validate()
            if metrics is None:
                continue  # to save and leave; the evaluation comes first when the run is resumed
            progress.history.append(_row(state, metrics, _lr_of_step(state, progress.step - 1, epoch_steps)))
            state.next_epoch()
            progress.seconds = clock.total
            state.save(*_checkpoints(run, state))
            run_log.epoch(
                progress.history, epochs=config.train.epochs, timing=clock.epoch(state.device), metrics=metrics
            )
        if progress.step == config.train.epochs * epoch_steps:
            return

        batch = next(batches)
        run_log.batch(progress.step + 1, batch)
        lr = _lr_of_step(state, progress.step, epoch_steps)
        loss = _update(state, batch, lr)
        clock.images += len(batch.labels)
        run_log.advance(len(batch.labels))
        if on_step is not None:
            on_step(state, batch, lr, loss)
        if progress.step % config.train.log_steps == 0:
            state.sync_and_check()
            run_log.step(progress.step, loss, lr)


def _lr_of_step(state: TrainState, step: int, epoch_steps: int) -> float:
    """Return the learning rate of a step (from 0) of the epoch under way."""
    config = state.config
    val_losses = [row["val_loss"] for row in state.progress.history]
    optim = scale_lr(config.optim, config.train.batch_size)
    return learning_rate(optim, step, steps_per_epoch=epoch_steps, epochs=config.train.epochs, val_losses=val_losses)


def _update(state: TrainState, batch: Batch, lr: float) -> torch.Tensor:
    """Call `state.update`, and tell the user what to do about its errors."""
    try:
        return state.update(batch, lr)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UserError(
            "batch norm needs more than one value per channel: more images in each part of a batch "
            "(--train.batch-size, --train.accumulate), or a larger --input-size"
        ) from None
    except torch.OutOfMemoryError:
        raise TrainingFailed(
            f"{describe(state.device)} is out of memory: --train.accumulate 2 (or more) sends the batch "
            "through in parts; or a smaller --train.batch-size or --input-size"
        ) from None
    except Exception as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"--train.compile does not work here, train without it: {reason}") from None


def _explain(error: NonFiniteError, run: Run, lr: float, sampler: TrainBatchSampler, dataset: TFRecordDataset) -> str:
    """Say which step was not finite, at what learning rate, what was kept, and the ids of its images."""
    ids = ", ".join(str(dataset.split.id[i % len(dataset)]) for _, i in sampler.keys(error.step - 1))
    kept = f"{run.last} holds the last checkpoint" if run.last.exists() else "there is no checkpoint yet"
    return (
        f"step {error.step}: {error} at lr {lr:g}; nothing was updated and {kept}; try a lower "
        f"--optim.lr, --optim.warmup-epochs or --optim.clip-norm under another --run-name. Images of the step: {ids}"
    )


def evaluate(state: TrainState, dataset: TFRecordDataset, *, workers: int, stop: Stop) -> Metrics | None:
    """Return the metrics of the evaluated weights on `dataset`, as `corolla predict` computes them; None if stopped."""
    transform = dataset.transform
    assert isinstance(transform, ViewsTransform)
    model = TTAModel(_uncompiled_copy(state.eval_model), state.meta, transform, device=state.device)
    probabilities = predict_probabilities(
        model,
        dataset,
        batch_size=model.batch_size,
        device=state.device,
        workers=workers,
        title="evaluate",
        stopped=lambda: stop.reason is not None,
    )
    if probabilities is None:
        return None
    return metrics_of_probabilities(probabilities, dataset.split.label)


def _uncompiled_copy(model: torch.nn.Module) -> torch.nn.Module:
    """Return a copy on the CPU and in eval mode, as a checkpoint would give it, which inference may change."""
    compiled, model._compiled_call_impl = model._compiled_call_impl, None  # pyright: ignore[reportAttributeAccessIssue]
    try:
        return copy.deepcopy(model).cpu().eval()
    finally:
        model._compiled_call_impl = compiled  # pyright: ignore[reportAttributeAccessIssue]


def _row(state: TrainState, metrics: Metrics, lr: float) -> dict[str, Any]:
    """Return a line of metrics.jsonl: only what config and data decide."""
    progress = state.progress
    return {
        "epoch": state.epoch + 1,
        "step": progress.step,
        "lr": lr,
        "train_loss": progress.loss_sum / progress.num_seen,
        "val_loss": metrics.loss,
        "top1": metrics.top1,
        "top5": metrics.top5,
        "macro_f1": metrics.macro_f1,
    }


def best_row(rows: list[dict[str, Any]], select_by: str) -> dict[str, Any]:
    """Return the epoch that best.pt holds: the first with the highest macro F1, or the lowest val loss."""

    def quality(row: dict[str, Any]) -> float:
        value = row["macro_f1"] if select_by == "macro_f1" else -row["val_loss"]
        return -math.inf if math.isnan(value) else value

    return max(rows, key=quality)


def _checkpoints(run: Run, state: TrainState) -> list[Path]:
    """Return where an epoch's end is saved: last.pt comes last, so what a kill cuts off is done again on resuming."""
    train, rows = state.config.train, state.progress.history
    paths = []
    if train.keep_every and len(rows) % train.keep_every == 0:
        paths.append(run.folder / f"epoch-{len(rows):03d}.pt")
    if best_row(rows[state.progress.inherited :], train.select_by) is rows[-1]:
        paths.append(run.best)
    return [*paths, run.last]
