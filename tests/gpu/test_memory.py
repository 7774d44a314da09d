"""Where a card's memory is too small, or the card fails: what the user reads, and that a trial leaves no trace.

The allocator is told to take a part of the card only, so a large card is as small as any.
"""

import dataclasses
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from state_bits import assert_same_bits, state_content
from support import changed, on_gpu

from corolla.config import Config
from corolla.data.index import load_index
from corolla.data.loader import Batch, load_batches
from corolla.data.sampler import TrainBatchSampler
from corolla.data.statistics import data_statistics
from corolla.device_errors import release_memory
from corolla.errors import Failure, UserError
from corolla.evaluation.predict import predict
from corolla.training.build import new_state
from corolla.training.datasets import build_datasets
from corolla.training.loop import TrainingFailed
from corolla.training.state import TrainState
from corolla.training.train import train
from corolla.training.trial import fit_memory, try_step

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

CUDA = torch.device("cuda")
Leave = Callable[[float], None]


@pytest.fixture
def leave() -> Iterator[Leave]:
    """Return a function that leaves so many MiB of the card, beside what is taken already."""

    def limit(mib: float) -> None:
        release_memory(CUDA)
        total = torch.cuda.get_device_properties(CUDA).total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + mib * 2**20) / total)

    yield limit
    torch.cuda.set_per_process_memory_fraction(1.0)
    release_memory(CUDA)


def taken_mib(work: Callable[[], object]) -> float:
    """Return how much memory some work takes beside what is taken already."""
    release_memory(CUDA)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_reserved()
    work()
    taken = (torch.cuda.max_memory_reserved() - before) / 2**20
    release_memory(CUDA)
    return taken


def make_state(config: Config) -> TrainState:
    index = load_index(config.data, None)
    return new_state(config, index, CUDA, data_statistics(index, ("train",)).color)


def large(config: Config, name: str, **settings: Any) -> Config:
    """Return `config` for images of 224 px and a network that takes more memory for them than for itself."""
    config = changed(changed(on_gpu(config, epochs=1, **settings), "model", name=name), "optim", momentum=0.0)
    return dataclasses.replace(config, input_size=224)


SETTINGS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"ema": 0.9, "accumulate": 2}),
    ({"name": "adamw", "clip_norm": 1.0}, {"precision": "bf16"}),
    ({}, {"precision": "fp16", "mixup": 0.2}),
    ({}, {"precision": "fp32", "channels_last": False, "head_epochs": 1}),
]


@pytest.mark.parametrize("steps", [0, 2], ids=["fresh", "under way"])
@pytest.mark.parametrize(("optim", "settings"), SETTINGS)
def test_a_trial_leaves_every_bit_alone(
    optim: dict[str, Any], settings: dict[str, Any], steps: int, tiny_config: Config
) -> None:
    state = make_state(changed(on_gpu(tiny_config, **settings), "optim", **optim))
    photos, _ = build_datasets(state.meta, load_index(state.config.data, None))
    for batch in load_batches(photos, TrainBatchSampler(len(photos), 8, 0, 0, steps), workers=0, device=CUDA):
        state.update(batch, 0.01)
    torch.manual_seed(3)
    before = state_content(state)
    assert try_step(state, 8) is None
    assert_same_bits(state_content(state), before)


def step_mib(config: Config) -> float:
    """Return what a step in one part takes beside the weights."""
    state = make_state(config)
    images = torch.zeros(40, 224, 224, 3, dtype=torch.uint8, device=CUDA)
    batch = Batch(images, torch.zeros(40, dtype=torch.int64, device=CUDA), torch.arange(40))
    return taken_mib(lambda: state.update(batch, 0.01))


def test_the_number_of_parts_that_fits_is_told_works_and_is_found(
    tiny_config: Config, leave: Leave, caplog: pytest.LogCaptureFixture
) -> None:
    """The step of 40 images by ResNet-50 takes some 2 GB in reduced precision, and half of them take half."""
    caplog.set_level("INFO", "corolla")
    config = large(tiny_config, "resnet50", batch_size=40)
    leave(0.7 * step_mib(config) + 150)  # the weights are 100
    with pytest.raises(UserError) as caught:
        train(config, experiment="told")
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    number = re.search(r"in a step with parts of 40 images of 224 px \(.*\): --train\.accumulate (\d+) fits$", line)
    assert number is not None, line
    assert [path.name for path in (config.runs / "told-seed0").iterdir()] == [".lock"]
    assert train(changed(config, "train", accumulate=int(number[1])), experiment="told").state == "done"
    found = train(changed(config, "train", accumulate="auto"), experiment="found")
    assert found.state == "done"
    assert found.config.train.accumulate == int(number[1])
    assert "--train.accumulate auto: " in caplog.text


