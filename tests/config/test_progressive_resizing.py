"""Progressive resizing: the size of an epoch, its batches, and a run with it."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from support import same_content, stop_at

from corolla.config import AugmentConfig, Config
from corolla.config.progressive_resizing import epoch_size
from corolla.data.dataset import TFRecordDataset
from corolla.data.index import load_index
from corolla.data.loader import Batch, load_batches
from corolla.data.sampler import TrainBatchSampler
from corolla.data.transforms.train import TrainTransform
from corolla.errors import UserError
from corolla.training.state import TrainState
from corolla.training.train import train

AUGMENT = AugmentConfig(crop="random-resized", area=(0.3, 1.0), color=True, start_size=16)


def sizes(start: int | None, size: int, epochs: int, share: float = 0.75) -> list[int]:
    config = AugmentConfig(start_size=start, grow_epochs=share)
    return [epoch_size(config, size, epoch, epochs) for epoch in range(epochs)]


def test_it_grows_by_steps_to_the_input_size() -> None:
    assert sizes(128, 224, 8) == [128, 128, 160, 160, 192, 192, 224, 224]
    assert sizes(32, 64, 8, 0.5) == [32, 32, 48, 48, 64, 64, 64, 64]
    assert sizes(None, 224, 3) == [224] * 3
    assert sizes(224, 224, 3) == [224] * 3
    assert sizes(100, 224, 4, 1.0) == [100, 100, 132, 164]


def test_it_never_shrinks() -> None:
    for start, epochs, share in itertools.product((8, 33, 96), (1, 2, 7, 30), (0.01, 0.6, 1.0)):
        found = sizes(start, 96, epochs, share)
        assert found == sorted(found)
        assert found[0] >= start
        assert found[-1] <= 96


def batches(data: Path, *, workers: int, start: int = 0, size: int = 48) -> list[Batch]:
    photos = TFRecordDataset(load_index(data, None), "train", TrainTransform(AUGMENT, size, epochs=4))
    plan = TrainBatchSampler(len(photos), 8, 0, start=start, stop=20)
    return list(load_batches(photos, plan, workers=workers, device=torch.device("cpu")))


def same(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a, b) for one, two in zip(first, second, strict=True) for a, b in zip(one, two, strict=True)
    )


@pytest.mark.parametrize(("workers", "start"), [(1, 0), (3, 0), (0, 7), (2, 13)])
def test_neither_workers_nor_a_resume_change_anything(workers: int, start: int, tiny_data: Path) -> None:
    undisturbed = batches(tiny_data, workers=0)
    assert [batch.images.shape[1] for batch in undisturbed[::5]] == [16, 16, 32, 48]
    assert all(batch.images.shape == (8, *batch.images.shape[1:2] * 2, 3) for batch in undisturbed)
    assert same(batches(tiny_data, workers=workers, start=start), undisturbed[start:])


def test_batches_that_are_kept_stay_as_they_are(tiny_data: Path) -> None:
    """Whoever keeps all of them: small batches lie in slots of the full size, and in memory of their own."""
    kept = batches(tiny_data, workers=1)
    assert same(kept, batches(tiny_data, workers=0))


def test_only_training_knows_the_epochs(tiny_data: Path) -> None:
    """Without them, as on contact sheets, every epoch has the full size; at full size nothing is changed."""
    index = load_index(tiny_data, None)
    plain = TFRecordDataset(index, "train", TrainTransform(dataclasses.replace(AUGMENT, start_size=None), 48))
    sheet = TFRecordDataset(index, "train", TrainTransform(AUGMENT, 48))
    grown = TFRecordDataset(index, "train", TrainTransform(AUGMENT, 48, epochs=4))
    assert np.array_equal(sheet[0, 3].image, plain[0, 3].image)
    assert np.array_equal(grown[3, 3].image, plain[3, 3].image)
    assert grown[0, 3].image.shape == (16, 16, 3)


def growing(config: Config) -> Config:
    return dataclasses.replace(
        config,
        augment=dataclasses.replace(config.augment, start_size=16, grow_epochs=0.5),
        train=dataclasses.replace(config.train, precision="fp32"),
    )


def test_a_run_grows_and_resumes_exactly(tiny_config: Config) -> None:
    seen: list[int] = []

    def sizes_seen(state: TrainState, batch: Batch, lr: float, loss: torch.Tensor) -> None:
        seen.append(batch.images.shape[1])

    undisturbed = train(growing(tiny_config), experiment="undisturbed", on_step=sizes_seen)
    assert seen == [16] * 5 + [32] * 5
    assert train(growing(tiny_config), experiment="stopped", on_step=stop_at(3)).state == "stopped"
    resumed = train(growing(tiny_config), experiment="stopped")
    assert resumed.metrics == undisturbed.metrics
    assert same_content(resumed.last, undisturbed.last)


def test_a_start_that_is_not_below_the_input_size_does_nothing(tiny_config: Config) -> None:
    config = dataclasses.replace(growing(tiny_config), input_size=12)
    with pytest.raises(UserError, match=r"^--augment\.start-size has no effect without an --input-size above it"):
        train(config, explicit={"augment.start_size"})
    assert not (config.runs / "custom-seed0" / "config.json").exists()
    assert sizes(16, 12, 4) == [12] * 4


@pytest.mark.parametrize("name", ["halonet26t", "efficientformer_l1"])
def test_an_input_size_that_the_network_does_not_take_is_refused(name: str, tiny_config: Config) -> None:
    config = dataclasses.replace(tiny_config, model=dataclasses.replace(tiny_config.model, name=f"timm:{name}"))
    with pytest.raises(UserError, match=rf"^--input-size 32: timm:{name} takes no images of 32 px \(.+\); choose"):
        train(config)
    assert not (config.runs / "custom-seed0" / "config.json").exists()


def test_a_network_for_one_size_is_refused(tiny_config: Config) -> None:
    model = dataclasses.replace(tiny_config.model, name="timm:vit_tiny_patch16_224")
    with pytest.raises(UserError, match=r"--augment.start-size 16: timm:vit_tiny_patch16_224 takes no images of 16 px"):
        train(dataclasses.replace(growing(tiny_config), model=model))
