"""Batches from worker processes: memory that is used again, and never while somebody still looks at it."""

import ctypes
import multiprocessing
import time
from collections.abc import Generator
from contextlib import closing
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import torch

from corolla.config import AugmentConfig
from corolla.data.dataset import TFRecordDataset
from corolla.data.hand_over import Arrival, HandOver, HandOverToGPU
from corolla.data.index import load_index
from corolla.data.loader import IN_USE, LARGEST_JOB, PREFETCH, Batch, Source, Workers, load_batches, load_from
from corolla.data.sampler import EvalBatchSampler, TrainBatchSampler
from corolla.data.slots import FORKS
from corolla.data.transforms.eval import EvalTransform
from corolla.data.transforms.train import TrainTransform

CPU = torch.device("cpu")
SLOTS = (2 * PREFETCH + 1) * LARGEST_JOB + IN_USE  # of two workers
NUM_BATCHES = 2 * SLOTS


def photos(data: Path) -> TFRecordDataset:
    return TFRecordDataset(load_index(data, None), "train", TrainTransform(AugmentConfig(crop="random-resized"), 24))


def loaded(data: Path, *, workers: int, stop: int = NUM_BATCHES) -> Generator[Batch, None, None]:
    dataset = photos(data)
    return load_batches(dataset, TrainBatchSampler(len(dataset), 4, 0, 0, stop), workers=workers, device=CPU)


def same(first: Batch, second: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.fixture(scope="module")
def expected(tiny_data: Path) -> list[Batch]:
    return list(loaded(tiny_data, workers=0))


def test_batches_that_are_kept_stay_right(tiny_data: Path, expected: list[Batch]) -> None:
    kept = list(loaded(tiny_data, workers=2))
    assert len(kept) == len(expected) == NUM_BATCHES
    assert all(same(a, b) for a, b in zip(kept, expected, strict=True))
    assert len({batch.images.data_ptr() for batch in kept}) == NUM_BATCHES


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
            assert bytes(view).startswith(whole.numpy().tobytes())  # then the labels
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


@pytest.mark.parametrize("is_used", [True, False])
def test_workers_start_before_there_is_anything_to_make(is_used: bool, tiny_data: Path, expected: list[Batch]) -> None:
    before, dataset = set(multiprocessing.active_children()), photos(tiny_data)
    random = torch.get_rng_state()
    with closing(Workers([Source(dataset, 4)], 2)) as workers:
        there = set(multiprocessing.active_children()) - before
        assert len(there) == 2
        if is_used:
            plan = ((0, samples) for samples in TrainBatchSampler(len(dataset), 4, 0, 0, NUM_BATCHES))
            with closing(workers.batches(plan, HandOver(CPU))) as batches:
                assert all(same(batch, right) for batch, right in zip(batches, expected, strict=True))
        assert set(multiprocessing.active_children()) - before == there
    assert set(multiprocessing.active_children()) == before
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.skipif(not FORKS, reason="elsewhere it is seen when a batch is waited for")
def test_a_worker_that_is_killed_before_its_first_batch_is_told(tiny_data: Path) -> None:
    before = set(multiprocessing.active_children())
    with closing(Workers([Source(photos(tiny_data), 4)], 2)):
        killed = (set(multiprocessing.active_children()) - before).pop()
        with pytest.raises(RuntimeError, match=rf"DataLoader worker \(pid {killed.pid}\) is killed by signal"):
            kill_and_wait(killed)
    assert set(multiprocessing.active_children()) == before


def kill_and_wait(process: BaseProcess) -> None:
    process.kill()
    time.sleep(10)


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


class LateCopies(HandOverToGPU):
    """Copies as a GPU does: the values are read some time after a copy was launched, when it is waited for at last."""

    def __init__(self) -> None:
        super().__init__(CPU)
        self.calls: list[str] = []

    def lock(self, memory: np.ndarray) -> bool:
        self.calls.append("lock")
        return True

    def unlock(self, memory: np.ndarray) -> None:
        self.calls.append("unlock")

    def launch(self, batch: Batch) -> tuple[Batch, Arrival]:
        copy = Batch(torch.empty_like(batch.images), torch.empty_like(batch.labels), batch.indices)
        return copy, Late(batch, copy)

    def received(self, batch: Batch, arrival: Arrival) -> Batch:
        while not arrival.query():
            time.sleep(0.01)  # in which workers would fill a slot that is free too early
        return batch


class Late:
    """An arrival that knows addresses alone, as a GPU does: it keeps nothing alive."""

    def __init__(self, source: Batch, copy: Batch) -> None:
        self.places = [(source.images.data_ptr(), copy.images), (source.labels.data_ptr(), copy.labels)]
        self.left = 4

    def query(self) -> bool:
        self.left -= 1
        if self.left == 0:
            for place, copy in self.places:
                ctypes.memmove(copy.data_ptr(), place, copy.nbytes)
        return self.left <= 0


@pytest.mark.skipif(not FORKS, reason="there are no slots where processes share no memory")
def test_a_slot_is_not_filled_again_before_its_copy_has_arrived(tiny_data: Path, expected: list[Batch]) -> None:
    copies, dataset = LateCopies(), photos(tiny_data)
    plan = ((0, samples) for samples in TrainBatchSampler(len(dataset), 4, 0, 0, len(expected)))
    with closing(load_from([Source(dataset, 4)], plan, workers=2, hand_over=copies)) as batches:
        for batch, right in zip(batches, expected, strict=True):
            assert same(batch, right)
            assert copies.calls[:1] == ["lock"]
    assert copies.calls == ["lock", "unlock"]
