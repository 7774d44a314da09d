"""Batches from worker processes: memory that is used again, and never while somebody still looks at it."""

import multiprocessing
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest
import torch

from corolla.config import AugmentConfig
from corolla.data.dataset import TFRecordDataset
from corolla.data.index import load_index
from corolla.data.loader import FORKS, PREFETCH, Batch, load_batches
from corolla.data.sampler import EvalBatchSampler, TrainBatchSampler
from corolla.data.transforms.eval import EvalTransform
from corolla.data.transforms.train import TrainTransform

CPU = torch.device("cpu")
SLOTS = 2 * PREFETCH + 2  # of two workers


def photos(data: Path) -> TFRecordDataset:
    return TFRecordDataset(load_index(data, None), "train", TrainTransform(AugmentConfig(crop="random-resized"), 24))


def loaded(data: Path, *, workers: int, stop: int = 40) -> Generator[Batch, None, None]:
    dataset = photos(data)
    return load_batches(dataset, TrainBatchSampler(len(dataset), 4, 0, 0, stop), workers=workers, device=CPU)


def same(first: Batch, second: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.fixture(scope="module")
def expected(tiny_data: Path) -> list[Batch]:
    return list(loaded(tiny_data, workers=0))


def test_batches_that_are_kept_stay_right(tiny_data: Path, expected: list[Batch]) -> None:
    kept = list(loaded(tiny_data, workers=2))
    assert len(kept) == len(expected) == 40
    assert all(same(a, b) for a, b in zip(kept, expected, strict=True))
    assert len({batch.images.data_ptr() for batch in kept}) == 40


def test_some_kept_and_some_dropped(tiny_data: Path, expected: list[Batch]) -> None:
    """Any slot that is free is used, in any order."""
    kept: dict[int, Batch] = {}
    for number, batch in enumerate(loaded(tiny_data, workers=2)):
        assert same(batch, expected[number])
        kept[number] = batch
        if number % 5 == 4:
            del kept[number - 2], kept[number - 4]
    assert all(same(batch, expected[number]) for number, batch in kept.items())


def test_memory_is_used_again(tiny_data: Path, expected: list[Batch]) -> None:
    places = set()
    for batch, right in zip(loaded(tiny_data, workers=2), expected, strict=True):
        assert same(batch, right)
        places.add(batch.images.data_ptr())
    assert len(places) <= (SLOTS if FORKS else len(expected))


@pytest.mark.parametrize("kind", ["slice", "flattened", "numpy", "storage"])
def test_a_view_keeps_its_memory(kind: str, tiny_data: Path, expected: list[Batch]) -> None:
    views = []
    for number, batch in enumerate(loaded(tiny_data, workers=2)):
        if number in (0, 3, 4):
            view = batch.images[2:3]
            if kind == "flattened":
                view = view.flatten(0, 1)
            views.append(view.untyped_storage() if kind == "storage" else view.numpy() if kind == "numpy" else view)
        del batch
    for view, number in zip(views, (0, 3, 4), strict=True):
        whole = expected[number].images
        if isinstance(view, torch.UntypedStorage):
            assert bytes(view) == whole.numpy().tobytes()
        else:
            assert torch.equal(torch.as_tensor(view).reshape(1, 24, 24, 3), whole[2:3])


@pytest.mark.parametrize("num_taken", [0, 1, 7])
def test_closing_early_ends_the_workers(num_taken: int, tiny_data: Path) -> None:
    before = set(multiprocessing.active_children())
    with closing(loaded(tiny_data, workers=2)) as batches:
        for _ in range(num_taken):
            next(batches)
        assert len(set(multiprocessing.active_children()) - before) == (2 if num_taken else 0)
    assert set(multiprocessing.active_children()) == before


def test_a_batch_outlives_its_workers(tiny_data: Path, expected: list[Batch]) -> None:
    with closing(loaded(tiny_data, workers=2)) as batches:
        batch = next(batches)
    assert same(batch, expected[0])


@pytest.mark.parametrize("workers", [0, 2])
def test_the_last_batch_may_be_short(workers: int, tiny_data: Path) -> None:
    dataset = TFRecordDataset(load_index(tiny_data, None), "val", EvalTransform(24, crop_fraction=0.875))
    plan = EvalBatchSampler(len(dataset), 6)
    batches = list(load_batches(dataset, plan, workers=workers, device=CPU))
    assert [len(batch.images) for batch in batches] == [len(batch.labels) for batch in batches] == [6, 6, 4]
    assert len(plan) == 3
    for i, image in enumerate(torch.cat([batch.images for batch in batches])):
        assert torch.equal(image, torch.from_numpy(dataset[i].image))
    assert torch.cat([batch.indices for batch in batches]).tolist() == list(range(16))
    assert torch.cat([batch.labels for batch in batches]).tolist() == dataset.split.label.tolist()
