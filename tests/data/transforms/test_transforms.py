"""Geometry and colour of the transforms, against torchvision and by hand."""

import dataclasses
import os
import subprocess
import sys
import threading

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torchvision.transforms import v2

from corolla.config import AugmentConfig
from corolla.data.statistics import ColorStatistics
from corolla.data.transforms.color import color_compose
from corolla.data.transforms.crops import random_resized_crop, resnet_crop
from corolla.data.transforms.eval import EvalTransform
from corolla.data.transforms.train import TrainTransform, needs_statistics

STATISTICS = ColorStatistics(
    mean=(0.45, 0.41, 0.31),
    std=(0.28, 0.24, 0.27),
    eigenvalues=(0.16, 0.04, 0.01),
    eigenvectors=((0.6, -0.8, 0.0), (0.8, 0.6, 0.0), (0.0, 0.0, 1.0)),
)


def gradient(height: int, width: int) -> np.ndarray:
    """Red grows to the right, green downwards: a pixel tells where it came from."""
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * x / width, 255 * y / height, np.full((height, width), 90)], -1).astype(np.uint8)


def same_distribution(first: np.ndarray, second: np.ndarray) -> bool:
    """By Kolmogorov and Smirnov's test; the seeds are fixed, so it says the same every time."""
    _, pvalue = ks_2samp(first, second)
    return float(pvalue) > 0.001  # pyright: ignore[reportArgumentType] - scipy's stub does not know its own tuple


def test_resnet_crop_is_the_papers_crop() -> None:
    """At 224 from a 512 photo: side 512 * 224 / s for s in [256, 480], anywhere inside."""
    rng = np.random.default_rng(0)
    boxes = np.array([resnet_crop(512, 512, sides=(256, 480), size=224, rng=rng) for _ in range(3000)])
    left, top, width, height = boxes.T
    assert (width == height).all()
    assert width.max() == round(512 * 224 / 256)
    assert width.min() == round(512 * 224 / 480)
    assert (left >= 0).all()
    assert (left + width <= 512).all()
    assert (top + height).max() == 512
    shorter = np.random.default_rng(1).integers(256, 481, 3000)
    assert same_distribution(width, np.round(512 * 224 / shorter))


def test_resnet_crop_scales_with_the_input_size_and_stays_inside_odd_photos() -> None:
    rng = np.random.default_rng(0)
    for width, height, size in ((64, 64, 64), (300, 200, 96), (31, 80, 64)):
        for _ in range(200):
            left, top, w, h = resnet_crop(width, height, sides=(256, 480), size=size, rng=rng)
            assert w == h <= min(width, height)
            assert 0 <= left <= width - w
            assert 0 <= top <= height - h


def test_random_resized_crop_has_torchvisions_distribution() -> None:
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    ours = np.array(
        [random_resized_crop(300, 200, area=(0.08, 1), aspect=(3 / 4, 4 / 3), rng=rng) for _ in range(4000)]
    )
    image = torch.empty(3, 200, 300)
    crop = v2.RandomResizedCrop(10, scale=(0.08, 1), ratio=(3 / 4, 4 / 3))
    drawn = [crop.make_params([image]) for _ in range(4000)]
    theirs = np.array([[p["left"], p["top"], p["width"], p["height"]] for p in drawn])
    for column in range(4):
        assert same_distribution(ours[:, column], theirs[:, column])


def test_the_fallback_box_is_central() -> None:
    box = random_resized_crop(400, 20, area=(0.9, 1.0), aspect=(1.0, 1.0), rng=np.random.default_rng(0))
    assert box == (190, 0, 20, 20)


@pytest.mark.parametrize("crop", ["resnet", "random-resized"])
def test_train_transform_gives_uint8_of_the_input_size(crop: str) -> None:
    transform = TrainTransform(dataclasses.replace(AugmentConfig(), crop=crop), 48)
    out = transform(gradient(100, 70), np.random.default_rng(0))
    assert out.shape == (48, 48, 3)
    assert out.dtype == np.uint8
    assert out.flags.c_contiguous


