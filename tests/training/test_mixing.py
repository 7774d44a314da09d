"""Mixup and CutMix: a function of seed and step, each part with itself, and as timm mixes."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from support import changed
from timm.data.mixup import Mixup

from corolla.config import Config, TrainConfig
from corolla.data.loader import Batch
from corolla.training.mixing import Mix, cutmix_of, draw_mix, mixed_parts
from corolla.training.state import TrainState
from corolla.training.train import train


def batch_of(num_images: int, height: int = 12, width: int = 8) -> Batch:
    generator = torch.Generator().manual_seed(num_images)
    images = torch.randint(0, 256, (num_images, height, width, 3), generator=generator, dtype=torch.uint8)
    return Batch(images, torch.arange(num_images) % 5, torch.arange(num_images))


def draws(num_steps: int, **settings: Any) -> list[Mix | None]:
    return [draw_mix(TrainConfig(**settings), step, 0, 32, 32) for step in range(num_steps)]


def test_off_gives_the_batch_itself() -> None:
    assert draws(20) == [None] * 20
    batch = batch_of(7)
    parts = list(mixed_parts(batch, None, (3, 2, 2), 5))
    assert torch.equal(torch.cat([images for images, _ in parts]), batch.images)
    assert torch.equal(torch.cat([labels for _, labels in parts]), batch.labels)


def test_what_is_drawn_is_a_function_of_seed_and_step() -> None:
    settings = {"mixup": 0.4, "cutmix": 1.0, "mix_share": 0.5}
    first = draws(50, **settings)
    np.random.default_rng().random()
    torch.rand(3)
    assert draws(50, **settings) == first
    assert draws(50, **settings, seed=1) != first
    assert len({mix.share for mix in first if mix is not None}) > 15


def test_shares_are_those_asked_for() -> None:
    both = draws(600, mixup=0.4, cutmix=1.0, mix_share=0.5)
    mixed = [mix for mix in both if mix is not None]
    assert len(mixed) == pytest.approx(300, abs=50)
    assert sum(mix.box is not None for mix in mixed) == pytest.approx(150, abs=40)
    assert all(mix is not None and mix.box is None for mix in draws(50, mixup=0.4))
    assert all(mix is not None and mix.box is not None for mix in draws(50, cutmix=1.0))
    beta = [mix.share for mix in draws(600, mixup=0.4) if mix is not None]
    assert np.mean(beta) == pytest.approx(0.5, abs=0.05)
    assert np.var(beta) == pytest.approx(1 / 4 / 1.8, rel=0.1)  # 1 / (4 (2 alpha + 1))


def test_the_last_epochs_are_not_mixed() -> None:
    config = TrainConfig(epochs=5, mixup=0.2, mix_off_epochs=2)
    assert [draw_mix(config, 9, epoch, 8, 8) is None for epoch in range(5)] == [False, False, False, True, True]


def test_the_box_is_what_the_label_gives_away() -> None:
    rng = np.random.default_rng(0)
    whole = []
    for _ in range(300):
        mix = cutmix_of(0.75, 40, 20, rng)
        assert mix.box is not None
        pixels = torch.zeros(40, 20)
        pixels[mix.box] = 1
        assert 1 - pixels.mean().item() == pytest.approx(mix.share)
        whole.append(pixels.sum().item() == 200)
    assert 0 < np.mean(whole) < 1  # the others stuck out
    nothing, everything = cutmix_of(1.0, 8, 8, rng), cutmix_of(0.0, 8, 8, rng)
    assert nothing.share == 1
    assert everything.share < 0.8


@pytest.mark.parametrize("box", [None, (slice(2, 9), slice(0, 5))])
def test_images_and_targets_are_mixed_as_timm_does(
    box: tuple[slice, slice] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, share = batch_of(8), 0.7 if box is None else 1 - 35 / 96
    theirs = Mixup(mixup_alpha=1.0, label_smoothing=0.0, num_classes=5)
    monkeypatch.setattr(theirs, "_params_per_batch", lambda: (share, box is not None))
    monkeypatch.setattr("timm.data.mixup.cutmix_bbox_and_lam", lambda *_, **__: ((2, 9, 0, 5), share))
    pixels, soft = theirs(batch.images.float().permute(0, 3, 1, 2).contiguous(), batch.labels)
    [(images, targets)] = mixed_parts(batch, Mix(share, box), [8], 5)
    assert torch.allclose(images.float(), pixels.permute(0, 2, 3, 1), atol=1e-3)
    assert torch.allclose(targets, soft)


@pytest.mark.parametrize("box", [None, (slice(2, 9), slice(0, 5))])
def test_partners_are_those_of_the_part(box: tuple[slice, slice] | None) -> None:
    """An odd part, too: its middle is its own partner."""
    batch, mix = batch_of(7), Mix(0.6, box)
    parts = list(mixed_parts(batch, mix, (3, 2, 2), 5))
    for start, end, (images, targets) in zip((0, 3, 5), (3, 5, 7), parts, strict=True):
        alone = Batch(*(values[start:end] for values in batch))
        [(expected, expected_targets)] = mixed_parts(alone, mix, [end - start], 5)
        assert torch.equal(images, expected)
        assert torch.equal(targets, expected_targets)
        assert torch.allclose(targets.sum(1), torch.ones(end - start))
    assert torch.allclose(parts[0][0][1].float(), batch.images[1].float(), atol=1e-3)
    assert torch.equal(batch.images, batch_of(7).images)  # it is left as it was


def losses_of(config: Config, name: str) -> list[float]:
    losses: list[float] = []

    def record(state: TrainState, batch: Batch, lr: float, loss: torch.Tensor) -> None:
        losses.append(loss.item())

    train(config, experiment=name, on_step=record)
    return losses


def test_training_mixes_until_the_last_epochs(tiny_config: Config) -> None:
    """Mixing that is off at the end does not change the steps before; that is on for no epoch, none."""
    model = dataclasses.replace(tiny_config.model, name="timm:test_efficientnet")
    config = dataclasses.replace(changed(tiny_config, "train", precision="fp32"), model=model)
    mixed = losses_of(changed(config, "train", mixup=1.0, cutmix=1.0), "mixed")
    half = losses_of(changed(config, "train", mixup=1.0, cutmix=1.0, mix_off_epochs=1), "half")
    assert half[:5] == mixed[:5]
    assert half[5] != mixed[5]
    config = changed(config, "train", epochs=1)
    plain = losses_of(config, "plain")
    assert losses_of(changed(config, "train", mixup=1.0, mix_off_epochs=1), "never") == plain
    assert plain[0] != mixed[0]


def test_parts_are_one_update(tiny_config: Config) -> None:
    """Without batch statistics and mixing, four parts give the gradient of the whole; mixed, they have other pairs."""
    model = dataclasses.replace(tiny_config.model, name="timm:test_vit")
    config = dataclasses.replace(changed(tiny_config, "train", precision="fp32", epochs=1), model=model)
    whole, parts = (train(changed(config, "train", accumulate=n), experiment=f"parts{n}").metrics[0] for n in (1, 4))
    assert parts["train_loss"] == pytest.approx(whole["train_loss"], rel=1e-4)
    assert parts["val_loss"] == pytest.approx(whole["val_loss"], rel=1e-3)
    config = changed(config, "train", mixup=0.4, cutmix=1.0)
    whole, parts = (losses_of(changed(config, "train", accumulate=n), f"mixed{n}") for n in (1, 4))
    assert parts[0] != pytest.approx(whole[0], rel=1e-4)