def test_auto_is_1_where_a_step_fits(tiny_config: Config) -> None:
    assert train(on_gpu(tiny_config, accumulate="auto")).config.train.accumulate == 1


def test_a_network_that_does_not_fit_is_told(tiny_config: Config, leave: Leave) -> None:
    leave(40)
    with pytest.raises(Failure) as caught:
        train(changed(on_gpu(tiny_config), "model", name="resnet50"))
    line = str(caught.value)
    assert " is out of memory while resnet50 is put on it (" in line
    assert line.endswith("): close other programs that hold it, or try a smaller --model.name, or --device cpu")


def test_where_no_part_fits_a_smaller_input_is_proposed(tiny_config: Config, leave: Leave) -> None:
    config = dataclasses.replace(large(tiny_config, "resnet18", batch_size=2), input_size=512)
    state = make_state(config)
    leave(60)
    with pytest.raises(UserError, match=r"out of memory in a step, however small its parts of 512 px.*--input-size"):
        fit_memory(state, 40)


def test_memory_that_runs_out_later_is_told(tiny_config: Config) -> None:
    def fill(state: TrainState, batch: Batch, lr: float, loss: torch.Tensor) -> None:
        if state.progress.step == 7:
            torch.empty(2**40, dtype=torch.uint8, device=CUDA)  # more than any card has

    with pytest.raises(TrainingFailed) as caught:
        train(on_gpu(tiny_config), on_step=fill)
    line = str(caught.value)
    assert " is out of memory in training, after step 7 (" in line
    assert "the same command goes on from " in line
    assert line.endswith("needs less with --train.accumulate 2")


def test_prediction_goes_on_with_fewer_views(
    tiny_config: Config, leave: Leave, caplog: pytest.LogCaptureFixture
) -> None:
    run = train(large(tiny_config, "resnet18"))

    def predicted() -> Any:
        run.predictions("val", "ten-crop").unlink(missing_ok=True)
        return predict(run.folder, split="val", tta="ten-crop", device="cuda").predictions.probabilities

    expected = predicted()
    whole = taken_mib(predicted)
    leave(0.6 * whole)
    found = predicted()
    assert "views of 224 px at a time (" in caplog.text
    assert "): it goes on with " in caplog.text
    assert (found.argmax(1) == expected.argmax(1)).mean() >= 0.9
    leave(10)
    with pytest.raises(Failure, match=r"is out of memory in prediction \(.*: close other programs .* --device cpu$"):
        predicted()


FAULTY = """
import sys, torch
from corolla.cli import main
from corolla.training.state import TrainState
update = TrainState.update
def faulty(state, batch, lr):
    if state.progress.step == 7:
        torch.zeros(1, device="cuda")[torch.tensor([5], device="cuda")]
    return update(state, batch, lr)
TrainState.update = faulty
sys.argv = ["corolla", *sys.argv[1:]]
sys.exit(main())
"""


def test_a_card_that_fails_is_told_in_a_line(tiny_config: Config) -> None:
    """In a process of its own, whose card then answers no more. The first epoch's checkpoint is kept."""
    words = ["train", "resnet18", "--data", tiny_config.data, "--runs", tiny_config.runs, "--run-name", "faulty"]
    words += ["--train.epochs", 3, "--train.batch-size", 8, "--pipeline.workers", 0, "--device", "cuda"]
    command = [sys.executable, "-c", FAULTY, *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr
    (line,) = [line for line in ended.stderr.splitlines() if "failed in training" in line]
    assert "device-side assert triggered" in line
    assert f"{tiny_config.runs / 'faulty' / 'last.pt'} holds the last checkpoint" in line
    assert train(dataclasses.replace(tiny_config, run_name="other", device="cuda")).state == "done"
