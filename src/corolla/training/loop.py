"""The training loop, top to bottom: step, checkpoint, validation, until the last epoch or until it is told to stop."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from corolla.data.dataset import TFRecordDataset
from corolla.data.index import Index
from corolla.data.loader import Batch
from corolla.data.parts import Parts
from corolla.data.sampler import EvalBatchSampler, TrainBatchSampler, steps_per_epoch
from corolla.evaluation.inference import BATCH_SIZE
from corolla.evaluation.metrics import Metrics
from corolla.evaluation.tta_model import PartSize
from corolla.runs.folder import SCORES, Run
from corolla.runs.length import best_row, stopping_line, stops_early
from corolla.training.agreed_stop import AgreedStop
from corolla.training.batches import RunPhotos, run_batches
from corolla.training.failures import (
    NumbersFailed,
    TrainingFailed,
    check_validation,
    explain_fault,
    explain_numbers,
    update,
)
from corolla.training.log import Clock, NoLog, RunLog, log
from corolla.training.ranks import ALONE, Ranks
from corolla.training.reduction import Reduction
from corolla.training.schedule import learning_rate, scale_lr
from corolla.training.state import NonFiniteError, TrainState
from corolla.training.stop import Stop
from corolla.training.validation import evaluate, keep_predictions

OnStep = Callable[[TrainState, Batch, float, torch.Tensor], None]
"""Called after every update with the state, the batch, the learning rate and the batch's mean loss (on the device)."""


def fit(
    state: TrainState,
    run: Run,
    index: Index,
    stop: Stop | AgreedStop,
    *,
    photos: RunPhotos,
    on_step: OnStep | None = None,
    ranks: Ranks = ALONE,
) -> None:
    """Train to the last epoch, to where --train.stop-early ends it, or until `stop` says so.

    Args:
        photos: those of `index`, loaded.
        ranks: the processes that do so together; the leader alone writes into `run`.

    Raises:
        TrainingFailed: the numbers are not finite any more, or the device fails.
        PeerLostError: another process has ended.
    """
    config, progress = state.config, state.progress
    train_set, val_set, workers = photos.train, photos.val, photos.workers
    assert workers is not None
    log.info(photos.cached)
    epoch_steps = steps_per_epoch(len(train_set), config.train.batch_size, config.train.repeat)
    sampler = _sampler(state, train_set, epoch_steps, ranks)
    if isinstance(stop, AgreedStop):
        state.reduction = Reduction(state.model, ranks, stop, parts=sampler.parts, num_images=sampler.num_images)
    val_sampler = EvalBatchSampler(photos.num_val, photos.val_batch_size, ranks.rank, ranks.number)
    with (
        run_batches(
            workers,
            sampler,
            val_sampler,
            epoch_steps=epoch_steps,
            val_is_next=progress.step == (state.epoch + 1) * epoch_steps,
            device=state.device,
            source=photos.train_source(state.photos),
        ) as batches,
        _log_of(run, state, sampler, index) if ranks.leads else NoLog(run) as run_log,
    ):
        parts, total = PartSize(BATCH_SIZE * state.meta.input_size**2), val_sampler.num_own

        def validate() -> Metrics | None:
            assert val_set is not None
            return evaluate(state, val_set, batches.val(), total=total, stop=stop, parts=parts, ranks=ranks)

        try:
            validation = None if val_set is None else validate
            metrics = run_steps(
                state, batches, run_log, stop, validate=validation, epoch_steps=epoch_steps, on_step=on_step
            )
            if val_set is not None and metrics is not None and ranks.leads:
                keep_predictions(state, run, val_set, metrics)
        except NonFiniteError as error:
            ids = [str(train_set.split.id[i % len(train_set)]) for i in sampler.whole(error.step - 1).indices]
            lr = _lr_of_step(state, error.step - 1, epoch_steps)
            raise NumbersFailed(explain_numbers(error, state, run, lr=lr, ids=ids)) from None
        except RuntimeError as error:
            if (line := explain_fault(error, state, run)) is None:
                raise
            raise TrainingFailed(line) from None


def _sampler(state: TrainState, photos: TFRecordDataset, epoch_steps: int, ranks: Ranks) -> TrainBatchSampler:
    """Return the batches of training that are left, in so far as this process computes them."""
    train = state.config.train
    return TrainBatchSampler(
        len(photos),
        train.batch_size,
        train.seed,
        state.progress.step,
        train.epochs * epoch_steps,
        balance=train.balance,
        labels=photos.split.label,
        repeat=train.repeat,
        parts=Parts(train.num_parts, ranks.rank, ranks.number),
    )


