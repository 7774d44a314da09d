"""`corolla predict`: a run's checkpoint and a split to a file of ids and probabilities."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from corolla.data.flowers import Flowers
from corolla.data.index import Split, load_index
from corolla.data.loader import EvalBatches, load_batches
from corolla.data.transforms import stored_as
from corolla.data.views import ViewsTransform
from corolla.device import choose_device, num_workers
from corolla.errors import Failure, UserError
from corolla.evaluation.predictions import TTA, CheckpointName, Predictions, SplitName
from corolla.evaluation.tta import Average, Views, parse_tta
from corolla.evaluation.view_classifier import ViewClassifier
from corolla.files import sha256
from corolla.training.checkpoint import Description, load_checkpoint, rebuild_model
from corolla.training.run import data_of, open_run


@dataclass(frozen=True)
class PredictResult:
    """What `predict` did."""

    path: Path
    predictions: Predictions
    class_names: tuple[str, ...]
    made: bool
    """False: the file was there already, made by the same checkpoint."""


def predict(
    folder: Path,
    *,
    split: SplitName = "test",
    tta: TTA = "none",
    crop_fraction: float | None = None,
    view_size: int | None = None,
    average: Average | None = None,
    checkpoint: CheckpointName = "best",
    data: Path | None = None,
    index: Path | None = None,
    device: str = "auto",
    batch_size: int = 64,
    workers: int | None = None,
    bad_images: Literal["stop", "grey"] = "stop",
) -> PredictResult:
    """Predict `split` with the run in `folder`, unless it was done already with the checkpoint as it is now.

    A file of predictions that is damaged, of another checkpoint or of other photos is made again.

    Args:
        tta: the views, by the names of evaluation/tta.py, which may say the three that follow as well.
        crop_fraction: of the fixed crops; default: the weights' own.
        view_size: pixels a side; default: as in training.
        average: the views' probabilities (default) or logits.
        data: the data folder; default: where the run was trained.
        batch_size: views of the training's size that go through the network at once; of larger ones fewer.

    Raises:
        UserError: no such run, checkpoint, data, split or views, or an image that does not decode.
    """
    views = parse_tta(tta).having(crop_fraction=crop_fraction, size=view_size, average=average)
    run = open_run(folder)
    source = run.best if checkpoint == "best" else run.last
    if not source.exists():
        raise UserError(f"{source}: there is no such checkpoint yet; train the run's first epoch to its end")
    path, digest = run.predictions(split, views.name, checkpoint), sha256(source)
    loaded = load_index(data or data_of(run), run.config.size, index)
    photos = Flowers(loaded, split, bad_images=bad_images, stored=stored_as(run.config.pipeline))
    there = _current(path, digest, photos)
    if there is not None:
        return PredictResult(path, there, loaded.class_names, made=False)

    chosen = choose_device(device)
    content = load_checkpoint(source)
    model, description = rebuild_model(content)
    if loaded.class_names != description.class_names:
        raise UserError(f"{loaded.folder}: its classes are not those that {source} was trained for")
    photos.transform = _transform(description, views)
    classify = ViewClassifier(model, description, photos.transform, device=chosen, batch_size=batch_size)
    probabilities = _probabilities(classify, photos, device=chosen, workers=num_workers(workers, chosen))
    predictions = _with_origin(probabilities, photos.split, digest, content["progress"])
    predictions.save(path)
    return PredictResult(path, predictions, loaded.class_names, made=True)


def _with_origin(
    probabilities: NDArray[np.float32], split: Split, checkpoint: str, progress: dict[str, Any]
) -> Predictions:
    """The rows of `split`, and what `_current` will know them by."""
    return Predictions(
        ids=split.id,
        probabilities=probabilities,
        labels=split.label if (split.label >= 0).all() else None,
        checkpoint=checkpoint,
        fingerprint=split.fingerprint,
        epochs=len(progress["rows"]),
        seconds=progress["seconds"],
    )


def _current(path: Path, digest: str, photos: Flowers) -> Predictions | None:
    """What `path` holds, if the checkpoint with this digest made it of these very records.

    Ids do not tell: where records have none they are places, which other data have too, and labels may be corrected.
    """
    try:
        there = Predictions.load(path)
    except UserError:  # not there, or damaged
        return None
    same = (there.checkpoint, there.fingerprint) == (digest, photos.split.fingerprint)
    return there if same and np.array_equal(there.ids, photos.split.id) else None


def _transform(description: Description, views: Views) -> ViewsTransform:
    return ViewsTransform(
        description.input_size,
        views,
        crop_fraction=description.preprocessing.crop_fraction,
        interpolation=description.preprocessing.interpolation,
        augment=description.config.augment,
    )


@torch.inference_mode()
def _probabilities(
    classify: ViewClassifier, photos: Flowers, *, device: torch.device, workers: int
) -> NDArray[np.float32]:
    """N x classes. Each photo is decoded once, whatever the number of its views."""
    probabilities = np.empty((len(photos), len(photos.class_names)), np.float32)
    plan = EvalBatches(len(photos), classify.num_photos)
    with (
        closing(load_batches(photos, plan, workers=workers, device=device)) as batches,
        tqdm(total=len(photos), unit="img", desc=f"predict {photos.split.name}", disable=None, leave=False) as bar,
    ):
        for batch in batches:
            probabilities[batch.indices.numpy()] = classify(batch.images).cpu().numpy()
            bar.update(len(batch.images))
    if not np.isfinite(probabilities).all():
        raise Failure(
            f"the network gives no finite probabilities for {photos.split.name}: its numbers are too large for this "
            "device's precision; use --device cpu, or train with --train.precision fp32"
        )
    return probabilities
