"""The batches of a whole run, those of val among them: one set of worker processes makes all.

So no process is started at the end of an epoch, and val's first batches are there when the last step is done, as the
next epoch's are when val is. They are started before the network goes to its device: forked before CUDA starts.
"""

import itertools
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import torch

from corolla.data.cache import use_cache
from corolla.data.dataset import Samples
from corolla.data.hand_over import Batch, HandOver
from corolla.data.index import Index
from corolla.data.loader import Source, Workers
from corolla.data.parts import Parts
from corolla.data.photos_on_device import PhotosOnDevice
from corolla.data.recipe_photos import RecipePhotos
from corolla.data.sampler import EvalBatchSampler, TrainBatchSampler
from corolla.data.transforms.views import ViewsTransform
from corolla.device import find_device, num_workers
from corolla.evaluation.tta_model import images_at_once
from corolla.runs.checkpoint import ModelMeta
from corolla.training.datasets import build_datasets
from corolla.training.ranks import Ranks
from corolla.training.stop import Stop

TRAIN, VAL, RECIPES = range(3)
"""The workers' sources; recipes take the place of train where its photos live on the device."""


class RunPhotos:
    """The photos of a run, train's and val's, and the workers that make batches of them; close it to end these."""

    def __init__(self, index: Index, stop: Stop, ranks: Ranks) -> None:
        """Set up what `load` needs: the `stop` ends the building of a cache, the `ranks` share each batch."""
        self.index = index
        self._stop, self._ranks = stop, ranks
        self.workers: Workers | None = None

    def load(self, meta: ModelMeta) -> None:
        """Have the photos come from the cache, and start the workers, which inherit what is in memory of it.

        Raises:
            UserError: the cache that was asked for does not fit.
        """
        config, ranks = meta.config, self._ranks
        self.train, self.val = build_datasets(meta, self.index)
        here = [] if config.pipeline.cache == "device" else [self.train]
        here += [] if self.val is None else [self.val]
        self.cached = use_cache(here, config.pipeline.cache, config.cache_dir, stopped=lambda: self._stop.is_asked)
        num_images = min(config.train.batch_size, len(self.train) * config.train.repeat)
        own = sum(Parts(config.train.num_parts, ranks.rank, ranks.number).sizes(num_images).values())
        self.recipes = RecipePhotos(self.train)
        recipes, self.num_val, self.val_batch_size = Source(self.recipes, own), 0, 1
        val = recipes  # of which nothing is asked where nothing is validated
        if self.val is not None:
            assert isinstance(self.val.transform, ViewsTransform)
            self.num_val, self.val_batch_size = len(self.val), images_at_once(self.val.transform, meta.input_size)
            val = Source(self.val, self.val_batch_size)
        sources = [Source(self.train, own), val, recipes]  # TRAIN, VAL, RECIPES
        self.workers = Workers(sources, num_workers(config.pipeline.workers, find_device(config.device)))

    def train_source(self, there: PhotosOnDevice | None) -> int:
        """Return which source has the batches of train, whose photos may be on the device by now."""
        if there is None:
            return TRAIN
        self.recipes.place(there)
        return RECIPES

    def close(self) -> None:
        """End the workers, where they have started."""
        if self.workers is not None:
            self.workers.close()


class RunBatches:
    """Batches of training in their order, and at the end of each epoch those of val."""

    def __init__(self, batches: Generator[Batch, None, None], num_val: int) -> None:
        self._batches, self._num_val = batches, num_val

    def __next__(self) -> Batch:
        return next(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        return self

    def val(self) -> Iterator[Batch]:
        """Return the batches of val, where it is their turn; all of them are to be taken, or none follows."""
        return itertools.islice(self._batches, self._num_val)


@contextmanager
def run_batches(
    workers: Workers,
    sampler: TrainBatchSampler,
    val_sampler: EvalBatchSampler,
    *,
    epoch_steps: int,
    val_is_next: bool,
    device: torch.device,
    source: int = TRAIN,
) -> Iterator[RunBatches]:
    """Make the batches of a run, on `device`, until the block ends.

    Args:
        workers: of a run's sources.
        sampler: the batches of train, from the step on at which the run goes on.
        val_sampler: the batches of val, the same each time.
        epoch_steps: batches of training after which val comes.
        val_is_next: the run was stopped between an epoch and its evaluation.
        source: TRAIN, or RECIPES.
    """

    def plan() -> Iterator[tuple[int, Samples]]:
        if val_is_next:
            yield from ((VAL, samples) for samples in val_sampler)
        for step, samples in enumerate(sampler, sampler.start + 1):
            yield source, samples
            if step % epoch_steps == 0:
                yield from ((VAL, samples) for samples in val_sampler)

    batches = workers.batches(plan(), HandOver.to(device))
    try:
        yield RunBatches(batches, len(val_sampler))
    finally:
        batches.close()
