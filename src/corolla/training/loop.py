"""`corolla train`: from TFRecords to a run folder, top to bottom."""

import dataclasses
import functools
import math
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from corolla.config import Config, validate
from corolla.data.cache import use_cache
from corolla.data.flowers import Batch, Flowers
from corolla.data.index import Index, load_index
from corolla.data.loader import EvalBatches, TrainBatches, load_batches, steps_per_epoch
from corolla.data.share import with_share
from corolla.device import autocast, choose_device, describe, idle_gpus, num_workers
from corolla.evaluation.metrics import Metrics, classification_metrics
from corolla.training.adopt import adopt
from corolla.training.checkpoint import Progress
from corolla.training.failures import TrainingFailed, explain, update
from corolla.training.learner import Learner
from corolla.training.log import Clock, RunLog
from corolla.training.notes import notes
from corolla.training.optim import learning_rate, scale_rate
from corolla.training.run import Run, locked, refuse_other_config, write_config, write_environment
from corolla.training.sets import data_sets, train_color
from corolla.training.start import continued_learner, input_size_of, new_learner, resumed_learner
from corolla.training.stop import Stop, stopping, time_budget
from corolla.training.tally import NotFinite


def train(config: Config, *, experiment: str = "custom") -> Run:
    """Train `config` into `runs/NAME`, or go on with the run that is there.

    Returns:
        The run; its `state` is "stopped" after a signal or at the end of the time budget.

    Raises:
        UserError: the data, a setting or the folder is not fit for it.
        TrainingFailed: the loss is not finite any more.
    """
    config = validate(config)
    index = with_share(load_index(config.data, config.size, config.index), config.train.share, config.train.seed)
    run = Run(config.runs / (config.run_name or f"{experiment}-seed{config.train.seed}"))
    config = dataclasses.replace(config, size=index.size, input_size=_input_size(config, run, index))
    budget = time_budget(config.train.max_hours)
    with locked(run.folder), stopping(budget.hours) as stop:
        refuse_other_config(run, config)
        adopt(run, config, index)
        if run.state == "done":
            print(f"{run.folder}: this run is finished ({config.train.epochs} epochs); nothing to do")
            return run
        learner = _start(run, config, index)
        write_config(run, config)  # not before: a start that fails must not take the run's name
        write_environment(
            run,
            experiment=experiment,
            device=describe(learner.device),
            precision=learner.precision,
            data=str(index.folder.resolve()),
            fingerprint=index.fingerprint,
            resumed_from=run.environment.get("resumed_from")
            or (str(config.resume_from) if config.resume_from else None),
        )
        for line in filter(None, (idle_gpus(learner.device), budget.note, *notes(config))):
            print(line)
        _fit(learner, run, config, index, stop)
        if stop.reason and run.state != "done":
            print(f"stopped: {stop.reason}; {run.last} holds step {learner.progress.step}, the same command goes on")
    return run


def _input_size(config: Config, run: Run, index: Index) -> int:
    """What was asked for, else that of the checkpoint to go on from, else the size of the records."""
    if config.input_size or config.resume_from is None:
        return config.input_size or index.size
    return input_size_of(run.folder if run.last.exists() else config.resume_from)  # the run's own wins, as ever


def _start(run: Run, config: Config, index: Index) -> Learner:
    """Resume, else go on from another run's checkpoint, else start from weights, else from scratch."""
    device = choose_device(config.device)
    if config.train.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    torch.use_deterministic_algorithms(config.train.deterministic)
    torch.backends.cudnn.benchmark = not config.train.deterministic
    if run.last.exists():
        learner = resumed_learner(run.last, index, device, config)
        print(f"resuming {run.folder} at step {learner.progress.step}, epoch {len(learner.progress.rows) + 1}")
    elif config.resume_from is not None:
        learner = continued_learner(config.resume_from, config, index, device)
        print(f"going on from {config.resume_from}, step {learner.progress.step}, as {run.folder}")
    else:
        learner = new_learner(config, index, device, train_color(config, index))
        print(f"training {config.model.name} (weights: {config.model.weights}) into {run.folder}")
    print(f"on {describe(device)} in {learner.precision}, {config.input_size} px")
    return learner


def _fit(learner: Learner, run: Run, config: Config, index: Index, stop: Stop) -> None:
    """Train to the last epoch, or until `stop` says so."""
    progress = learner.progress
    train_set, val_set = data_sets(learner, config, index)
    print(use_cache((train_set, val_set), config.pipeline.cache, config.index, stopped=lambda: stop.reason is not None))
    length = steps_per_epoch(len(train_set), config.train.batch_size)
    plan = TrainBatches(
        len(train_set),
        config.train.batch_size,
        config.train.seed,
        progress.step,
        config.train.epochs * length,
        balance=config.train.balance,
        labels=train_set.split.label,
    )
    workers = num_workers(config.pipeline.workers, learner.device)
    images_per_step = min(config.train.batch_size, len(train_set))
    with (
        closing(load_batches(train_set, plan, workers=workers, device=learner.device)) as batches,
        RunLog(
            run,
            rows=progress.rows,
            step=progress.step,
            total=plan.stop * images_per_step,
            done=progress.step * images_per_step,
            class_names=index.class_names,
        ) as log,
    ):
        check_val = functools.partial(
            evaluate, learner, val_set, batch_size=config.train.batch_size, workers=workers, stop=stop
        )
        try:
            run_steps(learner, run, config, batches, log, stop, check_val=check_val, length=length)
        except NotFinite as error:
            lr = _rate(learner, error.step - 1, length)
            raise TrainingFailed(explain(error, run, lr, plan, train_set)) from None


