"""A run's checkpoint on every photo of a split: what is computed for splits and for single photos."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from corolla.checked import check_fields
from corolla.data.competition import SplitName
from corolla.data.index import Index
from corolla.data.transforms.tta import ViewOptions, Views
from corolla.errors import Failure, UserError
from corolla.evaluation.predictions import Predictions
from corolla.evaluation.share import Share, compute_in_processes, compute_share
from corolla.paths import as_path
from corolla.runs.best_epoch import counting_checkpoint
from corolla.runs.folder import CheckpointName, Run

if TYPE_CHECKING:
    from corolla.runs.checkpoint import ModelMeta, Progress

PHOTOS_A_GPU = 512
"""Photos for which another GPU is worth its start."""


@dataclass(frozen=True, kw_only=True)
class PredictOptions(ViewOptions):
    """Options of a prediction."""

    split: Literal["train", "val", "test", "oof"] | None = None
    """train, val or test; default: both val and test (in Python: test, or val where the data have no test photos). oof:
    out of fold, all photos of train and val, each by the run of a cross-validation that has not learned it."""
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
    gpus: int | Literal["all"] = "all"
    """GPUs of this machine that share the photos, where it has several; few photos take no more than they need."""
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
        if isinstance(self.gpus, int) and self.gpus < 1:
            raise UserError(f"--gpus {self.gpus}: a whole number of at least 1, or all, is expected")
        if self.batch_size < 1 or (self.workers is not None and self.workers < 0):
            raise UserError("--batch-size must be at least 1, --workers at least 0")


def checkpoint_of(run: Run, options: PredictOptions) -> Path:
    """Return the checkpoint that predicts.

    Raises:
        UserError: it is not there.
    """
    source = run.checkpoint(counting_checkpoint(run, options.checkpoint))
    if not source.exists():
        raise UserError(f"{source}: there is no such checkpoint yet; train the run's first epoch to its end")
    return source


def compute_predictions(
    runs: Sequence[Run], index: Index, split: SplitName, views: Views, options: PredictOptions
) -> Iterator[Predictions]:
    """Yield the predictions of each run for a split of `index`, whatever the size of its photos, which decode once.

    torch is imported here, once it is clear that there is something to predict.

    Raises:
        UserError: the data have other classes than a run, an image does not decode, or there is no such checkpoint.
        Failure: the device fails, or its memory is too small for one view; the numbers are not finite in fp32 either.
    """
    from corolla.runs.checkpoint import load_with_digest, read_meta, read_progress

    sources = [run.checkpoint(options.checkpoint) for run in runs]
    digests: list[str] = []
    facts: list[tuple[ModelMeta, Progress]] = []
    for source in sources:
        content, digest = load_with_digest(source)
        meta = read_meta(content)
        if index.class_names != meta.class_names:
            raise UserError(f"{index.folder}: its classes are not those that {source} was trained for")
        digests.append(digest)
        facts.append((meta, read_progress(content)))
    records = index.splits[split]
    devices = devices_for(options, len(records.id))
    share = Share(
        tuple(zip(sources, digests, strict=True)),
        index,
        split,
        views,
        options.bad_images,
        options.batch_size,
        options.workers,
        device=devices[0],
    )
    probabilities = compute_in_processes(share, devices) if len(devices) > 1 else compute_share(share)
    for number, (source, digest, (meta, progress)) in enumerate(zip(sources, digests, facts, strict=True)):
        yield Predictions(
            ids=records.id,
            probabilities=_finite(probabilities[:, number], source, split),
            labels=records.label if (records.label >= 0).all() else None,
            checkpoint=digest,
            fingerprint=records.fingerprint,
            epochs=None if meta.imported else len(progress.history),
            seconds=None if meta.imported else progress.seconds,
            class_names=meta.class_names,
        )


def _finite(probabilities: NDArray[np.float32], source: Path, split: str) -> NDArray[np.float32]:
    """Return a copy of its own of probabilities that are numbers.

    Raises:
        Failure: some are not.
    """
    if not np.isfinite(probabilities).all():
        raise Failure(
            f"{source}: its network gives no finite probabilities for {split}, not in fp32 either: its weights "
            "have grown too large; train it again with a lower --optim.lr"
        )
    return np.ascontiguousarray(probabilities)


def devices_for(options: PredictOptions, num_photos: int) -> list[str]:
    """Return the devices that predict: of several GPUs as many as are worth the seconds in which a process starts.

    Raises:
        UserError: --gpus asks for more GPUs than there are, or beside a single device.
    """
    import torch

    if options.device not in ("auto", "cuda"):
        if isinstance(options.gpus, int) and options.gpus > 1:
            raise UserError(f"--gpus {options.gpus}: --device {options.device} is one device: give one of the two")
        return [options.device]
    there = torch.cuda.device_count()
    if isinstance(options.gpus, int) and options.gpus > max(1, there):
        raise UserError(f"--gpus {options.gpus}: torch sees {there or 'no'} GPU{'s' * (there != 1)} here")
    asked = options.gpus if isinstance(options.gpus, int) else min(there, -(-num_photos // PHOTOS_A_GPU))
    return [f"cuda:{number}" for number in range(asked)] if asked > 1 else [options.device]
