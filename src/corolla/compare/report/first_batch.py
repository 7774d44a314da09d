"""The first photos of a run's training, as the network was given them."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from corolla.compare.report.photos import SIDE
from corolla.data.index import Index
from corolla.data.sampler import TrainBatchSampler
from corolla.errors import UserError
from corolla.plots.html import jpeg_uri, photo_jpeg
from corolla.runs.checkpoint import ModelMeta, load_checkpoint, read_meta
from corolla.runs.corrections import trained_index
from corolla.runs.data import index_for
from corolla.runs.folder import Run
from corolla.runs.same_data import check_same_data
from corolla.training.datasets import build_datasets

NUM_SHOWN = 24


@dataclass(frozen=True)
class FirstBatch:
    """Photos as data URIs with the names of their classes; none where they can't be made again."""

    photos: tuple[tuple[str, str], ...] = ()
    why_not: str = ""


def first_batch(run: Run, *, data: Path | None = None, cache_dir: Path | None = None) -> FirstBatch:
    """Return the first photos of a run's first batch, augmented, and not mixed yet.

    They are made anew: what happens to a photo in an epoch is a function of (seed, epoch, photo).
    """
    try:
        content = load_checkpoint(run.last)
        if content.get("imported"):
            return FirstBatch(why_not="What it was trained with is unknown.")
        index = trained_index(run, index_for(run, data, None, cache_dir))
        check_same_data(content, index, run.last)
        meta = read_meta(content)
        config = dataclasses.replace(
            meta.config,
            cache_dir=cache_dir,
            pipeline=dataclasses.replace(meta.config.pipeline, bad_images="grey"),
        )
        return FirstBatch(_photos(dataclasses.replace(meta, config=config), index))
    except (UserError, OSError) as error:
        return FirstBatch(why_not=f"The first batch is left out: {error}.")


def _photos(meta: ModelMeta, index: Index) -> tuple[tuple[str, str], ...]:
    train, (photos, _) = meta.config.train, build_datasets(meta, index)
    batches = TrainBatchSampler(
        len(photos),
        train.batch_size,
        train.seed,
        0,
        1,
        balance=train.balance,
        labels=photos.split.label,
        repeat=train.repeat,
    )
    samples = [photos[0, i] for i in batches.own(0).indices[:NUM_SHOWN].tolist()]
    return tuple(
        (jpeg_uri(photo_jpeg(sample.image, SIDE, quality=85)), index.class_names[sample.label]) for sample in samples
    )