def test_flip_mirrors_half_of_the_images() -> None:
    config = AugmentConfig(area=(0.8, 1.0), crop="random-resized")
    mirrored = 0
    for seed in range(400):
        red = TrainTransform(config, 16)(gradient(64, 64), np.random.default_rng(seed))[..., 0].astype(int)
        mirrored += int(red[:, 0].mean() > red[:, -1].mean())
    assert 150 < mirrored < 250
    off = TrainTransform(dataclasses.replace(config, flip=False), 16)
    for seed in range(50):
        red = off(gradient(64, 64), np.random.default_rng(seed))[..., 0].astype(int)
        assert red[:, 0].mean() < red[:, -1].mean()


def test_colour_is_off_unless_it_is_switched_on() -> None:
    grey = np.full((40, 40, 3), (120, 90, 60), np.uint8)
    plain = TrainTransform(AugmentConfig(), 32)
    colour = TrainTransform(AugmentConfig(color=True), 32)
    assert (plain(grey, np.random.default_rng(0)) == (120, 90, 60)).all()
    drawn = {tuple(colour(grey, np.random.default_rng(seed))[0, 0].tolist()) for seed in range(20)}
    assert len(drawn) == 20


def test_colour_is_jittered_as_the_authors_script_does() -> None:
    """Brightness, contrast and saturation of 0.4; the hue of a colour stays."""
    config = AugmentConfig(color=True)
    assert (config.brightness, config.contrast, config.saturation, config.hue) == (0.4, 0.4, 0.4, 0.0)
    photo = np.full((8, 8, 3), (150, 100, 80), np.uint8)
    hues = [
        cv2.cvtColor(TrainTransform(config, 8)(photo, np.random.default_rng(s)), cv2.COLOR_RGB2HSV)[0, 0, 0]
        for s in range(50)
    ]
    assert np.ptp(hues) <= 2, "to the rounding of pixels, of 180"


def test_colour_of_earlier_versions_is_the_same_bits() -> None:
    """Contrast 0 and hue 0.2, which were not to be chosen and the default."""
    earlier = A.ColorJitter(brightness=(0.6, 1.4), contrast=(1.0, 1.0), saturation=(0.6, 1.4), hue=(-0.2, 0.2), p=1.0)
    config = AugmentConfig(color=True, contrast=0.0, hue=0.2)
    for seed in range(20):
        now, then = color_compose(config, None), A.Compose([earlier])
        now.set_random_seed(seed)
        then.set_random_seed(seed)
        assert np.array_equal(now(image=gradient(16, 16))["image"], then(image=gradient(16, 16))["image"])


def test_contrast_alone_scales_the_distance_from_the_mean() -> None:
    halves = np.full((8, 8, 3), 100, np.uint8)
    halves[:, 4:] = 200
    transform = TrainTransform(
        AugmentConfig(color=True, brightness=0, saturation=0, crop="random-resized", area=(1, 1), aspect=(1, 1)), 8
    )
    found = np.array([transform(halves, np.random.default_rng(seed)) for seed in range(300)]).astype(float)
    distances = np.ptp(found.reshape(300, -1), axis=1)
    assert 60 <= distances.min() < 66
    assert 134 < distances.max() <= 140
    assert found.mean((1, 2, 3)) == pytest.approx(150, abs=1)


def test_pca_noise_may_lie_along_imagenets_axes() -> None:
    """At 0.1 of standard deviations 5.546, 0.4794 and 0.1148 grey levels; no photo is read for them."""
    config = AugmentConfig(pca_noise=0.4, pca_axes="imagenet")
    assert not needs_statistics(config)
    assert needs_statistics(AugmentConfig(pca_noise=0.1))
    grey = np.full((8, 8, 3), 128, np.uint8)
    transform = TrainTransform(config, 8)
    shifts = np.array([transform(grey, np.random.default_rng(s))[0, 0].astype(float) - 128 for s in range(1000)])
    axes = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
    rounding = 1 / np.sqrt(12)
    expected = np.hypot(0.4 * np.array([55.46, 4.794, 1.148]), rounding)
    assert (shifts @ axes).std(0) == pytest.approx(expected, rel=0.08)


