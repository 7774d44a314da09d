"""`corolla predict`: a run's checkpoint and a split to a file of ids and probabilities."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm.auto import tqdm

from corolla.data.flowers import Flowers
from corolla.data.index import load_index
from corolla.data.loader import EvalBatches, load_batches
from corolla.data.transforms import EvalTransform, stored_as
from corolla.device import DTYPES, choose_device, choose_precision, num_workers
from corolla.errors import UserError
from corolla.evaluation.predictions import TTA, CheckpointName, Predictions, SplitName
from corolla.evaluation.tta import average_views
from corolla.files import sha256
from corolla.models.fold import fold_batch_norms
from corolla.models.normalise import Normalise
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
        data: the data folder; default: where the run was trained.

    Raises:
        UserError: no such run, checkpoint, data or split, or an image that does not decode.
    """
    run = open_run(folder)
    source = run.best if checkpoint == "best" else run.last
    if not source.exists():
        raise UserError(f"{source}: there is no such checkpoint yet; train the run's first epoch to its end")
    path, digest = run.predictions(split, tta, checkpoint), sha256(source)
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
    preprocessing = description.preprocessing
    photos.transform = EvalTransform(
        description.input_size,
        crop_fraction=preprocessing.crop_fraction,
        interpolation=preprocessing.interpolation,
        tta=tta,
    )
    probabilities = _probabilities(
        model, description, photos, device=chosen, batch_size=batch_size, workers=num_workers(workers, chosen)
    )
    labels = photos.split.label if (photos.split.label >= 0).all() else None
    progress = content["progress"]
    predictions = Predictions(
        photos.split.id, probabilities, labels, digest, epochs=len(progress["rows"]), seconds=progress["seconds"]
    )
    predictions.save(path)
    return PredictResult(path, predictions, loaded.class_names, made=True)


def _current(path: Path, digest: str, photos: Flowers) -> Predictions | None:
    """What `path` holds, if the checkpoint with this digest made it of these photos."""
    try:
        there = Predictions.load(path)
    except UserError:  # not there, or damaged
        return None
    same = there.checkpoint == digest and np.array_equal(there.ids, photos.split.id)
    return there if same else None


@torch.inference_mode()
def _probabilities(
    model: nn.Module,
    description: Description,
    photos: Flowers,
    *,
    device: torch.device,
    batch_size: int,
    workers: int,
) -> NDArray[np.float32]:
    """N x classes. Each photo is decoded once, whatever the number of its views."""
    classify = Classifier(model, description, device)
    assert isinstance(photos.transform, EvalTransform)
    probabilities = np.empty((len(photos), len(description.class_names)), np.float32)
    plan = EvalBatches(len(photos), max(1, batch_size // photos.transform.num_views))
    with (
        closing(load_batches(photos, plan, workers=workers, device=device)) as batches,
        tqdm(total=len(photos), unit="img", desc=f"predict {photos.split.name}", disable=None, leave=False) as bar,
    ):
        for batch in batches:
            num_photos, num_views = batch.images.shape[:2]
            logits = torch.cat([classify(part) for part in batch.images.flatten(0, 1).split(batch_size)])
            averaged = average_views(logits.unflatten(0, (num_photos, num_views)))
            probabilities[batch.indices.numpy()] = averaged.cpu().numpy()
            bar.update(num_photos)
    return probabilities


class Classifier:
    """A trained network made ready for inference: batch norms folded, weights in the precision that is native."""

    def __init__(self, model: nn.Module, description: Description, device: torch.device) -> None:
        """`model`, in eval mode, is changed in place."""
        train = description.config.train
        precision = choose_precision(train.precision if train.precision != "fp16" else "auto", device)
        memory_format = torch.channels_last if train.channels_last else torch.contiguous_format
        fold_batch_norms(model)
        self._dtype = DTYPES[precision]
        self._model = model.to(device=device, dtype=self._dtype, memory_format=memory_format)  # pyright: ignore[reportCallIssue] - missing overload
        self._normalise = Normalise(description.preprocessing, channels_last=train.channels_last).to(device)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 N x H x W x 3, on the device -> logits N x classes, float32."""
        return self._model(self._normalise(images).to(self._dtype)).float()
