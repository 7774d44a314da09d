"""`corolla predict`: a run's checkpoint and a split to a file of ids and probabilities.

torch is imported once it is clear that there is something to predict.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from corolla.data.competition import SplitName
from corolla.data.index import Index, load_index, split_of
from corolla.data.transforms.tta import ViewOptions, Views
from corolla.errors import Failure, UserError
from corolla.evaluation.predictions import Predictions, StalePredictions, current_predictions
from corolla.files import sha256
from corolla.paths import AnyPath, as_path
from corolla.results import Result
from corolla.runs.best_epoch import best_fault
from corolla.runs.folder import CheckpointName, Run, data_of, open_run
from corolla.text_files import printable

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PredictOptions(ViewOptions):
    """Options of a prediction."""

    split: SplitName = "test"
    """train, val or test."""
    checkpoint: CheckpointName = "best"
    """best (chosen on val) or last."""
    data: Path | None = None
    """The data folder; default: the one the run was trained with."""
    cache_dir: Path | None = None
    """Folder for the index; default: the user's cache."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    batch_size: int = 64
    """Views of the training's size that go through the network at once; of larger ones fewer."""
    workers: int | None = None
    """Decoding processes; default: by the number of cores."""
    bad_images: Literal["stop", "grey"] = "stop"
    """stop: a JPEG that does not decode stops the work; grey: it counts as a grey image."""

    def __post_init__(self) -> None:
        for name in ("data", "cache_dir"):  # text is taken too
            object.__setattr__(self, name, as_path(getattr(self, name)))
        if self.checkpoint not in ("best", "last"):
            raise UserError(f"--checkpoint {printable(self.checkpoint)}: best or last is expected")
        if self.batch_size < 1 or (self.workers is not None and self.workers < 0):
            raise UserError("--batch-size must be at least 1, --workers at least 0")


@dataclass(frozen=True, repr=False)
class PredictResult(Result):
    """Predictions, and the file that holds them."""

    path: Path
    predictions: Predictions
    class_names: tuple[str, ...]
    made: bool
    """False: the file was there already, made by the same checkpoint."""

    @property
    def summary(self) -> str:
        """The number of photos and the file."""
        return f"{len(self.predictions.ids)} photos of {len(self.class_names)} classes, {self.path}"

    def to_pandas(self) -> "pd.DataFrame":
        """Return a row per photo: id, label and name predicted, its probability, and the truth where it is known."""
        import pandas as pd

        found = self.predictions
        label = found.probabilities.argmax(axis=1)
        columns = {
            "id": found.ids,
            "label": label,
            "name": np.asarray(self.class_names)[label],
            "probability": found.probabilities.max(axis=1),
        }
        return pd.DataFrame(columns if found.labels is None else {**columns, "truth": found.labels})


def predict(folder: AnyPath, options: PredictOptions | None = None, **changes: Any) -> PredictResult:
    """Predict a split with a run, unless it was done already with the checkpoint as it is now.

    A file of predictions that is damaged, of another checkpoint or of other photos is made again.

    Args:
        folder: the run's folder, or the `Run`.
        options: see PredictOptions.
        changes: of single options: `predict(folder, split="val", tta="ten-crop")`.

    Raises:
        UserError: no such run, checkpoint, data, split or views, or an image that does not decode.
        Failure: the device fails, or its memory is too small for one view; the numbers are not finite in fp32 either.
    """
    options = replace(options or PredictOptions(), **changes)
    views = options.views
    run = open_run(folder)
    source = run.checkpoint(options.checkpoint)
    if not source.exists():
        raise UserError(f"{source}: there is no such checkpoint yet; train the run's first epoch to its end")
    index = load_index(options.data or data_of(run), run.config.size, options.cache_dir)
    if options.checkpoint == "best" and (fault := best_fault(run)):
        log.warning("%s: %s; was the folder restored in part? --checkpoint last is sure", run.folder, fault)
    split = split_of(index, options.split)
    path = run.predictions(split.name, views.name, options.checkpoint)
    try:
        current = current_predictions(run, split.name, views.name, options.checkpoint, index=index)
        return PredictResult(path, current, index.class_names, made=False)
    except StalePredictions:
        predictions = _compute(run, index, views, options)
    predictions.save(path)
    return PredictResult(path, predictions, index.class_names, made=True)


def _compute(run: Run, index: Index, views: Views, options: PredictOptions) -> Predictions:
    from corolla.data.dataset import TFRecordDataset
    from corolla.data.transforms.views import ViewsTransform
    from corolla.device import choose_device, num_workers
    from corolla.device_errors import faults_told
    from corolla.evaluation.inference import predict_probabilities
    from corolla.evaluation.tta_model import TTAModel
    from corolla.runs.checkpoint import load_checkpoint, read_progress, rebuild_model

    device = choose_device(options.device)
    source = run.checkpoint(options.checkpoint)
    digest, content = sha256(source), load_checkpoint(source)
    model, meta = rebuild_model(content)
    if index.class_names != meta.class_names:
        raise UserError(f"{index.folder}: its classes are not those that {source} was trained for")
    transform = ViewsTransform(
        meta.input_size,
        views,
        crop_fraction=meta.preprocessing.crop_fraction,
        interpolation=meta.preprocessing.interpolation,
        augment=meta.config.augment,
    )
    dataset = TFRecordDataset(index, options.split, transform, bad_images=options.bad_images)
    smaller = "use --device cpu" if device.type != "cpu" else "use --workers 0"  # fewer views were tried by then
    with faults_told(device, "in prediction", memory=f"close other programs that hold it, or {smaller}"):
        network = TTAModel(model, meta, transform, device=device, batch_size=options.batch_size)
        probabilities = predict_probabilities(
            network,
            dataset,
            batch_size=network.batch_size,
            device=device,
            workers=num_workers(options.workers, device),
            title=f"predict {options.split}",
        )
    assert probabilities is not None, "nothing stops it"
    if not np.isfinite(probabilities).all():
        raise Failure(
            f"{source}: its network gives no finite probabilities for {options.split}, not in fp32 either: its weights "
            "have grown too large; train it again with a lower --optim.lr"
        )
    split, progress = dataset.split, read_progress(content)
    return Predictions(
        ids=split.id,
        probabilities=probabilities,
        labels=split.label if (split.label >= 0).all() else None,
        checkpoint=digest,
        fingerprint=split.fingerprint,
        epochs=len(progress.history),
        seconds=progress.seconds,
        class_names=meta.class_names,
    )