def test_brightness_alone_scales_by_its_range() -> None:
    grey = np.full((8, 8, 3), 100, np.uint8)
    config = AugmentConfig(color=True, brightness=0.4, contrast=0, saturation=0, hue=0)
    values = [TrainTransform(config, 8)(grey, np.random.default_rng(seed))[0, 0, 0] for seed in range(300)]
    assert 60 <= min(values) < 66
    assert 134 < max(values) <= 140


def test_pca_noise_lies_along_the_data_sets_own_axes() -> None:
    grey = np.full((8, 8, 3), 128, np.uint8)
    transform = TrainTransform(AugmentConfig(pca_noise=0.1), 8, statistics=STATISTICS)
    shifts = np.array([transform(grey, np.random.default_rng(s))[0, 0].astype(float) - 128 for s in range(2000)]) / 255
    axes = np.array(STATISTICS.eigenvectors)
    along = shifts @ axes
    # sd 0.1 times the square root of each eigenvalue, with the rounding to whole grey levels
    assert along.std(0) == pytest.approx(0.1 * np.sqrt(STATISTICS.eigenvalues), rel=0.08)


def test_the_same_sample_is_the_same_in_any_thread() -> None:
    transform = TrainTransform(AugmentConfig(color=True, pca_noise=0.1), 24, statistics=STATISTICS)
    image = gradient(64, 64)
    expected = [transform(image, np.random.default_rng(seed)) for seed in range(40)]
    wrong: list[int] = []

    def work() -> None:
        for seed, there in enumerate(expected):
            if not np.array_equal(transform(image, np.random.default_rng(seed)), there):
                wrong.append(seed)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_evaluation_resizes_then_crops() -> None:
    """At crop fraction 0.875 the 224 centre of a square photo shows its middle 7/8."""
    out = EvalTransform(56, crop_fraction=0.875)(gradient(256, 256))
    assert out.shape == (1, 56, 56, 3)
    red = out[0, :, :, 0].astype(float) / 255
    assert red[:, 0].mean() == pytest.approx(1 / 16, abs=0.02)
    assert red[:, -1].mean() == pytest.approx(15 / 16, abs=0.02)


def test_evaluation_keeps_the_aspect_of_a_photo() -> None:
    out = EvalTransform(56, crop_fraction=0.875)(gradient(128, 256))
    red, green = out[0, :, :, 0].astype(float) / 255, out[0, :, :, 1].astype(float) / 255
    assert green[-1].mean() - green[0].mean() == pytest.approx(0.86, abs=0.03)
    assert red[:, -1].mean() - red[:, 0].mean() == pytest.approx(0.43, abs=0.03)


def test_flip_adds_the_mirror() -> None:
    out = EvalTransform(32, crop_fraction=0.875, tta="flip")(gradient(64, 64))
    assert np.array_equal(out[1], out[0][:, ::-1])


def test_ten_crop_is_torchvisions() -> None:
    image = gradient(64, 64)
    transform = EvalTransform(48, crop_fraction=0.75, tta="ten-crop")  # 48 / 0.75 = 64: no resize, so equal bit for bit
    ours = transform(image)
    theirs = torch.stack(v2.TenCrop(48)(torch.from_numpy(image).permute(2, 0, 1))).permute(0, 2, 3, 1).numpy()
    assert transform.num_views == len(ours) == 10
    assert sorted(view.tobytes() for view in ours) == sorted(view.tobytes() for view in theirs)


@pytest.mark.slow
def test_albumentations_asks_no_server_for_its_newest_version() -> None:
    code = (
        "import socket\n"
        "def refuse(*args, **options): raise SystemExit(f'asked for {args[0]}')\n"
        "socket.getaddrinfo = socket.create_connection = refuse\n"
        "import corolla.data.transforms.color\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "NO_ALBUMENTATIONS_UPDATE"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)
