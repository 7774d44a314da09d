"""RandAugment and TrivialAugment against torchvision's on the same draws; they change nothing else that is drawn."""

import random
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from support import changed, same_content, stop_at
from torchvision.transforms import InterpolationMode, RandAugment, TrivialAugmentWide

from corolla.config import AugmentConfig, Config
from corolla.data.statistics import ColorStatistics
from corolla.data.transforms.auto_augment import NAMES, RANGES, Operation, apply_operations, draw_operations
from corolla.data.transforms.train import TrainTransform
from corolla.random import sample_generator
from corolla.training.train import train

SIZE = 48
FILL = np.array([90, 120, 40], np.uint8)
RAND, TRIVIAL = AugmentConfig(rand_augment=1), AugmentConfig(trivial_augment=True)
STATISTICS = ColorStatistics((0.35, 0.47, 0.16), (0.2, 0.2, 0.2), (0.0, 0.0, 0.0), ((0.0,) * 3,) * 3)  # pyright: ignore[reportArgumentType]
PHOTO = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8).repeat(8, 0).repeat(6, 1)
PHOTO[:, 20:] //= 2  # it has an own contrast, and no level for each pixel


def draws(config: AugmentConfig, number: int) -> list[Operation]:
    drawn = [draw_operations(config, SIZE, sample_generator(0, 0, sample)) for sample in range(number)]
    return [operation for each in drawn for operation in each]


def full_strength(config: AugmentConfig, name: str) -> float:
    """Return the magnitude at strength 30, of an image of SIZE."""
    far = RANGES[name].trivial if config.trivial_augment else RANGES[name].rand
    return far * SIZE if config.rand_augment and name.startswith("translate") else far


def torchvisions_draw(config: AugmentConfig, seed: int) -> Operation:
    """Return what torchvision draws after a seed, in our words: its operations have the same order."""
    torch.manual_seed(seed)
    name = NAMES[int(torch.randint(len(NAMES), (1,)))]
    level = int(torch.randint(31, (1,))) if config.trivial_augment and full_strength(config, name) else 9
    full = full_strength(config, name)
    # In fp32, where 16 pixels may be 15.999: both cut such a number.
    magnitude = float(torch.linspace(0, full, 31)[level]) if "translate" in name else full * level / 30
    return Operation(name, -magnitude if RANGES[name].is_signed and bool(torch.randint(2, (1,))) else magnitude)


@pytest.mark.parametrize("config", [RAND, TRIVIAL], ids=["rand", "trivial"])
def test_each_operation_is_torchvisions(config: AugmentConfig) -> None:
    kind = TrivialAugmentWide if config.trivial_augment else RandAugment
    number = {} if config.trivial_augment else {"num_ops": 1}  # magnitude 9 is their default, too
    theirs = kind(interpolation=InterpolationMode.BILINEAR, fill=FILL.tolist(), **number)
    seen = set[tuple[str, bool]]()
    for seed in range(150):
        operation = torchvisions_draw(config, seed)
        torch.manual_seed(seed)
        expected = np.asarray(theirs(PillowImage.fromarray(PHOTO)))
        ours = PHOTO.copy()
        apply_operations(ours, [operation], FILL)
        assert np.abs(ours.astype(int) - expected).max() <= 1, operation
        seen.add((operation.name, operation.magnitude < 0))
    assert {name for name, _ in seen} == set(NAMES)
    assert {name for name, is_negative in seen if is_negative} == {n for n in NAMES if RANGES[n].is_signed}


@pytest.mark.parametrize("config", [RAND, TRIVIAL], ids=["rand", "trivial"])
def test_operations_levels_and_directions_are_drawn_alike(config: AugmentConfig) -> None:
    drawn = draws(config, 2000)
    counts = Counter(each.name for each in drawn)
    assert set(counts) == set(NAMES)
    assert max(counts.values()) < 1.5 * min(counts.values())
    weighed = [each for each in drawn if full_strength(config, each.name)]
    levels = Counter(round(30 * abs(each.magnitude) / full_strength(config, each.name), 6) for each in weighed)
    assert set(levels) == (set(range(31)) if config.trivial_augment else {9})
    signed = [each.magnitude for each in weighed if RANGES[each.name].is_signed and each.magnitude]
    assert np.mean(np.sign(signed)) == pytest.approx(0, abs=0.1)


