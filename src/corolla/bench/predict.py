"""`corolla bench predict`: ten-crop inference against the bare forward, and against what one would write by hand."""

import dataclasses
import io
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms.functional import to_tensor

from corolla.bench.pairs import Report, images_per_s, microseconds, take_turns
from corolla.data.flowers import Flowers
from corolla.data.index import load_index
from corolla.data.loader import EvalBatches, load_batches
from corolla.data.stats import data_statistics
from corolla.data.transforms import EvalTransform
from corolla.device import choose_device, num_workers
from corolla.errors import UserError
from corolla.evaluation.classifier import Classifier
from corolla.evaluation.tta import average_views
from corolla.experiments import find_experiment
from corolla.models.factory import build_model
from corolla.models.weights import Preprocessing
from corolla.training.checkpoint import Description

VIEWS = 10
PHOTOS = 6  # a batch: 60 views


def bench_predict(
    experiment: str = "lite0_scratch",
    *,
    data: Path,
    size: int | None = None,
    input_size: int | None = None,
    workers: int | None = None,
    pairs: int = 10,
    device: str = "auto",
    index: Path | None = None,
) -> Report:
    """Ten-crop of val photos by `experiment`'s network with random weights; images/s count photos, not views.

    Raises:
        UserError: no such experiment or data.
    """
    loaded, chosen = load_index(data, size, index), choose_device(device)
    config = dataclasses.replace(find_experiment(experiment), input_size=input_size or loaded.size)
    assert config.input_size is not None
    color = data_statistics(loaded, ("train",), cache=index).color
    preprocessing = Preprocessing(mean=color.mean, std=color.std, interpolation="bilinear", crop_fraction=0.875)
    description = Description(
        config=config,
        input_size=config.input_size,
        class_names=loaded.class_names,
        preprocessing=preprocessing,
        fingerprint=loaded.fingerprint,
    )
    torch.manual_seed(0)
    plain = build_model(config.model, len(loaded.class_names), config.input_size).eval()
    weights = plain.state_dict()
    ready = build_model(config.model, len(loaded.class_names), config.input_size).eval()
    ready.load_state_dict(weights)
    classify = Classifier(ready, description, chosen)
    transform = EvalTransform(config.input_size, crop_fraction=preprocessing.crop_fraction, tta="ten-crop")
    photos = Flowers(loaded, "val", transform)
    num_photos = min(len(photos), 20 * PHOTOS) // PHOTOS * PHOTOS
    if not num_photos:
        raise UserError(f"{data}: {len(photos)} val photos are too few to measure with; {PHOTOS} at least are needed")
    ours = (
        "corolla, ten-crop",
        _pipeline(photos, classify, num_photos, num_workers(workers, chosen), chosen),
    )
    forward = "bare forward of the same", _forward(photos, classify, num_photos, chosen)
    by_hand = "timm's model over torchvision's TenCrop", _by_hand(photos, plain, transform, num_photos, chosen)
    settings: dict[str, object] = {"experiment": experiment, "data": data.name, "input": f"{config.input_size} px"}
    settings |= {"photos a turn": num_photos, "views": VIEWS, "precision": classify.precision}
    rows = list(range(min(100, len(photos))))
    stages = {
        "decode": microseconds(photos.image, rows),
        "ten views": microseconds(lambda i: transform(photos.image(i)), rows),
        "forward of ten views": 1e6 / forward[1](),
    }
    stages["ten views"] -= stages["decode"]
    comparisons = take_turns(ours, forward, pairs=pairs), take_turns(ours, by_hand, pairs=pairs)
    return Report("bench predict", settings, comparisons, stages, chosen)


def _pipeline(
    photos: Flowers, classify: Classifier, num_photos: int, workers: int, device: torch.device
) -> Callable[[], float]:
    @torch.inference_mode()
    def work() -> None:
        with closing(load_batches(photos, EvalBatches(num_photos, PHOTOS), workers=workers, device=device)) as batches:
            for batch in batches:
                average_views(classify(batch.images.flatten(0, 1)).unflatten(0, (-1, VIEWS))).cpu()

    return lambda: images_per_s(num_photos, work, device)


def _forward(photos: Flowers, classify: Classifier, num_photos: int, device: torch.device) -> Callable[[], float]:
    images = photos.batch([(0, i) for i in range(PHOTOS)]).images.flatten(0, 1).to(device)
    inputs = classify.inputs(images)

    @torch.inference_mode()
    def work() -> None:
        for _ in range(num_photos // PHOTOS):
            classify.model(inputs)

    return lambda: images_per_s(num_photos, work, device)


def _by_hand(
    photos: Flowers, model: torch.nn.Module, views: EvalTransform, num_photos: int, device: torch.device
) -> Callable[[], float]:
    """What one finds in tutorials: PIL, Resize, TenCrop, ToTensor, the model as it is made."""
    model = model.to(device)
    transform = transforms.Compose(
        [
            transforms.Resize(views.resized),
            transforms.TenCrop(views.size),
            transforms.Lambda(lambda crops: torch.stack([to_tensor(crop) for crop in crops])),
            transforms.Normalize([0.5] * 3, [0.25] * 3),
        ]
    )

    @torch.no_grad()
    def work() -> None:
        for first in range(0, num_photos, PHOTOS):
            opened = [Image.open(io.BytesIO(photos.jpeg(i))).convert("RGB") for i in range(first, first + PHOTOS)]
            crops = torch.stack([torch.as_tensor(transform(photo)) for photo in opened]).flatten(0, 1)
            model(crops.to(device)).softmax(-1).unflatten(0, (-1, VIEWS)).mean(1).cpu()

    return lambda: images_per_s(num_photos, work, device)
