"""`corolla bench predict`: inference on many views against the bare forward, ten-crop also against code by hand."""

import dataclasses
import io
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms.functional import to_tensor

from corolla.arithmetic import exact_fp32
from corolla.bench.options import BenchOptions
from corolla.bench.pairs import Report, images_per_s, microseconds, take_turns
from corolla.config.experiments import find_experiment
from corolla.data.dataset import Samples, TFRecordDataset
from corolla.data.index import load_index
from corolla.data.loader import load_batches, make_batch
from corolla.data.sampler import EvalBatchSampler
from corolla.data.statistics import data_statistics
from corolla.data.transforms.eval import EvalTransform
from corolla.data.transforms.tta import average_views, parse_tta
from corolla.data.transforms.views import ViewsTransform
from corolla.device import Precision, autocast, choose_device, num_workers
from corolla.errors import UserError
from corolla.evaluation.inference import InferenceModel
from corolla.models.factory import build_model
from corolla.models.fully_convolutional import FullyConvolutional
from corolla.models.pretrained import DEFAULT_CROP_FRACTION, Preprocessing
from corolla.runs.checkpoint import ModelMeta

VIEWS = 10  # of ten-crop
PHOTOS = 6  # a batch: 60 views of ten-crop
RUNS = 3
BATCHES = 42  # a turn: starting the workers costs some 0.3 s, which is less of a longer one


def bench_predict(experiment: str, options: BenchOptions) -> Report:
    """Measure the views of val photos by `experiment`'s network with random weights; images/s count photos, not views.

    Raises:
        UserError: no such experiment, data or views.
    """
    plain, network, photos, device = _networks(experiment, options)
    size = network.transform.size
    by_hand_views = EvalTransform(size, crop_fraction=DEFAULT_CROP_FRACTION, tta="ten-crop")
    num_photos = min(len(photos), BATCHES * PHOTOS) // PHOTOS * PHOTOS
    if not num_photos:
        raise UserError(
            f"{options.data}: {len(photos)} val photos are too few to measure with; {PHOTOS} at least are needed"
        )
    ours = (
        f"corolla, {options.tta}",
        _pipeline(photos, network, num_photos, num_workers(options.workers, device), device),
    )
    few = max(1, num_photos // PHOTOS // RUNS) * PHOTOS  # so that it takes as long
    several = (
        f"{RUNS} runs in one pass",
        _pipeline(photos, network, few, num_workers(options.workers, device), device, passes=RUNS),
    )
    bare_several = f"{RUNS} bare forwards", _forward(photos, network, few, device, passes=RUNS)
    forward = "bare forward of the same", _forward(photos, network, num_photos, device)
    by_hand = (
        "timm's model over torchvision's TenCrop",
        _by_hand(photos, plain, by_hand_views, num_photos, device, network.inference.precision),
    )
    settings: dict[str, object] = {
        "experiment": experiment,
        "data": options.data.name,
        "input": f"{size} px",
    }
    num_views = sum(group.num_views for group in network.transform.groups)
    settings |= {"photos a turn": num_photos, "views": num_views, "precision": network.inference.precision}
    rows = list(range(min(100, len(photos))))
    stages = {
        "decode": microseconds(photos.image, rows),
        "views": microseconds(lambda i: network.transform(photos.image(i)), rows),
        "forward of the views": 1e6 / forward[1](),
    }
    stages["views"] -= stages["decode"]
    turns = [(ours, forward), (ours, by_hand), (several, bare_several)]
    if options.tta != "ten-crop":
        del turns[1]
    comparisons = tuple(take_turns(one, other, pairs=options.pairs) for one, other in turns)
    return Report("bench predict", settings, comparisons, stages, device)


def _networks(
    experiment: str, options: BenchOptions
) -> tuple[torch.nn.Module, "_Network", TFRecordDataset, torch.device]:
    """Return a network with random weights as it is made, the same as prediction has it, val's photos, the device."""
    index, device = load_index(options.data, options.size, options.cache_dir), choose_device(options.device)
    config = dataclasses.replace(find_experiment(experiment), input_size=options.input_size or index.size)
    assert config.input_size is not None
    color = data_statistics(index, ("train",), cache_dir=options.cache_dir).color
    preprocessing = Preprocessing(
        mean=color.mean, std=color.std, interpolation="bilinear", crop_fraction=DEFAULT_CROP_FRACTION
    )
    meta = ModelMeta(
        config=config,
        input_size=config.input_size,
        class_names=index.class_names,
        preprocessing=preprocessing,
        fingerprint=index.fingerprint,
    )
    torch.manual_seed(0)
    plain = build_model(config.model, len(index.class_names), config.input_size).eval()
    weights = plain.state_dict()
    ready = build_model(config.model, len(index.class_names), config.input_size).eval()
    ready.load_state_dict(weights)
    photos = TFRecordDataset(index, "val")
    photos.transform = transform = ViewsTransform(
        config.input_size,
        parse_tta(options.tta),
        crop_fraction=preprocessing.crop_fraction,
        all_square=photos.all_square(),
    )
    has_whole = any(group.whole for group in transform.groups)
    whole = FullyConvolutional(ready, config.input_size, name=config.model.name) if has_whole else None
    network = _Network(InferenceModel(ready, meta, device), whole, transform)
    return plain, network, photos, device


@dataclass(frozen=True)
class _Network:
    """A network as prediction has it, and what it sees of a photo."""

    inference: InferenceModel
    whole: FullyConvolutional | None
    transform: ViewsTransform

    def inputs(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return what the network takes of a batch of photos, for each group of views."""
        return [self.inference.inputs(views.flatten(0, 1)) for views in self.transform.split(images)]

    def __call__(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the logits N x views x classes."""
        logits = list[torch.Tensor]()
        for group, views in zip(self.transform.groups, inputs, strict=True):
            model = self.whole if group.whole and self.whole is not None else self.inference.model
            with self.inference.autocast():
                logits.append(model(views).float().unflatten(0, (-1, group.num_views)))
        return torch.cat(logits, 1)


def _pipeline(
    photos: TFRecordDataset,
    network: _Network,
    num_photos: int,
    workers: int,
    device: torch.device,
    passes: int = 1,
) -> Callable[[], float]:
    @torch.inference_mode()
    def work() -> None:
        with closing(
            load_batches(photos, EvalBatchSampler(num_photos, PHOTOS), workers=workers, device=device)
        ) as batches:
            for batch in batches:
                for _ in range(passes):
                    average_views(network(network.inputs(batch.images))).cpu()

    return lambda: images_per_s(num_photos, work, device)


def _forward(
    photos: TFRecordDataset, network: _Network, num_photos: int, device: torch.device, passes: int = 1
) -> Callable[[], float]:
    inputs = network.inputs(make_batch(photos, Samples(0, np.arange(PHOTOS))).images.to(device))

    @torch.inference_mode()
    def work() -> None:
        for _ in range(num_photos // PHOTOS * passes):
            network(inputs)

    return lambda: images_per_s(num_photos, work, device)


def _by_hand(
    photos: TFRecordDataset,
    model: torch.nn.Module,
    views: EvalTransform,
    num_photos: int,
    device: torch.device,
    precision: Precision,
) -> Callable[[], float]:
    """Measure what one finds in tutorials: PIL, Resize, TenCrop, ToTensor, the model as it is made, under autocast."""
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
            with exact_fp32(precision), autocast(device, precision):
                logits = model(crops.to(device)).float()
            logits.softmax(-1).unflatten(0, (-1, VIEWS)).mean(1).cpu()

    return lambda: images_per_s(num_photos, work, device)
