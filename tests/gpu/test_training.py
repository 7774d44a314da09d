"""Batches, steps, checkpoints and predictions on a GPU: `pytest -m gpu` on a machine that has one."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support import changed, on_gpu

from corolla.cli import run_command
from corolla.config import Config
from corolla.data.index import load_index
from corolla.data.loader import load_batches
from corolla.data.sampler import EvalBatchSampler, TrainBatchSampler
from corolla.data.slots import FORKS
from corolla.data.statistics import data_statistics
from corolla.evaluation.metrics import metrics_of_probabilities
from corolla.evaluation.predict import predict
from corolla.runs.checkpoint import load_checkpoint
from corolla.training.build import initialised_state, new_state
from corolla.training.datasets import build_datasets
from corolla.training.train import train

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_arrive_as_they_were_made(workers: int, tiny_config: Config) -> None:
    index = load_index(tiny_config.data, None)
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    state = new_state(on_gpu(tiny_config), index, cuda, data_statistics(index, ("train",)).color)
    photos, val = build_datasets(state.meta, index)
    assert val is not None
    for dataset, plan in ((photos, TrainBatchSampler(len(photos), 8, 0, 0, 12)), (val, EvalBatchSampler(len(val), 5))):
        expected = list(load_batches(dataset, plan, workers=0, device=cpu))
        arrived = list(load_batches(dataset, plan, workers=workers, device=cuda))
        assert len(arrived) == len(expected)
        for one, other in zip(arrived, expected, strict=True):
            assert torch.equal(one.images.cpu(), other.images)
            assert torch.equal(one.labels.cpu(), other.labels)


@pytest.mark.parametrize("settings", [{}, {"ema": 0.9, "accumulate": 2}, {"precision": "fp16"}, {"precision": "fp32"}])
def test_a_step_never_waits(settings: dict[str, float], tiny_config: Config) -> None:
    config = changed(on_gpu(tiny_config, **settings), "optim", clip_norm=1.0)
    index, cuda = load_index(config.data, None), torch.device("cuda")
    state = new_state(config, index, cuda, data_statistics(index, ("train",)).color)
    photos, _ = build_datasets(state.meta, index)
    batches = load_batches(photos, TrainBatchSampler(len(photos), 8, 0, 0, 8), workers=0, device=cuda)
    state.update(next(batches), 0.01)  # the first one chooses algorithms
    ready = list(batches)
    torch.cuda.set_sync_debug_mode("error")  # whatever makes the host wait for the GPU is an error now
    try:
        for batch in ready:
            state.update(batch, 0.01)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    state.sync_and_check()


def test_deterministic_runs_resume_bit_for_bit(tiny_config: Config) -> None:
    config = on_gpu(tiny_config, deterministic=True)
    undisturbed = train(config, experiment="undisturbed")
    assert train(on_gpu(tiny_config, deterministic=True, max_hours=1e-9), experiment="stopped").state == "stopped"
    resumed = train(config, experiment="stopped")
    assert resumed.metrics == undisturbed.metrics


def test_compiled_training_learns_as_well(tiny_config: Config) -> None:
    """In fp32 the first steps have the same losses, but for the order of sums, which later steps multiply.

    Then both have learned: chance is ln 5 = 1.61, and four epochs bring some 0.05.
    """
    losses: dict[bool, list[float]] = {False: [], True: []}
    for on, seen in losses.items():
        run = train(
            on_gpu(tiny_config, compile=on, precision="fp32", epochs=4),
            experiment=str(on),
            on_step=lambda state, batch, lr, loss, seen=seen: seen.append(loss.item()),
        )
        assert run.metrics[-1]["train_loss"] < 0.8
    assert losses[True][:4] == pytest.approx(losses[False][:4], rel=0.01)


def test_predictions_are_those_of_the_cpu(tiny_config: Config) -> None:
    run = train(on_gpu(tiny_config))
    there = predict(run.folder, split="val", tta="ten-crop", device="cuda").predictions
    run.predictions("val", "ten-crop").unlink()
    here = predict(run.folder, split="val", tta="ten-crop", device="cpu").predictions
    assert (there.probabilities.argmax(1) == here.probabilities.argmax(1)).mean() >= 0.9


@pytest.mark.parametrize("settings", [{}, {"ema": 0.9}, {"precision": "fp16"}, {"compile": True}])
def test_validation_in_training_is_what_predict_says(settings: dict[str, object], tiny_config: Config) -> None:
    """One arithmetic; cuDNN may choose another algorithm each time, which moves the last bits."""
    run = train(on_gpu(tiny_config, **settings))
    found = predict(run.folder, split="val", checkpoint="last", device="cuda").predictions
    assert found.labels is not None
    scores = metrics_of_probabilities(found.probabilities, found.labels)
    assert run.metrics[-1]["val_loss"] == pytest.approx(scores.loss, rel=1e-3)


def test_a_copy_of_a_run_of_the_gpu_goes_on(tiny_config: Config) -> None:
    first = train(on_gpu(tiny_config), experiment="first")
    longer = dataclasses.replace(on_gpu(tiny_config, epochs=3), resume=first.folder, run_name="third")
    assert train(longer).metrics[:2] == first.metrics


@pytest.mark.parametrize("name", ["sgd", "adamw"])
@pytest.mark.parametrize("was", [True, False], ids=["channels last before", "channels last now"])
def test_a_checkpoint_begins_a_run_in_another_memory_order(name: str, was: bool, tiny_config: Config) -> None:
    """The fused updates want moments in the order of their weights, and each moment is still its own weight's."""
    config = changed(on_gpu(tiny_config, channels_last=was, epochs=1), "optim", name=name, lr=1e-3)
    first = train(config, experiment="first")
    toggled = changed(config, "train", channels_last=not was)
    index = load_index(config.data, None)
    state = initialised_state(first.last, dataclasses.replace(toggled, size=32), index, torch.device("cuda"))
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    saved = load_checkpoint(first.last)["optimizer"]["state"]
    for parameter, before in zip(parameters, saved.values(), strict=True):
        for key, value in before.items():
            kept = state.optimizer.state[parameter][key]
            assert torch.equal(kept.cpu(), value)
            assert value.ndim == 0 or kept.stride() == parameter.stride()
    assert train(dataclasses.replace(toggled, init_from=first.folder, run_name="second")).state == "done"


