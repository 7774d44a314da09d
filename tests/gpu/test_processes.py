"""Several processes on GPUs, and what one of them does on a single card: `pytest -m gpu`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support import on_gpu

from corolla.config import Config
from corolla.data.index import load_index
from corolla.data.loader import load_batches
from corolla.data.parts import Parts
from corolla.data.sampler import TrainBatchSampler
from corolla.data.statistics import data_statistics
from corolla.runs.folder import Run
from corolla.training.agreed_stop import AgreedStop
from corolla.training.build import new_state
from corolla.training.datasets import build_datasets
from corolla.training.ranks import ALONE
from corolla.training.reduction import Reduction
from corolla.training.stop import Stop

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
CUDA = torch.device("cuda")
EXPERIMENT = """
base = "resnet18"
[model]
width = 0.125
[train]
epochs = 2
batch_size = 8
accumulate = 2
precision = "fp32"
"""


@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp32"])
def test_joining_never_waits_and_changes_nothing(precision: str, tiny_config: Config) -> None:
    config = on_gpu(tiny_config, accumulate=2, precision=precision)
    index = load_index(config.data, None)
    states = [new_state(config, index, CUDA, data_statistics(index, ("train",)).color) for _ in range(2)]
    photos, _ = build_datasets(states[0].meta, index)
    batches = list(load_batches(photos, TrainBatchSampler(len(photos), 8, 0, 0, 6), workers=0, device=CUDA))
    stop = AgreedStop(Stop(), ALONE)
    states[1].reduction = Reduction(states[1].model, ALONE, stop, parts=Parts(2), num_images=8)
    for state in states:
        state.update(batches[0], 0.01)  # the first one chooses algorithms
        torch.cuda.set_sync_debug_mode("error")
        try:
            for batch in batches[1:]:
                state.update(batch, 0.01)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        state.sync_and_check()
    one, other = (state.model.state_dict() for state in states)
    for name, values in one.items():
        torch.testing.assert_close(other[name], values, rtol=2e-2, atol=2e-3, msg=name)


def test_a_request_to_stop_arrives_a_step_later() -> None:
    stop = AgreedStop(Stop(), ALONE)
    asked = torch.ones((), device=CUDA)
    stop.note(asked)
    assert stop.reason is None
    stop.note(torch.zeros_like(asked))
    assert stop.reason is not None


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_gpus_train_what_one_does(tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(EXPERIMENT)
    losses = []
    for number in (1, 2):
        words = ["train", "tiny.toml", "--gpus", str(number), "--run-name", f"by-{number}"]
        command = [sys.executable, "-m", "corolla", *words, "--data", str(tiny_data)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200, env=os.environ)
        assert done.returncode == 0, done.stderr
        run = Run(tmp_path / "runs" / f"by-{number}")
        assert run.environment.get("processes", 1) == number
        losses.append([row["train_loss"] for row in run.metrics])
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)