def run_steps(
    learner: Learner,
    run: Run,
    config: Config,
    batches: Iterator[Batch],
    log: RunLog,
    stop: Stop,
    *,
    check_val: Callable[[], Metrics | None],
    length: int,
) -> None:
    """The loop itself; epochs of `length` steps. `check_val` evaluates, unless it is told to stop."""
    progress, epochs = learner.progress, config.train.epochs
    clock = Clock(progress.seconds)
    while True:
        stopped = stop.reason is not None  # asked once, so that a signal cannot fall between saving and leaving
        if stopped or clock.minutes_since_save >= config.train.checkpoint_minutes:
            learner.look()
            progress.seconds = clock.total
            learner.save(run.last)
            clock.saved()
        if stopped:
            return
        if progress.step == (len(progress.rows) + 1) * length:  # an epoch is over, and not evaluated yet
            learner.look()
            metrics = check_val()
            if metrics is None:
                continue  # to save and leave; the evaluation comes first when the run is resumed
            progress.rows.append(_row(learner, metrics, _rate(learner, progress.step - 1, length)))
            learner.next_epoch()
            progress.seconds = clock.total
            learner.save(*_checkpoints(run, config, progress))
            log.epoch(progress.rows, epochs=epochs, timing=clock.epoch(learner.device), metrics=metrics)
        if progress.step == epochs * length:
            return

        batch = next(batches)
        log.batch(progress.step + 1, batch)
        lr = _rate(learner, progress.step, length)
        loss = update(learner, batch, lr)
        clock.images += len(batch.labels)
        log.advance(len(batch.labels))
        if progress.step % config.train.log_steps == 0:
            learner.look()
            log.step(progress.step, loss, lr)


def _rate(learner: Learner, step: int, length: int) -> float:
    """The learning rate of a step (from 0) of the epoch under way; epochs have `length` steps."""
    config = learner.description.config
    val_losses = [row["val_loss"] for row in learner.progress.rows]
    optim = scale_rate(config.optim, config.train.batch_size)
    return learning_rate(optim, step, steps_per_epoch=length, epochs=config.train.epochs, val_losses=val_losses)


@torch.inference_mode()
def evaluate(learner: Learner, dataset: Flowers, *, batch_size: int, workers: int, stop: Stop) -> Metrics | None:
    """Every sample of `dataset` exactly once, centre crop, with the weights that count; None if `stop` came first."""
    model = learner.evaluated.eval()
    logits, labels = [], []
    batches = EvalBatches(len(dataset), batch_size)
    with (
        closing(load_batches(dataset, batches, workers=workers, device=learner.device)) as loaded,
        tqdm(total=len(dataset), unit="img", desc="evaluate", disable=None, leave=False) as bar,
    ):
        for batch in loaded:
            if stop.reason:
                return None
            with autocast(learner.device, learner.precision):
                logits.append(model(learner.normalise(batch.images.flatten(0, 1))).float())
            labels.append(batch.labels)
            bar.update(len(batch.labels))
    return classification_metrics(torch.cat(logits).cpu().numpy(), torch.cat(labels).cpu().numpy())


def _row(learner: Learner, metrics: Metrics, lr: float) -> dict[str, Any]:
    """A line of metrics.jsonl: only what config and data decide."""
    progress = learner.progress
    return {
        "epoch": len(progress.rows) + 1,
        "step": progress.step,
        "lr": lr,
        "train_loss": progress.loss_sum / progress.num_seen,
        "val_loss": metrics.loss,
        "top1": metrics.top1,
        "top5": metrics.top5,
        "macro_f1": metrics.macro_f1,
    }


def best_row(rows: list[dict[str, Any]], select_by: str) -> dict[str, Any]:
    """The epoch that best.pt holds: the first with the highest macro F1, or the lowest val loss."""

    def quality(row: dict[str, Any]) -> float:
        value = row["macro_f1"] if select_by == "macro_f1" else -row["val_loss"]
        return -math.inf if math.isnan(value) else value

    return max(rows, key=quality)


def _checkpoints(run: Run, config: Config, progress: Progress) -> list[Path]:
    """Where an epoch's end is saved. last.pt comes last: whatever a kill cuts off is then done again on resuming."""
    paths, rows = [], progress.rows
    if config.train.keep_every and len(rows) % config.train.keep_every == 0:
        paths.append(run.folder / f"epoch-{len(rows):03d}.pt")
    if best_row(rows[progress.inherited :], config.train.select_by) is rows[-1]:
        paths.append(run.best)
    return [*paths, run.last]
