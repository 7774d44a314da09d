"""`corolla bench data`: the input pipeline against the bare decoding of the same JPEGs on as many cores."""

import itertools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from corolla.bench.options import BenchOptions
from corolla.bench.pairs import Report, images_per_s, microseconds, take_turns
from corolla.config import AugmentConfig
from corolla.data.cache import use_cache
from corolla.data.dataset import Samples, TFRecordDataset
from corolla.data.decode import decode_jpeg, decode_photo
from corolla.data.hand_over import Arrival, Batch, HandOverToGPU
from corolla.data.index import load_index
from corolla.data.loader import Photos, Source, load_batches, load_from
from corolla.data.photos_on_device import put_on_device
from corolla.data.recipe_photos import RecipePhotos
from corolla.data.sampler import TrainBatchSampler
from corolla.data.transforms.train import TrainTransform
from corolla.device import choose_device
from corolla.parallel import num_cores
from corolla.random import SampleGenerators

LEAST_IMAGES = 1500  # of a turn: with fewer the clock shows the workers' start
CROPS = AugmentConfig(crop="random-resized")


@dataclass(frozen=True)
class DataReport(Report):
    """The rates of the input pipeline, and the main process's own time."""

    hand_over_ms: float = 0.0
    """Milliseconds of a batch in which the main process computes, beside its workers (0 workers: decoding as well)."""

    def lines(self) -> list[str]:
        return [*super().lines(), f"  hand-over  {self.hand_over_ms:.2f} ms a batch of the main process's own time"]

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), "hand_over_ms": self.hand_over_ms}


def bench_data(options: BenchOptions) -> DataReport:
    """Measure random resized crops and mirrors (8-100 % of the area) of the train photos, in batches, to the device.

    The input size is 224 by default, or the photos' own where that is smaller; the workers are one a core. The cache
    "decoded" measures what an epoch after the first one is like.

    Raises:
        UserError: no such data, or a cache that does not fit.
    """
    index = load_index(options.data, options.size, options.cache_dir)
    side, device = options.input_size or min(224, index.size), choose_device(options.device)
    workers = num_cores() if options.workers is None else options.workers
    photos = TFRecordDataset(index, "train", TrainTransform(CROPS, side))
    batched, note = _from_cache(photos, options, device)
    decoding = take_turns(
        (f"pipeline, {workers} workers", _pipeline(batched, workers, options.batch_size, device)),
        (f"bare decode, {max(1, workers)} threads", _bare_decode(photos, max(1, workers))),
        pairs=options.pairs,
    )
    hand_over_ms = _hand_over_ms(batched, workers, options.batch_size, device)
    settings: dict[str, object] = {"data": options.data.name, "photos": f"{index.size} px", "input": f"{side} px"}
    settings |= {"batch": options.batch_size, "cache": note.removeprefix("cache: ").split(" in ")[0]}
    stages = _stages(photos, device)
    return DataReport("bench data", settings, (decoding,), stages, device, hand_over_ms=hand_over_ms)


def _from_cache(photos: TFRecordDataset, options: BenchOptions, device: torch.device) -> tuple[Photos, str]:
    """Return what batches are made of, and the cache's line."""
    if options.cache != "device":
        return photos, use_cache([photos], options.cache or "off", options.cache_dir)
    recipes = RecipePhotos(photos)
    recipes.place(put_on_device(photos, device))
    return recipes, "cache: device"


