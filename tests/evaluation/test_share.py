"""A split on several devices, each with a process of its own; no machine here has several GPUs, so two CPUs."""

import multiprocessing
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from support import break_first_jpeg, cuda_is_listed, smallest_config, write_data

import corolla.evaluation.compute
from corolla.data.loader import Workers
from corolla.errors import UserError
from corolla.evaluation.compute import PHOTOS_A_GPU, PredictOptions, devices_for
from corolla.evaluation.predict import predict
from corolla.evaluation.tta_model import TTAModel
from corolla.runs.folder import Run
from corolla.training.train import train


@pytest.mark.parametrize(
    ("options", "there", "num_photos", "devices"),
    [
        ({}, 0, 10**4, ["auto"]),
        ({}, 1, 10**4, ["auto"]),
        ({}, 2, 10**4, ["cuda:0", "cuda:1"]),
        ({"device": "cuda"}, 3, PHOTOS_A_GPU + 1, ["cuda:0", "cuda:1"]),
        ({}, 2, PHOTOS_A_GPU, ["auto"]),
        ({"gpus": 2}, 4, 10, ["cuda:0", "cuda:1"]),
        ({"gpus": 1}, 2, 10**4, ["auto"]),
        ({"gpus": 1}, 0, 10**4, ["auto"]),
        ({"device": "cuda:1"}, 2, 10**4, ["cuda:1"]),
        ({"device": "cpu"}, 2, 10**4, ["cpu"]),
    ],
)
def test_photos_are_shared_where_that_is_worth_it(
    options: dict[str, str | int], there: int, num_photos: int, devices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    assert devices_for(PredictOptions(**options), num_photos) == devices  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"gpus": 2}, "--gpus 2: torch sees 1 GPU here"),
        ({"gpus": 2, "device": "cuda:1"}, "--gpus 2: --device cuda:1 is one device"),
        ({"gpus": 0}, "--gpus 0: a whole number of at least 1, or all, is expected"),
    ],
)
def test_gpus_that_are_not_there(options: dict[str, str | int], line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=line):
        devices_for(PredictOptions(**options), 10)  # pyright: ignore[reportArgumentType]


def test_workers_are_there_before_a_network_goes_to_its_device(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    prepare = TTAModel.__init__

    def noted(model: TTAModel, *args: Any, **how: Any) -> None:
        seen.append(len(multiprocessing.active_children()))
        prepare(model, *args, **how)

    monkeypatch.setattr(TTAModel, "__init__", noted)
    predict(run, split="test", device="cpu", workers=2)
    assert set(seen) == {2}
    assert not multiprocessing.active_children()


def test_networks_that_fail_end_the_workers(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        assert len(multiprocessing.active_children()) == 2
        raise UserError("the device is not fit for it")

    monkeypatch.setattr(TTAModel, "__init__", refuse)
    with pytest.raises(UserError, match="not fit for it"):
        predict(run, split="test", device="cpu", workers=2)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_cuda_does_not_start_before_the_workers(device: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen without a card, as far as to the workers."""
    cuda_is_listed(monkeypatch)

    def start(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Workers, "__init__", start)
    with pytest.raises(KeyboardInterrupt):
        predict(run, split="test", device=device)


@pytest.mark.slow
def test_two_processes_predict_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_data(tmp_path / "data", test=37)
    run = train(smallest_config(data, tmp_path / "runs"))
    alone = predict(run, split="test", tta="flip", device="cpu", workers=0, batch_size=8)
    alone.path.unlink()
    monkeypatch.setattr(corolla.evaluation.compute, "devices_for", lambda *_: ["cpu", "cpu"])
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
    shared = predict(run, split="test", tta="flip", device="cpu", workers=0, batch_size=8)
    assert shared.made
    assert shared.predictions.probabilities.tobytes() == alone.predictions.probabilities.tobytes()
    broken, fault = break_first_jpeg(tmp_path / "broken")
    with pytest.raises(UserError, match=re.escape(fault)):
        predict(run, split="train", device="cpu", workers=0, data=broken)
