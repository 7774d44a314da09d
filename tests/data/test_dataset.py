"""Map-style access, and the contract of determinism: what a step sees is a function of seed, epoch and sample."""

import dataclasses
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from support import break_first_jpeg, write_data

from corolla.config import AugmentConfig
from corolla.data.dataset import Sample, Samples, TFRecordDataset
from corolla.data.index import load_index
from corolla.data.loader import Batch, load_batches
from corolla.data.sampler import EvalBatchSampler, TrainBatchSampler
from corolla.data.tfrecord import read_records
from corolla.data.transforms.eval import EvalTransform
from corolla.data.transforms.train import TrainTransform
from corolla.errors import UserError
from corolla.random import epoch_order

CPU = torch.device("cpu")
AUGMENT = AugmentConfig(crop="random-resized", area=(0.3, 1.0), color=True)


def photos(data: Path, seed: int = 0) -> TFRecordDataset:
    return TFRecordDataset(load_index(data, None), "train", TrainTransform(AUGMENT, 24), seed=seed)


def batches(dataset: TFRecordDataset, *, workers: int, start: int = 0, stop: int = 9) -> list[Batch]:
    plan = TrainBatchSampler(len(dataset), 8, dataset.seed, start=start, stop=stop)
    return list(load_batches(dataset, plan, workers=workers, device=CPU))


def same(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a, b) for one, two in zip(first, second, strict=True) for a, b in zip(one, two, strict=True)
    )


def test_random_access(tiny_data: Path) -> None:
    dataset = TFRecordDataset(load_index(tiny_data, None), "val")
    assert len(dataset) == 16
    sample = dataset[3]
    assert sample.image.shape == (32, 32, 3)
    assert sample.image.dtype == np.uint8
    assert (sample.label, sample.id) == (3, f"{1003:09x}")
    assert dataset[-1].id == dataset[15].id
    with pytest.raises(IndexError):
        dataset[16]


def test_one_sample_is_that_of_a_batch_also_of_a_repeat(tiny_data: Path) -> None:
    """The report of a run shows its first batch sample by sample."""
    dataset = TFRecordDataset(load_index(tiny_data, None), "train", TrainTransform(AugmentConfig(), 24), seed=3)
    samples = Samples(2, np.array([0, 7, 40 + 7, 80 + 39]))
    images = np.empty(dataset.batch_shape(samples), np.uint8)
    dataset.load_into(samples, images)
    alone = [dataset[2, i] for i in samples.indices.tolist()]
    assert np.array_equal(images, np.stack([each.image for each in alone]))
    assert [each.label for each in alone] == dataset.labels(samples).tolist()
    assert alone[1].id == alone[2].id
    assert not np.array_equal(alone[1].image, alone[2].image)


def test_unlabelled_split_has_label_minus_one(tiny_data: Path) -> None:
    assert {
        sample.label for sample in (TFRecordDataset(load_index(tiny_data, None), "test")[i] for i in range(11))
    } == {-1}


def test_torchs_own_loader_and_random_split_work(tiny_data: Path) -> None:
    dataset = cast("torch.utils.data.Dataset[Sample]", photos(tiny_data))  # by what it can do, not by inheritance
    parts = torch.utils.data.random_split(dataset, [30, 10])
    assert [len(part) for part in parts] == [30, 10]
    images, labels, ids = next(iter(torch.utils.data.DataLoader(parts[0], batch_size=4, shuffle=True, num_workers=1)))
    assert images.shape == (4, 24, 24, 3)
    assert labels.dtype == torch.int64
    assert len(ids) == 4


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(workers: int, tiny_data: Path) -> None:
    assert same(batches(photos(tiny_data), workers=0), batches(photos(tiny_data), workers=workers))


@pytest.mark.parametrize(("workers", "start"), [(0, 3), (2, 5), (3, 7)])
def test_a_resume_changes_nothing(workers: int, start: int, tiny_data: Path) -> None:
    """Steps 3 and 7 are in mid-epoch, 5 is the first of the second epoch."""
    undisturbed = batches(photos(tiny_data), workers=0)
    assert same(undisturbed[start:], batches(photos(tiny_data), workers=workers, start=start))


