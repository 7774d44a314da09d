"""One set of workers makes the batches of training and of val, for a whole run."""

import dataclasses
import multiprocessing
from contextlib import closing
from pathlib import Path

import pytest
import torch
from support import changed, cuda_is_listed, stop_at

from corolla.config import AugmentConfig, Config, to_dict
from corolla.data.dataset import TFRecordDataset
from corolla.data.hand_over import Batch
from corolla.data.index import load_index
from corolla.data.loader import Source, Workers, load_batches
from corolla.data.sampler import EvalBatchSampler, TrainBatchSampler
from corolla.data.transforms.eval import EvalTransform
from corolla.data.transforms.train import TrainTransform
from corolla.errors import UserError
from corolla.runs.checkpoint import ModelMeta
from corolla.training import loop
from corolla.training.batches import RunPhotos, run_batches
from corolla.training.ranks import Ranks
from corolla.training.together import Start, follow
from corolla.training.train import train

CPU = torch.device("cpu")


def copied(batch: Batch) -> list[torch.Tensor]:
    return [values.clone() for values in batch]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("start", "val_is_next"), [(0, False), (3, False), (5, True)])
def test_val_comes_after_each_epoch(workers: int, start: int, val_is_next: bool, tiny_data: Path) -> None:
    index = load_index(tiny_data, None)
    photos = TFRecordDataset(index, "train", TrainTransform(AugmentConfig(crop="random-resized"), 24))
    val = TFRecordDataset(index, "val", EvalTransform(32, crop_fraction=1.0))
    sampler, val_sampler = TrainBatchSampler(len(photos), 8, 0, start, 10), EvalBatchSampler(len(val), 6)
    expected = list(load_batches(photos, sampler, workers=0, device=CPU))
    expected_val = list(load_batches(val, val_sampler, workers=0, device=CPU))
    found: list[list[torch.Tensor]] = []
    found_val: list[list[torch.Tensor]] = []
    with (
        closing(Workers([Source(photos, 8), Source(val, 6)], workers)) as started,
        run_batches(started, sampler, val_sampler, epoch_steps=5, val_is_next=val_is_next, device=CPU) as batches,
    ):
        if val_is_next:
            found_val += map(copied, batches.val())
        for step in range(start, 10):
            found.append(copied(next(batches)))
            if step % 5 == 4:
                found_val += map(copied, batches.val())
        with pytest.raises(StopIteration):
            next(batches)
    for one, other in ((found, expected), (found_val, expected_val * (2 + val_is_next - (start > 4)))):
        assert len(one) == len(other)
        for mine, batch in zip(one, other, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(mine, batch, strict=True))


def test_a_run_starts_its_workers_once(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[frozenset[int | None]] = []

    def note() -> None:
        seen.append(frozenset(child.pid for child in multiprocessing.active_children()))

    evaluate = loop.evaluate

    def noted_evaluate(*args: object, **kwargs: object) -> object:
        note()
        return evaluate(*args, **kwargs)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(loop, "evaluate", noted_evaluate)
    train(changed(tiny_config, "pipeline", workers=2), on_step=lambda *_: note())
    assert len(seen) == 2 * 5 + 2
    assert len(set(seen)) == 1
    assert len(seen[0]) == 2


def noting_workers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list of how many worker processes there are each time that a network goes to a device."""
    seen: list[int] = []
    to = torch.nn.Module.to

    def noted_to(module: torch.nn.Module, *args: object, **how: object) -> object:
        seen.append(len(multiprocessing.active_children()))
        return to(module, *args, **how)  # pyright: ignore[reportArgumentType, reportCallIssue]

    monkeypatch.setattr(torch.nn.Module, "to", noted_to)
    return seen


def test_workers_are_there_before_the_network_goes_to_its_device(
    tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = changed(changed(tiny_config, "pipeline", workers=2), "train", epochs=1)
    seen = noting_workers(monkeypatch)
    assert train(config, on_step=stop_at(2)).state == "stopped"
    begun = len(seen)
    run = train(config)  # which resumes it
    assert begun < len(seen)
    train(dataclasses.replace(config, init_from=run.folder, run_name="second"), on_step=stop_at(1))
    assert set(seen) == {2}
    assert not multiprocessing.active_children()


def test_a_start_that_fails_ends_its_workers(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        assert len(multiprocessing.active_children()) == 2
        raise UserError("the device is not fit for it")

    monkeypatch.setattr("corolla.training.build.check_sizes", refuse)
    with pytest.raises(UserError, match="not fit for it"):
        train(changed(tiny_config, "pipeline", workers=2))
    assert not multiprocessing.active_children()
    assert not (tiny_config.runs / "custom-seed0" / "config.json").exists()


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_cuda_does_not_start_before_the_workers(
    device: str, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen without a card, as far as to the workers."""
    cuda_is_listed(monkeypatch)
    resumed = train(tiny_config, on_step=stop_at(2))

    def load(_: RunPhotos, meta: ModelMeta) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RunPhotos, "load", load)
    for name in (resumed.name, "another"):
        with pytest.raises(KeyboardInterrupt):
            train(dataclasses.replace(tiny_config, device=device, run_name=name))
    beginning = Start(to_dict(resumed.config, with_runtime=False), "fp32", None, None, resumed.last.read_bytes())

    class Told(Ranks):
        def tell(self, value: object) -> Start:
            return beginning

    with pytest.raises(KeyboardInterrupt):  # in another process of the run, too
        follow(dataclasses.replace(tiny_config, device=device), resumed, Told(1, 2), None)
