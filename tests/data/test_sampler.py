"""Batches of training, and balanced sampling: how often classes and photos are shown, by seed and epoch."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from corolla.config import AugmentConfig
from corolla.data.dataset import TFRecordDataset
from corolla.data.index import load_index
from corolla.data.loader import load_batches, make_batch
from corolla.data.sampler import TrainBatchSampler, balanced_order, steps_per_epoch
from corolla.data.transforms.train import TrainTransform
from corolla.random import epoch_order

LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, 4], [70, 20, 9, 1]))


def shown(balance: float, seed: int = 0, epoch: int = 0) -> np.ndarray:
    """How often each sample is."""
    return np.bincount(balanced_order(LABELS, balance, seed, epoch) % len(LABELS), minlength=len(LABELS))


def test_off_is_the_usual_permutation() -> None:
    assert np.array_equal(balanced_order(LABELS, 0.0, 3, 5), epoch_order(len(LABELS), 3, 5))


@pytest.mark.parametrize("balance", [0.25, 0.5, 1.0])
def test_classes_come_by_their_power(balance: float) -> None:
    counts = np.array([70, 20, 9, 1])
    expected = counts ** (1 - balance) / (counts ** (1 - balance)).sum() * 100
    for epoch in range(5):
        times = shown(balance, epoch=epoch)
        assert times.sum() == 100
        assert np.abs(np.bincount(LABELS, weights=times)[[0, 1, 2, 4]] - expected).max() < 1.001
        for label in np.unique(LABELS):
            assert np.ptp(times[label == LABELS]) <= 1


def test_photos_of_a_common_class_take_turns() -> None:
    """In the mean of many epochs, each of a class has its share."""
    mean = np.mean([shown(1.0, epoch=epoch) for epoch in range(400)], axis=0)
    assert mean[LABELS == 0] == pytest.approx(25 / 70, abs=0.12)
    assert mean[LABELS == 4] == pytest.approx(25)


def test_repeats_are_numbered() -> None:
    order = balanced_order(LABELS, 1.0, 0, 0)
    assert len(set(order.tolist())) == 100
    assert sorted(order[LABELS[order % 100] == 4] // 100) == list(range(25))


@pytest.mark.parametrize("repeat", [1, 2, 5])
@pytest.mark.parametrize("balance", [0.0, 0.5])
def test_an_epoch_repeats_every_photo_with_numbers_of_its_own(repeat: int, balance: float) -> None:
    order = balanced_order(LABELS, balance, 3, 2, repeat)
    assert len(set(order.tolist())) == len(order) == 100 * repeat
    if balance:
        times = np.bincount(order % 100, minlength=100)
        assert np.bincount(LABELS, weights=times)[4] == pytest.approx(
            1 / np.sqrt([70, 20, 9, 1]).sum() * 100 * repeat, abs=1
        )
        assert np.array_equal(balanced_order(LABELS, balance, 3, 2, 1), balanced_order(LABELS, balance, 3, 2))
        return
    assert np.array_equal(order[:100], epoch_order(100, 3, 2)), "the first showing is that without repeats"
    for r in range(repeat):
        assert sorted(order[100 * r : 100 * (r + 1)]) == list(range(100 * r, 100 * (r + 1)))
    showings = {tuple(order[100 * r : 100 * (r + 1)] % 100) for r in range(repeat)}
    assert len(showings) == repeat


@pytest.mark.parametrize(("workers", "start"), [(0, 0), pytest.param(2, 3, marks=pytest.mark.slow)])
def test_each_showing_has_a_crop_of_its_own(workers: int, start: int, tiny_data: Path) -> None:
    """The first of them is what it is without repeats."""
    photos = TFRecordDataset(
        load_index(tiny_data, None), "train", TrainTransform(AugmentConfig(crop="random-resized"), 24)
    )
    plan = TrainBatchSampler(40, 16, 0, start, 7, repeat=3)  # 120 = 7 x 16 + 8
    made = list(load_batches(photos, plan, workers=workers, device=torch.device("cpu")))
    whole = [make_batch(photos, plan.own(step)) for step in range(7)]
    assert all(torch.equal(a.images, b.images) for a, b in zip(made, whole[start:], strict=True))
    images = torch.cat([batch.images for batch in whole])
    indices = torch.cat([batch.indices for batch in whole])
    assert np.bincount(indices[:80]).tolist() == [2] * 40
    assert len({image.numpy().tobytes() for image in images}) == len(images) == 112
    once = [make_batch(photos, TrainBatchSampler(40, 16, 0, 0, 2).own(step)).images for step in (0, 1)]
    assert torch.equal(torch.cat(once), images[:32])
    assert plan.own(7).epoch == 1
    assert plan.own(7).indices[0] == epoch_order(40, 0, 1, 3)[0], "the next epoch"


def test_it_is_a_function_of_seed_and_epoch() -> None:
    orders = [balanced_order(LABELS, 0.5, seed, epoch) for seed, epoch in itertools.product((0, 1), (0, 1))]
    assert np.array_equal(orders[1], balanced_order(LABELS, 0.5, 0, 1))
    assert not any(np.array_equal(a, b) for a, b in itertools.combinations(orders, 2))


@pytest.mark.parametrize(("workers", "start"), [(0, 0), (2, 3)])
def test_batches_repeat_photos_with_draws_of_their_own(workers: int, start: int, tiny_data: Path) -> None:
    photos = TFRecordDataset(
        load_index(tiny_data, None), "train", TrainTransform(AugmentConfig(crop="random-resized"), 24)
    )
    labels = np.zeros(40, np.int64)
    labels[7] = 1  # one photo is a class: half of what is shown
    plan = TrainBatchSampler(40, 8, 0, start, 6, balance=1.0, labels=labels)
    assert len(plan) == 6 - start
    found = list(load_batches(photos, plan, workers=workers, device=torch.device("cpu")))
    expected = [make_batch(photos, plan.own(step)) for step in range(start, 6)]
    assert all(
        torch.equal(a, b) for one, two in zip(found, expected, strict=True) for a, b in zip(one, two, strict=True)
    )
    images = torch.cat([batch.images[batch.indices == 7] for batch in expected])
    assert len(images) == pytest.approx(4 * len(expected), abs=len(expected) * 2)
    assert len({image.numpy().tobytes() for image in images}) == len(images)
    assert set(torch.cat([batch.indices for batch in expected]).tolist()) <= set(range(40))
    named = torch.cat([batch.labels[batch.indices == 7] for batch in expected])
    assert set(named.tolist()) == {int(photos.split.label[7])}


def test_the_incomplete_batch_is_left_out_unless_it_is_the_only_one() -> None:
    assert steps_per_epoch(40, 16) == 2
    assert [len(batch.indices) for batch in TrainBatchSampler(10, 16, 0, 0, 2)] == [10, 10]
    assert [len(batch.indices) for batch in TrainBatchSampler(10, 16, 0, 0, 2, repeat=2)] == [16, 16]
    assert [steps_per_epoch(12_753, 256, repeat) for repeat in (1, 4)] == [49, 199]


@pytest.mark.parametrize(("num_samples", "batch_size"), [(40, 8), (41, 8), (5, 8), (8, 8)])
def test_the_samples_of_a_step_are_those_of_the_iteration(num_samples: int, batch_size: int) -> None:
    length = steps_per_epoch(num_samples, batch_size)
    start, stop = length - 1, 3 * length + 1
    plan = TrainBatchSampler(num_samples, batch_size, 3, start, stop)
    steps = list(plan)
    assert len(plan) == len(steps) == stop - start
    for sampler in (plan, TrainBatchSampler(num_samples, batch_size, 3, 0, stop)):
        for step, samples in zip(range(start, stop), steps, strict=True):
            assert samples.epoch == sampler.own(step).epoch == step // length
            assert np.array_equal(samples.indices, sampler.own(step).indices)
    whole_epoch = [i for samples in steps[1 : 1 + length] for i in samples.indices]
    assert len(set(whole_epoch)) == len(whole_epoch) == min(num_samples, length * batch_size)
