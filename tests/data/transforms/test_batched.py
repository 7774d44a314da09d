"""Photos transformed in batches, against the same ones transformed one by one."""

import pickle
from collections.abc import Sequence
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
import torch
from support import break_first_jpeg, write_data

from corolla.config import AugmentConfig
from corolla.data.dataset import Samples, TFRecordDataset
from corolla.data.decode import Image, Interpolation
from corolla.data.index import load_index
from corolla.data.photos_on_device import PhotosOnDevice, decoded_bytes, put_on_device
from corolla.data.recipe_photos import RecipePhotos
from corolla.data.statistics import ColorStatistics
from corolla.data.transforms.batched import transform_batch
from corolla.data.transforms.recipes import LENGTH, extent_of, write_recipe
from corolla.data.transforms.train import TrainTransform

STATISTICS = ColorStatistics(
    mean=(0.4, 0.5, 0.3),
    std=(0.2, 0.2, 0.2),
    eigenvalues=(0.1, 0.01, 0.001),
    eigenvectors=((1, 0, 0), (0, 1, 0), (0, 0, 1)),
)
CPU = torch.device("cpu")


def photos_of(shapes: Sequence[tuple[int, int]]) -> list[Image]:
    """Draw photos of those heights and widths with smooth parts, edges and noise."""
    rng, photos = np.random.default_rng(0), []
    for height, width in shapes:
        waves = np.add.outer(np.sin(np.arange(height) / 9), np.cos(np.arange(width) / 5))[..., None]
        image = 128 + 60 * waves * rng.uniform(0.5, 1, 3) + rng.normal(0, 12, (height, width, 3))
        image[height // 3 :, : width // 2] = rng.integers(0, 256, 3)
        photos.append(np.clip(image, 0, 255).astype(np.uint8))
    return photos


def on_cpu(photos: Sequence[Image]) -> PhotosOnDevice:
    shapes = np.array([each.shape[:2] for each in photos])
    starts = np.concatenate([[0], np.cumsum(shapes.prod(1))[:-1]])
    pixels = torch.from_numpy(np.concatenate([each.reshape(-1, 3) for each in photos]))
    heights, widths = torch.from_numpy(shapes.T.copy())
    return PhotosOnDevice(pixels, torch.from_numpy(starts), heights, widths, shapes)


def both_ways(photos: Sequence[Image], transform: TrainTransform, draws: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return photos transformed one by one and in a batch, from the same draws."""
    numbers = [draw % len(photos) for draw in range(draws * len(photos))]
    alone = [transform(photos[i], np.random.default_rng(seed)) for seed, i in enumerate(numbers)]
    recipes = np.zeros((len(numbers), LENGTH), np.float32)
    for seed, i in enumerate(numbers):
        rng = np.random.default_rng(seed)
        height, width, _ = photos[i].shape
        box = transform.draw(height, width, rng)
        write_recipe(recipes[seed], i, box, transform.decide(rng), transform)
    batch = transform_batch(on_cpu(photos), torch.from_numpy(recipes), transform, extent_of(recipes, transform.size))
    assert batch.shape == (len(numbers), *transform.shape)
    assert batch.dtype == torch.uint8
    assert batch.is_contiguous()
    return np.stack(alone), batch.numpy()


def largest_difference(pair: tuple[np.ndarray, np.ndarray]) -> int:
    alone, batch = pair
    return int(np.abs(alone.astype(int) - batch.astype(int)).max())


CROPS = {
    "as it is": AugmentConfig(flip=False, shorter_side=(224, 224)),
    "resnet": AugmentConfig(),
    "random-resized": AugmentConfig(crop="random-resized"),
    "painted": AugmentConfig(erase=0.7, erase_fill="mean", cutout=0.4),
}
SHAPES = {
    "512": ([(512, 512)], 224),
    "331": ([(331, 331)], 160),
    "odd": ([(67, 67), (65, 65)], 31),
    "not square": ([(300, 451), (500, 123), (224, 224)], 96),
    "growing": ([(64, 64)] * 2, 128),
    "far": ([(512, 512)], 40),
    "same": ([(64, 64)] * 2, 64),
}


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("crop", CROPS)
def test_crop_resize_mirror_and_paint_differ_by_a_grey_level(
    crop: str, shape: str, interpolation: Interpolation
) -> None:
    shapes, size = SHAPES[shape]
    transform = TrainTransform(CROPS[crop], size, statistics=STATISTICS, interpolation=interpolation)
    assert largest_difference(both_ways(photos_of(shapes), transform)) <= 1


@pytest.mark.parametrize("strengths", [(0.4, 0.0, 0.0), (0.0, 0.4, 0.0), (0.0, 0.0, 0.4), (0.4, 0.4, 0.4)])
def test_colours_differ_by_two_grey_levels(strengths: tuple[float, float, float]) -> None:
    brightness, contrast, saturation = strengths
    config = AugmentConfig(color=True, brightness=brightness, contrast=contrast, saturation=saturation)
    transform = TrainTransform(config, 64)
    alone, batch = both_ways(photos_of([(64, 64), (90, 70)]), transform, draws=20)
    assert largest_difference((alone, batch)) <= (4 if all(strengths) else 2)
    plain, _ = both_ways(photos_of([(64, 64), (90, 70)]), TrainTransform(AugmentConfig(), 64), draws=20)
    assert np.abs(plain.astype(int) - batch.astype(int)).max() > 30, "the colours must have changed"


def test_a_data_set_gives_the_same_samples_in_batches(tmp_path: Path) -> None:
    """In each epoch its own, also of repeats, of growing sizes and of a photo that does not decode."""
    data, _ = break_first_jpeg(tmp_path / "data")
    index = load_index(data, None, tmp_path / "cache")
    config = AugmentConfig(start_size=32, crop="random-resized")
    transform = TrainTransform(config, 64, epochs=4)
    photos = TFRecordDataset(index, "train", transform, seed=5, bad_images="grey")
    there = put_on_device(photos, CPU)
    assert there.pixels.numel() == decoded_bytes(photos)
    drawn = RecipePhotos(photos)
    drawn.place(there)
    for epoch in range(4):
        samples = Samples(epoch, np.array([0, 3, 39, 40 + 3, 80]))
        recipes = np.zeros(drawn.batch_shape(samples), np.uint8)
        drawn.load_into(samples, recipes)
        made = torch.from_numpy(recipes)
        batch = drawn.on_device(made, samples)(made.clone())
        alone = np.empty(photos.batch_shape(samples), np.uint8)
        photos.load_into(samples, alone)
        assert largest_difference((alone, batch.numpy())) <= 1
        assert drawn.labels(samples).tolist() == photos.labels(samples).tolist()


def test_workers_that_were_not_forked_see_the_photos_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They start, as on macOS, from what was pickled before the photos were placed."""
    monkeypatch.setattr("corolla.data.recipe_photos.FORKS", False)
    index = load_index(write_data(tmp_path / "data", train=6), None, tmp_path / "cache")
    photos = TFRecordDataset(index, "train", TrainTransform(AugmentConfig(), 16), bad_images="grey")
    drawn = RecipePhotos(photos)
    sent = ForkingPickler.dumps(drawn)
    of_worker = pickle.loads(sent)
    drawn.place(put_on_device(photos, CPU))
    assert of_worker.shapes.tolist() == [[32, 32]] * 6


@pytest.mark.parametrize("side", [48, 150])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_pixels_depend_on_no_other_photo_of_the_batch(
    side: int, interpolation: Interpolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither on how many there are, nor on how large the others' crops are."""
    transform = TrainTransform(AugmentConfig(color=True), 48, interpolation=interpolation)
    photos = photos_of([(side, side)])
    alone = both_ways(photos, transform, draws=5)[1]
    among = both_ways([*photos, *photos_of([(300, 265)] * 3)], transform, draws=2)[1]
    assert np.array_equal(among[::4][:2], alone[[0, 4]])
    monkeypatch.setattr("corolla.data.transforms.batched.AT_ONCE", 1)
    assert np.array_equal(both_ways(photos, transform, draws=5)[1], alone)
