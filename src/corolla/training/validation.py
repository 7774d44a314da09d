"""Validation in training: the weights of the moment on every photo of val, as `corolla predict` computes them."""

import copy
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from corolla.data.dataset import TFRecordDataset
from corolla.data.loader import Batch
from corolla.data.transforms.views import ViewsTransform
from corolla.evaluation.inference import predict_batches
from corolla.evaluation.metrics import Metrics, metrics_of_probabilities
from corolla.evaluation.predictions import Predictions
from corolla.evaluation.tta_model import PartSize, TTAModel
from corolla.files import sha256
from corolla.runs.folder import Run
from corolla.runs.folds import fold_key
from corolla.training.agreed_stop import EVALUATION_S, AgreedStop
from corolla.training.log import log
from corolla.training.ranks import ALONE, Ranks
from corolla.training.state import TrainState
from corolla.training.stop import Stop


def evaluate(
    state: TrainState,
    dataset: TFRecordDataset,
    batches: Iterable[Batch],
    *,
    total: int,
    stop: Stop | AgreedStop,
    parts: PartSize | None = None,
    ranks: Ranks = ALONE,
) -> Metrics | None:
    """Return the metrics of the evaluated weights on `dataset`, as `corolla predict` computes them; None if stopped.

    Args:
        dataset: val.
        batches: those of its batches that this process computes.
        total: images in them.
        stop: asked before each batch.
        parts: views that go through the network at once.
        ranks: the processes that share the batches.
    """
    transform = dataset.transform
    assert isinstance(transform, ViewsTransform)
    model = evaluation_network(state, transform, parts)
    probabilities = predict_batches(
        model,
        dataset,
        batches,
        total=total,
        title="evaluate",
        stopped=lambda: stop.is_asked,
        progress=ranks.leads,
    )
    if isinstance(stop, AgreedStop):
        probabilities = _of_all(probabilities, ranks, stop)
    if probabilities is None:
        return None
    return metrics_of_probabilities(probabilities, dataset.split.label)


def _of_all(own: NDArray[np.float32] | None, ranks: Ranks, stop: AgreedStop) -> NDArray[np.float32] | None:
    """Return the probabilities that all processes have computed, each of other images; None if one was stopped."""
    with stop.waiting(EVALUATION_S):
        was_stopped = any(ranks.gather(own is None))
    stop.agree(was_stopped)
    if own is None or was_stopped:
        return None
    with stop.waiting(EVALUATION_S):
        ranks.add(torch.from_numpy(own))  # each row is 0 in all processes but one
    return own


def evaluation_network(state: TrainState, transform: ViewsTransform, parts: PartSize | None = None) -> TTAModel:
    """Return a copy of the network that is evaluated, as inference has it."""
    return TTAModel(_uncompiled_copy(state.eval_model), state.meta, transform, device=state.device, parts=parts)


def _uncompiled_copy(model: torch.nn.Module) -> torch.nn.Module:
    """Return a copy on the CPU and in eval mode, as a checkpoint would give it, which inference may change."""
    compiled, model._compiled_call_impl = model._compiled_call_impl, None  # pyright: ignore[reportAttributeAccessIssue]
    try:
        return copy.deepcopy(model).cpu().eval()
    finally:
        model._compiled_call_impl = compiled  # pyright: ignore[reportAttributeAccessIssue]


def keep_predictions(state: TrainState, run: Run, val_set: TFRecordDataset, metrics: Metrics) -> None:
    """Write what the last epoch's weights say of val, as `corolla predict` would compute it once more."""
    records, progress = val_set.split, state.progress
    assert metrics.probabilities is not None
    found = Predictions(
        ids=records.id,
        probabilities=metrics.probabilities,
        labels=records.label,
        checkpoint=sha256(run.last),
        fingerprint=records.fingerprint,
        epochs=len(progress.history),
        seconds=progress.seconds,
        class_names=state.meta.class_names,
        fold=fold_key(run),
    )
    try:
        found.save(run.predictions("val", "none", "last"))
    except OSError as error:  # training is done, and they can be made again
        log.warning("%s: the predictions of val are not written (%s)", run.folder, error)
