"""Names of views, the views themselves, and prediction with them."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support import changed, stop_at

import corolla.data.dataset
import corolla.evaluation.predict
from corolla.config import AugmentConfig, Config, ModelConfig
from corolla.data.dataset import TFRecordDataset
from corolla.data.decode import resize
from corolla.data.index import load_index
from corolla.data.transforms.crops import random_resized_crop
from corolla.data.transforms.eval import EvalTransform
from corolla.data.transforms.tta import Views, average_views, parse_tta
from corolla.data.transforms.views import ViewsTransform
from corolla.errors import UserError
from corolla.models.normalise import Normalise
from corolla.random import sample_generator
from corolla.runs.checkpoint import load_checkpoint, rebuild_model
from corolla.runs.folder import Run
from corolla.training.train import train


@pytest.fixture(scope="module")
def run(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Five steps in fp32 at 24 px."""
    base = Config(
        data=tiny_data,
        runs=tmp_path_factory.mktemp("views") / "runs",
        input_size=24,
        device="cpu",
        model=ModelConfig(name="timm:test_resnet"),
        augment=AugmentConfig(crop="random-resized", area=(0.3, 1.0), color=True),
    )
    train_for = dataclasses.replace(base.train, epochs=1, batch_size=8, precision="fp32")
    pipeline = dataclasses.replace(base.pipeline, workers=0)
    return train(dataclasses.replace(base, train=train_for, pipeline=pipeline), experiment="tiny")