def test_strength_zero_leaves_an_image_and_more_of_it_changes_more() -> None:
    weak = draws(AugmentConfig(rand_augment=3, rand_augment_magnitude=0.0), 60)
    image = PHOTO.copy()
    apply_operations(image, [each for each in weak if each.name not in ("autocontrast", "equalize")], FILL)
    assert np.abs(image.astype(int) - PHOTO).max() == 0
    halves = [draws(AugmentConfig(rand_augment=3, rand_augment_magnitude=m), 60) for m in (7.5, 15.0)]
    assert all(b.magnitude == pytest.approx(2 * a.magnitude) for a, b in zip(*halves, strict=True))


def test_what_comes_in_from_outside_has_the_colour_of_the_data() -> None:
    image = PHOTO.copy()
    apply_operations(image, [Operation("translate-x", 5.0), Operation("translate-y", -4.0)], FILL)
    assert (image[:, :5] == FILL).all()
    assert (image[-4:] == FILL).all()
    assert np.array_equal(image[:-4, 5:], PHOTO[4:, :-5])


@pytest.mark.parametrize("on", [{"rand_augment": 2}, {"trivial_augment": True}])
def test_all_else_is_drawn_as_without_it(on: dict[str, int]) -> None:
    others = {"color": True, "erase": 1.0, "cutout": 0.4}
    without, with_it = (
        TrainTransform(AugmentConfig(**others, **each), SIZE, statistics=STATISTICS)  # pyright: ignore[reportArgumentType]
        for each in ({}, on)
    )
    for sample in range(20):
        a, b = (each.decide(sample_generator(0, 3, sample)) for each in (without, with_it))
        assert a.operations == ()
        assert len(b.operations) == on.get("rand_augment", 1)
        assert (a.is_mirrored, a.color_seed) == (b.is_mirrored, b.color_seed)
        for one, other in zip(a.painted, b.painted, strict=True):
            assert one is not None
            assert other is not None
            assert one[0] == other[0]
            assert np.array_equal(one[1], other[1])


def test_an_image_is_a_function_of_seed_epoch_and_photo() -> None:
    transform = TrainTransform(AugmentConfig(rand_augment=2, cutout=0.3), SIZE, statistics=STATISTICS)

    def image(seed: int, epoch: int, photo: int) -> np.ndarray:
        return transform(PHOTO, sample_generator(seed, epoch, photo))

    first = image(0, 1, 2)
    random.seed(2)
    torch.manual_seed(2)
    assert np.array_equal(image(0, 1, 2), first)
    assert all(not np.array_equal(image(*other), first) for other in ((1, 1, 2), (0, 2, 2), (0, 1, 3)))


def test_it_comes_before_colours_and_erasing() -> None:
    """Painted squares keep their colour, as in timm."""
    config = AugmentConfig(rand_augment=3, cutout=0.5, color=True)
    transform = TrainTransform(config, SIZE, statistics=STATISTICS)
    for sample in range(10):
        _, painted = transform.decide(sample_generator(0, 0, sample)).painted
        assert painted is not None
        left, top, width, height = painted[0]
        out = np.empty((SIZE, SIZE, 3), np.uint8)
        transform.apply(PHOTO, (0, 0, SIZE, SIZE), sample_generator(0, 0, sample), out)
        assert (out[top : top + height, left : left + width] == transform.mean).all()


@pytest.mark.parametrize("on", [{"rand_augment": 2}, pytest.param({"trivial_augment": True}, marks=pytest.mark.slow)])
def test_neither_workers_nor_a_resume_change_anything(on: dict[str, int], tiny_config: Config) -> None:
    config = changed(tiny_config, "augment", **on)
    whole = train(changed(config, "train", epochs=1), experiment="whole")
    workers = changed(changed(config, "train", epochs=1), "pipeline", workers=2)
    assert train(workers, experiment="stopped", on_step=stop_at(2)).state == "stopped"
    stopped = train(workers, experiment="stopped")
    assert same_content(stopped.last, whole.last)
    assert stopped.metrics == whole.metrics
