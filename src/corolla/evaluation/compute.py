"""A run's checkpoint on every photo of a split: what is computed for splits and for single photos."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from corolla.checked import check_fields
from corolla.data.competition import SplitName
from corolla.data.index import Index
from corolla.data.transforms.tta import ViewOptions, Views
from corolla.errors import Failure, UserError
from corolla.evaluation.predictions import Predictions
from corolla.files import sha256
from corolla.paths import as_path
from corolla.runs.folder import CheckpointName, Run


@dataclass(frozen=True, kw_only=True)
class PredictOptions(ViewOptions):
    """Options of a prediction."""

    split: SplitName | None = None
    """train, val or test; default: both val and test (in Python: test, or val where the data have no test photos)."""
    checkpoint: CheckpointName = "best"
    """best (chosen on val) or last."""
    data: Path | None = None
    """The data folder; default: the one the run was trained with."""
    size: int | None = None
    """Which tfrecords-jpeg-SxS: others than the run was trained with are taken; default: the run's."""
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
        check_fields(self)
        if self.batch_size < 1 or (self.workers is not None and self.workers < 0):
            raise UserError("--batch-size must be at least 1, --workers at least 0")


def checkpoint_of(run: Run, options: PredictOptions) -> Path:
    """Return the checkpoint that predicts.

    Raises:
        UserError: it is not there.
    """
    source = run.checkpoint(options.checkpoint)
    if not source.exists():
        raise UserError(f"{source}: there is no such checkpoint yet; train the run's first epoch to its end")
    return source


def compute_predictions(run: Run, index: Index, split: SplitName, views: Views, options: PredictOptions) -> Predictions:
    """Return the predictions of a run for a split of `index`, whatever the size of its photos.

    torch is imported here, once it is clear that there is something to predict.

    Raises:
        UserError: the data have other classes than the run, an image does not decode, or there is no such checkpoint.
        Failure: the device fails, or its memory is too small for one view; the numbers are not finite in fp32 either.
    """
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
    dataset = TFRecordDataset(index, split, transform, bad_images=options.bad_images)
    smaller = "use --device cpu" if device.type != "cpu" else "use --workers 0"  # fewer views were tried by then
    with faults_told(device, "in prediction", memory=f"close other programs that hold it, or {smaller}"):
        network = TTAModel(model, meta, transform, device=device, batch_size=options.batch_size)
        probabilities = predict_probabilities(
            network,
            dataset,
            batch_size=network.batch_size,
            device=device,
            workers=num_workers(options.workers, device),
            title=f"predict {split}",
        )
    assert probabilities is not None, "nothing stops it"
    if not np.isfinite(probabilities).all():
        raise Failure(
            f"{source}: its network gives no finite probabilities for {split}, not in fp32 either: its weights "
            "have grown too large; train it again with a lower --optim.lr"
        )
    records, progress = dataset.split, read_progress(content)
    return Predictions(
        ids=records.id,
        probabilities=probabilities,
        labels=records.label if (records.label >= 0).all() else None,
        checkpoint=digest,
        fingerprint=records.fingerprint,
        epochs=None if meta.imported else len(progress.history),
        seconds=None if meta.imported else progress.seconds,
        class_names=meta.class_names,
    )