def _log_of(run: Run, state: TrainState, sampler: TrainBatchSampler, index: Index) -> RunLog:
    progress = state.progress
    return RunLog(
        run,
        rows=progress.history,
        step=progress.step,
        total=sampler.stop * sampler.num_images,
        done=progress.step * sampler.num_images,
        class_names=index.class_names,
    )


def run_steps(
    state: TrainState,
    batches: Iterator[Batch],
    run_log: RunLog | NoLog,
    stop: Stop | AgreedStop,
    *,
    validate: Callable[[], Metrics | None] | None,
    epoch_steps: int,
    on_step: OnStep | None = None,
) -> Metrics | None:
    """Run the loop itself, in epochs of `epoch_steps`. `validate` gives None where it was told to stop.

    Returns the metrics of the last epoch; None where `stop` came before, or nothing is validated (`validate` None).

    Raises:
        TrainingFailed: the network gives no numbers for val.
    """
    run, config, progress = run_log.run, state.config, state.progress
    clock, is_over, metrics = Clock(progress.seconds), False, None
    last_step = config.train.epochs * epoch_steps
    while True:
        stopped = stop.reason is not None  # asked once, so that a signal cannot fall between saving and leaving
        if stopped or clock.minutes_since_save >= config.train.checkpoint_minutes:
            state.sync_and_check()
            progress.seconds = clock.total
            with clock.part("save"):
                run_log.save(state, run.last)
            clock.saved()
        if stopped:
            return None
        if progress.step == (state.epoch + 1) * epoch_steps:  # an epoch is over, and not evaluated yet
            state.sync_and_check(is_last=progress.step == last_step)
            if validate is not None:
                with clock.part("val"):
                    metrics = validate()
                if metrics is None:
                    continue  # to save and leave; the evaluation comes first when the run is resumed
                check_validation(metrics, state, run)
            progress.history.append(_row(state, metrics, _lr_of_step(state, progress.step - 1, epoch_steps)))
            is_over = stops_early(progress.history, config, since=progress.waits_from)
            if is_over:
                state.sync_and_check(is_last=True)
            state.next_epoch()
            progress.seconds = clock.total
            with clock.part("save"):
                run_log.save(state, *_checkpoints(run, state))
            timing = clock.epoch(state.device)
            if state.loss_scale is not None:
                timing["loss_scale"] = state.loss_scale
            is_last = is_over or progress.step == last_step
            run_log.epoch(progress.history, epochs=config.train.epochs, is_last=is_last, timing=timing, metrics=metrics)
        if is_over:
            log.info(f"{stopping_line(progress.history, config)}; it is done")
        if is_over or progress.step == last_step:
            return metrics

        with clock.part("wait"):
            batch = next(batches)
        run_log.batch(progress.step + 1, batch)
        lr = _lr_of_step(state, progress.step, epoch_steps)
        seen = progress.num_seen
        loss = update(state, batch, lr)
        clock.images += progress.num_seen - seen
        run_log.advance(progress.num_seen - seen)
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


def _row(state: TrainState, metrics: Metrics | None, lr: float) -> dict[str, Any]:
    """Return a line of metrics.jsonl: only what config and data decide; null for scores where nothing is validated."""
    progress = state.progress
    return {
        "epoch": state.epoch + 1,
        "step": progress.step,
        "lr": lr,
        "train_loss": progress.loss_sum / progress.num_seen,
        **(dict.fromkeys(SCORES) if metrics is None else _scores(metrics)),
        "train_top1": None if progress.num_right is None else progress.num_right / progress.num_seen,
    }


def _scores(metrics: Metrics) -> dict[str, float]:
    return {"val_loss": metrics.loss, **{name: getattr(metrics, name) for name in SCORES[1:]}}


def _checkpoints(run: Run, state: TrainState) -> list[Path]:
    """Return where an epoch's end is saved: last.pt comes last, so what a kill cuts off is done again on resuming."""
    train, rows = state.config.train, state.progress.history
    paths = []
    if train.keep_every and len(rows) % train.keep_every == 0:
        paths.append(run.folder / f"epoch-{len(rows):03d}.pt")
    if train.on == "train" and best_row(rows[state.progress.inherited :], train.select_by) is rows[-1]:
        paths.append(run.best)
    return [*paths, run.last]
