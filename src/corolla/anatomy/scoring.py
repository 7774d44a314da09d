"""Networks of runs that are scored again and again on the same photos, which are decoded once."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from corolla.anatomy.blocks import Block, find_blocks
from corolla.data.competition import SplitName
from corolla.data.dataset import TFRecordDataset
from corolla.data.index import Index, split_of
from corolla.data.loader import load_batches
from corolla.data.sampler import EvalBatchSampler
from corolla.data.transforms.tta import Views
from corolla.data.transforms.views import ViewsTransform
from corolla.device import choose_device, find_device, num_workers
from corolla.device_errors import faults_told
from corolla.errors import Failure, UserError
from corolla.evaluation.inference import BATCH_SIZE, InferenceModel
from corolla.evaluation.metrics import macro_f1
from corolla.runs.checkpoint import load_checkpoint, rebuild_model
from corolla.runs.data import index_for
from corolla.runs.folder import CheckpointName, Run
from corolla.runs.same_data import check_has_val, warn_of_learned_val


@dataclass(frozen=True, eq=False)
class Photos:
    """The centre crops of a split: uint8, on the CPU, in batches N x S x S x 3; and their labels."""

    batches: tuple[torch.Tensor, ...]
    labels: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Scorer:
    """A network, its blocks, and the photos on which it is scored."""

    source: Path
    """The checkpoint."""
    network: InferenceModel
    blocks: list[Block]
    photos: Photos
    device: torch.device

    @torch.inference_mode()
    def scores(self, *, is_whole: bool) -> tuple[float, float]:
        """Return macro F1 and accuracy of the network as it is now.

        Raises:
            Failure: it is whole, and its numbers are not finite.
        """
        with faults_told(self.device, "with a lesion", memory="close other programs that hold it, or use --device cpu"):
            logits = torch.cat([self.network(images.to(self.device)).cpu() for images in self.photos.batches])
        if is_whole and not logits.isfinite().all():
            raise Failure(f"{self.source}: its network gives no finite numbers, so its training has failed")
        predicted = logits.argmax(1).numpy()
        return macro_f1(self.photos.labels, predicted), float((predicted == self.photos.labels).mean())


def scorers(
    runs: Sequence[Run],
    split: SplitName,
    checkpoint: CheckpointName,
    *,
    data: Path | None,
    cache_dir: Path | None,
    device: str,
    workers: int | None,
) -> Iterator[Scorer]:
    """Yield the scorer of each run, in fp32; photos that several see alike are decoded once.

    Raises:
        UserError: no such split or checkpoint, photos without labels, of other classes, or a network without blocks.
    """
    find_device(device)
    indexes = [_labelled(run, split, checkpoint, data, cache_dir) for run in runs]
    held = dict[tuple[object, ...], Photos]()
    for run, index in zip(runs, indexes, strict=True):
        model, meta = rebuild_model(load_checkpoint(run.checkpoint(checkpoint)))
        if index.class_names != meta.class_names:
            raise UserError(f"{index.folder}: its classes are not those that {run.folder} was trained for")
        own = meta.preprocessing
        transform = ViewsTransform(
            meta.input_size, Views(), crop_fraction=own.crop_fraction, interpolation=own.interpolation
        )
        key = (index.folder, index.size, meta.input_size, own.crop_fraction, own.interpolation)
        if key not in held:
            held.clear()  # the photos of one kind are as much as is kept in memory
            held[key] = _decoded(TFRecordDataset(index, split, transform), device, workers)
        there = choose_device(device)
        exact = replace(meta, config=replace(meta.config, train=replace(meta.config.train, precision="fp32")))
        network = InferenceModel(model, exact, there)
        with torch.inference_mode():
            blocks = find_blocks(network.model, network.inputs(held[key].batches[0][:1].to(there)))
        if not any(block.can_be_left_out for block in blocks):
            raise UserError(
                f"{run.folder}: no residual blocks that can be cut are found in {meta.config.model.name}, and it is "
                "none of the own plain networks: take a ResNet"
            )
        yield Scorer(run.checkpoint(checkpoint), network, blocks, held[key], there)


def _labelled(run: Run, split: SplitName, checkpoint: CheckpointName, data: Path | None, cache: Path | None) -> Index:
    """Return the index of a run's data, whose split has labels.

    Raises:
        UserError: there is no such checkpoint or split, it has no labels, or the run has learned from val.
    """
    if not run.checkpoint(checkpoint).exists():
        raise UserError(f"{run.checkpoint(checkpoint)}: there is no such checkpoint yet; train the run's first epoch")
    if split == "val":
        check_has_val(run)
    index = index_for(run, data, cache_dir=cache)
    if (split_of(index, split).label < 0).any():
        raise UserError(f"{index.folder}: its {split} photos have no labels to score by; take --split val")
    if split == "val":
        warn_of_learned_val(run, index)
    return index


def _decoded(dataset: TFRecordDataset, device: str, workers: int | None) -> Photos:
    """Return the centre crops of all photos."""
    sampler = EvalBatchSampler(len(dataset), BATCH_SIZE)
    number = num_workers(workers, find_device(device))
    with closing(load_batches(dataset, sampler, workers=number, device=torch.device("cpu"))) as made:
        batches = tuple(batch.images[:, 0].clone() for batch in made)
    return Photos(batches, dataset.split.label.astype(np.int64))