def test_seeds_and_epochs_differ(tiny_data: Path) -> None:
    first, other = batches(photos(tiny_data), workers=0), batches(photos(tiny_data, seed=1), workers=0)
    assert not same(first, other)
    indices = torch.cat([batch.indices for batch in first[:5]]), torch.cat([batch.indices for batch in first[5:]])
    assert not torch.equal(indices[0][:32], indices[1])
    dataset = photos(tiny_data)
    assert not np.array_equal(dataset[0, 7].image, dataset[1, 7].image)
    assert np.array_equal(dataset[0, 7].image, dataset[0, 7].image)


def test_an_epoch_is_a_permutation_of_its_own() -> None:
    orders = [epoch_order(100, 0, epoch) for epoch in range(3)]
    assert all(sorted(order) == list(range(100)) for order in orders)
    assert not any(np.array_equal(orders[0], order) for order in orders[1:])


def test_neighbouring_seeds_do_not_share_epochs() -> None:
    assert not np.array_equal(epoch_order(50, 0, 1), epoch_order(50, 1, 0))


def test_evaluation_sees_every_sample_once(tiny_data: Path) -> None:
    dataset = TFRecordDataset(load_index(tiny_data, None), "val", EvalTransform(24, crop_fraction=0.875, tta="flip"))
    seen = list(load_batches(dataset, EvalBatchSampler(len(dataset), 5), workers=2, device=CPU))
    assert torch.cat([batch.indices for batch in seen]).tolist() == list(range(16))
    assert seen[0].images.shape == (5, 2, 24, 24, 3)


def test_a_pickled_data_set_opens_its_files_again(tiny_data: Path) -> None:
    dataset = photos(tiny_data)
    before = dataset[2].image
    assert np.array_equal(pickle.loads(pickle.dumps(dataset))[2].image, before)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_jpeg_stops_with_one_line(workers: int, tmp_path: Path) -> None:
    data, line = break_first_jpeg(tmp_path / "data")
    with pytest.raises(UserError) as caught:
        batches(photos(data), workers=workers)
    assert str(caught.value).startswith(line)
    assert len(str(caught.value).splitlines()) == 1


def test_a_bad_jpeg_may_be_grey(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data, line = break_first_jpeg(tmp_path / "data")
    dataset = TFRecordDataset(load_index(data, None), "train", bad_images="grey")
    assert (dataset[0].image == 128).all()
    assert line in caplog.text


def replaced(path: Path) -> None:
    """Put another file in its place: the same records in another order, so it has as many bytes."""
    buffer = path.read_bytes()
    records = [buffer[record.offset : record.end + 4] for record in read_records(path, buffer)]
    path.unlink()
    path.write_bytes(b"".join(records[::-1]))


def written_to(path: Path) -> None:
    """Write the other records into the very file that is mapped."""
    other = path.with_suffix(".other")
    shutil.copy(path, other)
    replaced(other)
    with path.open("rb+") as file:
        file.write(other.read_bytes())


def shortened(path: Path) -> None:
    """Put a file of the first record alone in its place."""
    buffer = path.read_bytes()
    path.unlink()
    path.write_bytes(buffer[: next(read_records(path, buffer)).end + 4])


@pytest.mark.parametrize(("change", "is_mapped"), [(replaced, False), (written_to, True), (shortened, False)])
def test_a_file_that_changes_under_its_index_gives_no_other_photos(
    change: Callable[[Path], None], is_mapped: bool, tmp_path: Path
) -> None:
    data = write_data(tmp_path / "data", train=6, val=2, test=2)
    dataset = TFRecordDataset(load_index(data, None), "train", bad_images="grey")
    if is_mapped:
        dataset[0]
    path = data / "tfrecords-jpeg-32x32/train/00-32x32-3.tfrec"
    change(path)
    with pytest.raises(UserError, match=rf"^{re.escape(str(path))}: has changed since its records were indexed; "):
        dataset[2]
    assert dataset[3].label == 3


def test_a_missing_split_is_named(tiny_data: Path) -> None:
    index = load_index(tiny_data, None)
    index = dataclasses.replace(index, splits={"train": index.splits["train"]})
    with pytest.raises(UserError, match=r"val: no \.tfrec files"):
        TFRecordDataset(index, "val")