def _pipeline(photos: Photos, workers: int, batch_size: int, device: torch.device) -> Callable[[], float]:
    """Return a turn, which takes whole batches from workers that are under way already and returns its images/s."""
    batch_size = min(batch_size, len(photos))
    turn_batches = max(10, -(-LEAST_IMAGES // batch_size), 2 * len(photos) // batch_size)
    ahead = 2 * (2 * workers + 1)  # batches until workers and queues are in their steady state
    epochs = itertools.count()

    def turn() -> float:
        start = next(epochs) * (turn_batches + 2 * ahead)
        plan = TrainBatchSampler(len(photos), batch_size, 0, start, start + turn_batches + 2 * ahead)
        with closing(load_batches(photos, plan, workers=workers, device=device)) as batches:
            for _ in itertools.islice(batches, ahead):
                continue
            return images_per_s(
                turn_batches * batch_size, lambda: list(map(_let_go, itertools.islice(batches, turn_batches))), device
            )

    return turn


class _AsToGPU(HandOverToGPU):
    """The way to a GPU, but for the calls that need one: locking the pages, and launching a copy."""

    def lock(self, memory: NDArray[np.uint8]) -> bool:
        return False

    def launch(self, batch: Batch) -> tuple[Batch, Arrival]:
        return batch, _Arrived()

    def received(self, batch: Batch, arrival: Arrival) -> Batch:
        return batch


class _Arrived:
    def query(self) -> bool:
        return True


def _hand_over_ms(photos: Photos, workers: int, batch_size: int, device: torch.device) -> float:
    """Return the milliseconds of its own that the main process takes for a batch, on the way to a GPU."""
    batch_size = min(batch_size, len(photos))
    hand_over = HandOverToGPU(device) if device.type == "cuda" else _AsToGPU(device)
    ahead, measured = 4 * workers + 4, 100
    plan = ((0, samples) for samples in TrainBatchSampler(len(photos), batch_size, 0, 0, 2 * ahead + measured))
    with closing(load_from([Source(photos, batch_size)], plan, workers=workers, hand_over=hand_over)) as batches:
        for _ in itertools.islice(batches, ahead):
            continue
        start = time.thread_time()
        for batch in itertools.islice(batches, measured):
            _let_go(batch)
        return (time.thread_time() - start) / measured * 1e3


def _let_go(_: object) -> None:
    """Keep nothing of a batch: its memory is used again."""


def _bare_decode(photos: TFRecordDataset, threads: int) -> Callable[[], float]:
    """Return a turn, which decodes every JPEG in full, from memory to memory, and returns its images/s."""
    jpegs = [bytes(photos.jpeg(i)) for i in range(len(photos))]
    passes = max(1, -(-LEAST_IMAGES // len(jpegs)))

    def turn() -> float:
        def work() -> None:
            for _ in range(passes):
                for _ in pool.map(lambda jpeg: decode_jpeg(jpeg).shape, jpegs):
                    continue

        with ThreadPoolExecutor(threads) as pool:
            return images_per_s(passes * len(jpegs), work)

    return turn


def _stages(photos: TFRecordDataset, device: torch.device) -> dict[str, float]:
    """Return the microseconds an image takes in each part, alone on one core, in the order in which it is done."""
    transform = photos.transform
    assert isinstance(transform, TrainTransform)
    rows = list(range(min(len(photos), 500)))
    out, generators = np.empty((len(rows), *transform.shape), np.uint8), SampleGenerators()
    images = [photos.image(i) for i in rows[:100]]

    def draw(i: int) -> tuple[int, int, int, int]:
        height, width = images[i % 100].shape[:2]
        return transform.draw(height, width, generators.at(0, 0, i))

    crops = [draw(i) for i in rows]

    def decode(i: int) -> None:
        jpeg = photos.jpeg(i)
        decode_photo(jpeg, rows=crops[i][1] + crops[i][3])

    def augment(i: int) -> None:
        transform.apply(images[i % 100], crops[i], generators.at(0, 0, i), out[i])

    samples = Samples(0, np.array(rows))
    generator = microseconds(lambda i: generators.at(0, 0, i), rows)
    stages = {
        "read (a copy of the file's bytes)": microseconds(lambda i: bytes(photos.jpeg(i)), rows),
        "decode (down to the crop's last row)": 0.0 if photos.decoded is not None else microseconds(decode, rows),
        "draw (generator and box)": microseconds(draw, rows),
        "augment (crop, resize, mirror)": microseconds(augment, rows) - generator,
    }
    whole = microseconds(lambda _: photos.load_into(samples, out), [None]) / len(rows)
    done_there = sum(stages.values()) - stages["read (a copy of the file's bytes)"]
    stages["collate (what a batch adds)"] = max(0.0, whole - done_there)
    stages["transfer (uint8 to the device)"] = _transfer_us(out, device)
    return stages


def _transfer_us(images: np.ndarray, device: torch.device) -> float:
    """Return the microseconds that an image takes to the device; 0 where the CPU computes."""
    if device.type == "cpu":
        return 0.0
    batch = torch.from_numpy(images)
    batch = batch.pin_memory() if device.type == "cuda" else batch
    batch.to(device)
    return 1e6 / images_per_s(len(batch), lambda: batch.to(device), device)