NOTED_FORKS = """
import os, sys, torch
from corolla.cli import run_command
seen = []
os.register_at_fork(before=lambda: seen.append(torch.cuda.is_initialized()))
status = run_command(sys.argv[1:])
print(status, torch.cuda.is_initialized(), *seen)
"""


@pytest.mark.skipif(not FORKS, reason="workers are started afresh")
def test_workers_are_forked_before_cuda_starts(tiny_config: Config, tmp_path: Path) -> None:
    """A run that begins, the same one resumed, and a prediction, each in a process of its own."""

    def forks(*words: str) -> list[str]:
        command = [sys.executable, "-c", NOTED_FORKS, *words, "--data", str(tiny_config.data)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()[-4:]

    (tmp_path / "tiny.toml").write_text(
        'base = "resnet18"\n[model]\nwidth = 0.125\n[train]\nepochs = 1\nbatch_size = 8\n'
    )
    train_words = ["train", "tiny.toml", "--device", "cuda", "--pipeline.workers", "2", "--run-name", "tiny"]
    assert forks(*train_words, "--train.max-hours", "1e-9") == ["75", "True", "False", "False"]
    assert forks(*train_words) == ["0", "True", "False", "False"]
    predict_words = ["predict", "runs/tiny", "--split", "test", "--device", "cuda", "--workers", "2"]
    assert forks(*predict_words) == ["0", "True", "False", "False"]


@pytest.mark.parametrize("what", ["data", "train", "predict"])
def test_the_benches_run(what: str, tiny_data: Path, tmp_path: Path) -> None:
    words = [] if what == "data" else ["resnet18"]
    assert (
        run_command(["bench", what, *words, "--data", str(tiny_data), "--pairs", "1", "--cache-dir", str(tmp_path)])
        == 0
    )