def predict(run: Run, tta: str, **options: Any) -> NDArray[np.float32]:
    options = {"device": "cpu", "workers": 0, **options}
    return corolla.evaluation.predict.predict(run.folder, tta=tta, **options).predictions.probabilities


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("none", "none"),
        ("ten-crop", "ten-crop"),
        ("multi-scale+flip", "flip+multi-scale"),
        ("flip+random-8", "random-8+flip"),
        ("multi-scale+ten-crop", "ten-crop+multi-scale"),
        ("ten-crop_size80_fraction1", "ten-crop_fraction1.0_size80"),
        ("flip_logits_fraction0.50", "flip_fraction0.5_logits"),
    ],
)
def test_views_have_one_name(said: str, name: str) -> None:
    assert parse_tta(said).name == name
    assert parse_tta(name) == parse_tta(said)
    assert Run(Path("run")).predictions("val", said).name == f"val-{name}.npz"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tencrop", "no views are called 'tencrop', did you mean 'ten-crop'.*there are none, flip, ten-crop, multi-sc"),
        ("", "no views are called ''"),
        ("random", "no views are called 'random', did you mean 'random-8'"),
        ("random-0", "no views are called 'random-0'"),
        ("random-101", "at most random-100"),
        ("flip+flip", "is named twice"),
        ("random-2+random-3", "is named twice"),
        ("none_fraction0.5_fraction0.6", "is named twice"),
        ("random-8_size64_logits_size80", "is named twice"),
        ("none_logits_logits", "is named twice"),
        ("none+flip", "none stands alone"),
        ("ten-crop+flip", "has the mirrors already"),
        ("flip_fraction2.0", "_fraction2.0 is not known"),
        ("flip_fraction0.01", "0.1 to 1"),
        ("multi-scale_fraction1.0", "not cut out by it"),
        ("random-3+flip_fraction1.0", "not cut out by it"),
        ("flip_size2", "8 to 4096 pixels"),
        ("flip_sum", "_sum is not known"),
        ("../flip", "no views are called"),
    ],
)
def test_a_bad_name_is_told_in_one_line(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse_tta(name)
    assert "\n" not in str(caught.value)


def test_what_is_averaged() -> None:
    logits = torch.tensor([[[0.0, 2.0], [4.0, 0.0]]])
    assert torch.equal(average_views(logits), logits.softmax(-1).mean(1))
    assert torch.equal(average_views(logits, "logits"), logits.mean(1).softmax(-1))


def gradient(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("tta", ["none", "flip", "ten-crop"])
def test_the_fixed_crops_are_as_before(tta: Any) -> None:
    made = ViewsTransform(24, parse_tta(tta), crop_fraction=0.75)
    assert np.array_equal(made(gradient(40, 56))[0], EvalTransform(24, crop_fraction=0.75, tta=tta)(gradient(40, 56)))


@pytest.mark.parametrize("tta", ["none", "flip", "ten-crop", "ten-crop+multi-scale", "ten-crop+random-2"])
@pytest.mark.parametrize("side", [17, 24, 40, 97])
def test_square_photos_are_cut_on_the_device_to_the_same_views(tta: str, side: int) -> None:
    how = {"crop_fraction": 0.75, "interpolation": "bicubic"}
    photos = [gradient(side, side), 255 - gradient(side, side)]
    cut, uncut = (ViewsTransform(24, parse_tta(tta), all_square=square, **how) for square in (False, True))
    assert np.prod(uncut.shape) <= np.prod(cut.shape) / (2 if tta == "ten-crop" else 1)
    for seed in range(2):
        expected = [cut(photo, sample_generator(0, 0, seed)) for photo in photos]
        made = np.empty((2, *uncut.shape), np.uint8)
        for photo, place in zip(photos, made, strict=True):
            uncut.apply(photo, (0, 0, side, side), sample_generator(0, 0, seed), place)
        for number, views in enumerate(uncut.split(torch.from_numpy(made))):
            assert np.array_equal(views.numpy(), np.stack([one[number] for one in expected]))
            assert views.shape[1:] == (uncut.groups[number].num_views, *[uncut.groups[number].side] * 2, 3)


def test_multi_scale_shows_the_whole_photo_at_five_sizes() -> None:
    photo = gradient(96, 96)
    views = ViewsTransform(48, parse_tta("flip+multi-scale"), crop_fraction=0.875)(photo)
    assert [view.shape for view in views] == [(2, side, side, 3) for side in (48, 55, 82, 103, 137)]
    for view in views:
        assert np.array_equal(view[0], EvalTransform(view.shape[1], crop_fraction=1.0)(photo)[0])
        assert np.array_equal(view[1], view[0, :, ::-1])


def test_random_views_are_the_training_crops_of_epoch_0() -> None:
    augment = AugmentConfig(crop="random-resized", area=(0.2, 0.9), pca_noise=0.1, color=True)
    photo = gradient(40, 40)
    transform = ViewsTransform(24, parse_tta("random-3+flip"), crop_fraction=0.875, augment=augment)
    (views,) = transform(photo, sample_generator(0, 0, 5))
    rng = sample_generator(0, 0, 5)
    for view, mirror in zip(views[:3], views[3:], strict=True):
        left, top, width, height = random_resized_crop(40, 40, area=(0.2, 0.9), aspect=augment.aspect, rng=rng)
        assert np.array_equal(view, resize(photo[top : top + height, left : left + width], 24, 24))
        assert np.array_equal(mirror, view[:, ::-1])
    assert not np.array_equal(views[0], views[1])


def test_parts_follow_each_other_and_the_suffixes_change_them() -> None:
    photo, rng = gradient(64, 64), sample_generator(0, 0, 0)
    views = parse_tta("ten-crop+random-2+multi-scale_fraction1.0_size32")
    crops, *scales = ViewsTransform(24, views, crop_fraction=0.5)(photo, rng)
    assert crops.shape == (12, 32, 32, 3)
    assert np.array_equal(crops[:10], EvalTransform(32, crop_fraction=1.0, tta="ten-crop")(photo))
    assert [scale.shape[1] for scale in scales] == [32, 37, 55, 69, 91]


@torch.inference_mode()
def by_hand(run: Run, data: Path, views: Views, *, largest: int | None = None) -> NDArray[np.float32]:
    """The mean of the views' probabilities, photo by photo, by the network's ordinary forward pass."""
    model, description = rebuild_model(load_checkpoint(run.best))
    preprocessing = description.preprocessing
    transform = ViewsTransform(24, views, crop_fraction=preprocessing.crop_fraction, augment=description.config.augment)
    normalise = Normalise(preprocessing, channels_last=False)
    photos = TFRecordDataset(load_index(data, 32), "test")
    rows = []
    for i in range(len(photos)):
        groups = transform(photos.image(i), sample_generator(0, 0, i))
        logits = torch.cat([model(normalise(torch.from_numpy(group))) for group in groups])
        rows.append(average_views(logits[None], views.average)[0])
    return torch.stack(rows).numpy()


@pytest.mark.parametrize(
    "tta",
    [
        "multi-scale",
        "random-3+flip",
        "ten-crop+multi-scale",
        "flip_fraction1.0_size40_logits",
    ],
)
def test_predictions_are_the_average_of_the_views(
    tta: str, run: Run, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []
    decode = corolla.data.dataset.decode_photo
    monkeypatch.setattr(
        corolla.data.dataset, "decode_photo", lambda *args, **how: decoded.append(1) or decode(*args, **how)
    )
    probabilities = predict(run, tta, batch_size=8)
    assert len(decoded) == 11  # each photo once
    assert probabilities == pytest.approx(by_hand(run, tiny_data, parse_tta(tta)), abs=1e-5)
    assert run.predictions("test", tta).exists()


def test_neither_batches_nor_workers_change_random_views(run: Run) -> None:
    first = predict(run, "random-2+multi-scale", split="val", batch_size=1)
    run.predictions("val", "random-2+multi-scale").unlink()
    second = predict(run, "random-2+multi-scale", split="val", batch_size=100, workers=2)
    assert first == pytest.approx(second, abs=1e-5)


def test_cudnn_tunes_for_whole_batches_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for the last batch, which is smaller, nor for images that are computed again, however many these are."""
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    seen = set[tuple[int, bool]]()
    normalise = Normalise.forward

    def record(module: Normalise, images: torch.Tensor) -> torch.Tensor:
        seen.add((len(images), torch.backends.cudnn.benchmark))
        return normalise(module, images)

    monkeypatch.setattr(Normalise, "forward", record)
    monkeypatch.setattr("corolla.evaluation.tta_model.CLOSE", 2.0)  # every image is computed again
    predict(run, "flip", split="test", batch_size=8)  # 11 photos: 8 views, 8 views, 6 views
    own = run.config.train.precision
    assert {size for size, is_tuned in seen if is_tuned} == {8}
    assert (6, False) in seen, own
    assert torch.backends.cudnn.benchmark


def test_options_and_suffixes_say_the_same(run: Run) -> None:
    how = {"crop_fraction": 1.0, "view_size": 40, "average": "logits"}
    made = corolla.evaluation.predict.predict(run.folder, tta="none", device="cpu", workers=0, **how)
    assert made.path == run.predictions("test", "none_fraction1.0_size40_logits")
    again = corolla.evaluation.predict.predict(run.folder, tta="none_logits_size40_fraction1.0", device="cpu")
    assert not again.made
    assert not np.allclose(predict(run, "none"), made.predictions.probabilities)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"crop_fraction": 1.5}, "--crop-fraction 1.5: a number from 0.1 to 1"),
        ({"view_size": 0}, "--view-size 0: 8 to 4096"),
    ],
)
def test_options_out_of_range_are_told(how: dict[str, Any], message: str, run: Run) -> None:
    with pytest.raises(UserError, match=message):
        predict(run, "none", **how)


def test_views_that_the_network_does_not_take_are_told(tiny_config: Config) -> None:
    """HRNet adds maps of several scales, which fit for multiples of 32 alone."""
    config = changed(changed(tiny_config, "model", name="timm:hrnet_w18_small"), "train", epochs=1)
    # Without momentum, and stopped before there is a best.pt: 45 MB instead of 180.
    hrnet = train(changed(config, "optim", momentum=0.0), on_step=stop_at(1))
    for tta, said in (("multi-scale", "--tta multi-scale"), ("flip_size40", "--view-size 40")):
        message = rf"^{said}: timm:hrnet_w18_small takes no photos of \d+ px \(.+\); leave it out"
        with pytest.raises(UserError, match=message):
            predict(hrnet, tta, checkpoint="last")


def test_close_calls_are_made_in_fp32(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network after two short epochs is sure of little: every photo is close, and comes out as fp32 has it."""
    reduced = dataclasses.replace(tiny_config, train=dataclasses.replace(tiny_config.train, precision="bf16", epochs=1))
    run = train(reduced)
    monkeypatch.setattr("corolla.evaluation.tta_model.CLOSE", 1.1)
    close = predict(run, "ten-crop", split="val")
    run.predictions("val", "ten-crop").unlink()
    monkeypatch.setattr("corolla.evaluation.tta_model.CLOSE", 0.0)
    reduced_only = predict(run, "ten-crop", split="val")
    run.predictions("val", "ten-crop").unlink()
    monkeypatch.setattr("corolla.evaluation.inference.choose_precision", lambda *_: "fp32")
    exact = predict(run, "ten-crop", split="val")
    assert np.allclose(close, exact, atol=1e-6)
    assert not np.allclose(reduced_only, exact, atol=1e-6)
