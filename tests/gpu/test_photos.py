"""Photos that live on a card: `pytest -m gpu`."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from support import changed, on_gpu

from corolla.config import AugmentConfig, Config
from corolla.data.dataset import Samples, TFRecordDataset
from corolla.data.index import load_index
from corolla.data.photos_on_device import put_on_device
from corolla.data.recipe_photos import RecipePhotos
from corolla.data.transforms.train import TrainTransform
from corolla.training.train import train

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.mark.parametrize("crop", ["resnet", "random-resized"])
@pytest.mark.parametrize("size", [24, 32, 48])
def test_a_card_makes_the_pixels_of_a_cpu(crop: str, size: int, tiny_config: Config) -> None:
    """The very same: all sums are exact."""
    augment = AugmentConfig(crop=crop)  # pyright: ignore[reportArgumentType]
    photos = TFRecordDataset(load_index(tiny_config.data, None), "train", TrainTransform(augment, size))
    samples, images = Samples(1, np.arange(len(photos))), list[torch.Tensor]()
    for device in ("cpu", "cuda"):
        recipes = RecipePhotos(photos)
        recipes.place(put_on_device(photos, torch.device(device)))
        made = np.zeros(recipes.batch_shape(samples), np.uint8)
        recipes.load_into(samples, made)
        images.append(recipes.on_device(torch.from_numpy(made), samples)(torch.from_numpy(made).to(device)).cpu())
    assert torch.equal(*images)


def test_auto_chooses_it_and_a_cpu_goes_on_with_the_run(tiny_config: Config) -> None:
    config = changed(on_gpu(tiny_config, epochs=1), "pipeline", workers=2)
    run = train(dataclasses.replace(config, run_name="run"))
    assert json.loads((run.folder / "config.json").read_text())["pipeline"]["cache"] == "device"
    longer = dataclasses.replace(changed(config, "train", epochs=2), run_name="longer", resume=run.folder)
    assert train(dataclasses.replace(longer, device="cpu")).state == "done"


def test_a_deterministic_run_keeps_its_photos_on_the_host(tiny_config: Config) -> None:
    run = train(on_gpu(tiny_config, epochs=1, deterministic=True))
    assert "cache" not in json.loads((run.folder / "config.json").read_text())["pipeline"]


def test_a_batch_is_made_without_waiting_for_the_card(tiny_config: Config) -> None:
    photos = TFRecordDataset(load_index(tiny_config.data, None), "train", TrainTransform(AugmentConfig(color=True), 32))
    recipes, samples = RecipePhotos(photos), Samples(0, np.arange(8))
    recipes.place(put_on_device(photos, torch.device("cuda")))
    made = np.zeros(recipes.batch_shape(samples), np.uint8)
    recipes.load_into(samples, made)
    finish, there = recipes.on_device(torch.from_numpy(made), samples), torch.from_numpy(made).cuda()
    finish(there)  # the first one chooses algorithms
    torch.cuda.set_sync_debug_mode("error")
    try:
        finish(there)
    finally:
        torch.cuda.set_sync_debug_mode("default")
