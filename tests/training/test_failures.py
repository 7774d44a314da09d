"""Why training cannot go on, in one line: a card's faults, and gradients that fp16 cannot hold."""

import dataclasses
import inspect
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from device_faults import CUBLAS_ALLOC, CUDNN_INTERNAL, FAULTS, ILLEGAL_ACCESS, OUT_OF_MEMORY, CardFault
from support import changed
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

import corolla.training.build
from corolla.compare.run_table import list_runs
from corolla.config import Config
from corolla.data.loader import Batch
from corolla.device import Precision
from corolla.errors import Failure, UserError
from corolla.runs.checkpoint import load_checkpoint
from corolla.runs.folder import Run
from corolla.training.loop import TrainingFailed
from corolla.training.state import TrainState
from corolla.training.train import train


@pytest.fixture
def fp16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train in fp16 on the CPU, as on a card without bf16."""

    def precision(requested: str, device: torch.device) -> Precision:
        return "fp16" if requested == "auto" else "fp32"

    monkeypatch.setattr("corolla.training.checks.choose_precision", precision)


class Overflow:
    """Gradients of `steps` are infinite, and no loss is: what an fp16 gradient does above 65,504."""

    def __init__(self, steps: range) -> None:
        self.steps, self.step = steps, 1
        self.weights: list[torch.Tensor] = []

    def spoil(self, monkeypatch: pytest.MonkeyPatch) -> None:
        make_optimizer = corolla.training.build.make_optimizer

        def hooked(model: nn.Module, config: Any) -> torch.optim.Optimizer:
            parameter = next(iter(model.parameters()))
            parameter.register_hook(lambda grad: grad * math.inf if self.step in self.steps else grad)
            return make_optimizer(model, config)

        monkeypatch.setattr(corolla.training.build, "make_optimizer", hooked)

    def on_step(self, state: TrainState, batch: Batch, lr: float, loss: torch.Tensor) -> None:
        self.step = state.progress.step + 1
        self.weights.append(torch.cat([p.detach().flatten() for p in state.model.parameters()]))


@pytest.mark.slow
def test_gradients_that_are_never_finite_end_the_run(
    fp16: None, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From step 9 on. The scale halves each time; at most 36 times bring it below a millionth, and the host looks."""
    overflow = Overflow(range(9, 1000))
    overflow.spoil(monkeypatch)
    config = changed(tiny_config, "train", epochs=20, log_steps=1)
    with pytest.raises(TrainingFailed) as caught:
        train(config, on_step=overflow.on_step)
    line = str(caught.value)
    last = tiny_config.runs / "custom-seed0" / "last.pt"
    assert 36 <= len(overflow.weights) <= 44
    assert line.startswith(f"step {len(overflow.weights)}: the gradients are finite at no scale, down to ")
    assert ", at lr 0.005; in fp16 no step changes a weight any more, and " in line
    assert f"{last} holds the last checkpoint; try --train.precision " in line
    assert "Images of the step" not in line
    assert len(line.splitlines()) == 1
    assert not torch.equal(overflow.weights[7], overflow.weights[0])
    assert all(torch.equal(overflow.weights[7], later) for later in overflow.weights[8:])
    assert load_checkpoint(last)["scaler"]["scale"] < 1


def test_a_short_run_that_learned_nothing_fails_as_well(
    fp16: None, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten steps leave a scale of 64, which is none of concern in itself."""
    overflow = Overflow(range(1000))
    overflow.spoil(monkeypatch)
    with pytest.raises(TrainingFailed, match="step 10: the gradients are finite at no scale, down to 64, at lr"):
        train(tiny_config, on_step=overflow.on_step)


def test_a_scale_that_finds_its_place_is_no_fault(
    fp16: None, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradients of the first steps often overflow: torch begins with a scale of 65,536. timing.jsonl has it."""
    overflow = Overflow(range(1, 9))
    overflow.spoil(monkeypatch)
    run = train(tiny_config, on_step=overflow.on_step)
    assert run.state == "done"
    assert [row["loss_scale"] for row in run.timing] == [2.0**11, 2.0**8]
    events = EventAccumulator(str(run.folder))
    events.Reload()
    assert [point.value for point in events.Scalars("by_epoch/loss_scale")] == [2.0**11, 2.0**8]
    assert [point.step for point in events.Scalars("by_epoch/loss_scale")] == [1, 2]


def test_other_precisions_have_no_scale(tiny_config: Config) -> None:
    run = train(tiny_config)
    parts = ("train", "val", "save", "wait")
    expected = {"epoch", "seconds", *parts, "total_seconds", "images", "images_per_s", "memory_mib"}
    assert [set(row) for row in run.timing] == [expected] * 2
    for row in run.timing:
        assert sum(row[part] for part in parts) == pytest.approx(row["seconds"], abs=0.003)
        assert min(row[part] for part in parts) >= 0
    events = EventAccumulator(str(run.folder))
    events.Reload()
    assert "by_epoch/loss_scale" not in events.Tags()["scalars"]


def test_rows_with_and_without_a_scale_are_read(fp16: None, tiny_config: Config) -> None:
    """As where a run goes on on another card."""
    run = train(tiny_config)
    path = run.folder / "timing.jsonl"
    first, second = path.read_text().splitlines()
    old = {key: value for key, value in json.loads(first).items() if key != "loss_scale"}
    path.write_text(json.dumps(old) + "\n" + second + "\n")
    assert [row.get("loss_scale") for row in run.timing] == [None, json.loads(second)["loss_scale"]]
    assert len(list_runs(run.folder.parent)) == 1


def fail_at(monkeypatch: pytest.MonkeyPatch, step: int, error: BaseException) -> None:
    """Have the network fail in the forward pass of a step."""
    update = TrainState._update

    def failing(state: TrainState, batch: Batch, lr: float) -> torch.Tensor:
        if state.progress.step + 1 == step:
            raise error
        return update(state, batch, lr)

    monkeypatch.setattr(TrainState, "_update", failing)


def test_a_lack_of_memory_says_what_was_asked_for_and_what_needs_less(
    tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what was tried just now; and of a run that has begun, no other number of parts is asked for."""
    config = dataclasses.replace(tiny_config, input_size=64)  # batch norm takes one image of that size
    fail_at(monkeypatch, 3, OUT_OF_MEMORY.raised())
    numbers = "(22.78 GiB more were asked for, 12.73 GiB of 31.47 GiB are free)"
    for asked, remedy in ((1, "--train.accumulate 2"), (2, "--train.accumulate 4"), (8, "a smaller --input-size")):
        with pytest.raises(TrainingFailed) as caught:
            train(changed(config, "train", accumulate=asked), experiment=f"parts{asked}")
        line = str(caught.value)
        assert line.startswith("cpu (")
        assert f" is out of memory in training, after step 2 {numbers}: it needs less with {remedy}" in line
    monkeypatch.undo()
    fail_at(monkeypatch, 8, CUBLAS_ALLOC.raised())
    with pytest.raises(TrainingFailed) as caught:
        train(tiny_config, experiment="begun")
    last = tiny_config.runs / "begun-seed0" / "last.pt"
    assert f"the same command goes on from {last} where more memory is free" in str(caught.value)
    assert str(caught.value).endswith("a run under another --run-name needs less with --train.accumulate 2")
    monkeypatch.undo()
    assert train(tiny_config, experiment="begun").state == "done"


@pytest.mark.parametrize("card", FAULTS, ids=lambda card: card.text[:40])
def test_every_fault_of_a_card_in_training_is_one_line(
    card: CardFault, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at(monkeypatch, 2, card.raised())
    with pytest.raises(TrainingFailed) as caught:
        train(tiny_config)
    assert len(str(caught.value).splitlines()) == 1
    if card is ILLEGAL_ACCESS:
        assert "failed in training, after step 1 (CUDA error: an illegal memory access was encountered): the same " in (
            str(caught.value)
        )


def test_a_fault_that_shows_late_is_told_too(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA reports it at some later call: where the host waits, in evaluation, or while a checkpoint is written."""
    for where in ("sync_and_check", "save"):
        with monkeypatch.context() as patch:

            def fail(*_: Any, **__: Any) -> None:
                raise ILLEGAL_ACCESS.raised()

            patch.setattr(TrainState, where, fail)
            with pytest.raises(TrainingFailed, match="illegal memory access"):
                train(tiny_config, experiment=where)
    monkeypatch.setattr("corolla.evaluation.tta_model.InferenceModel.__call__", fail)
    with pytest.raises(TrainingFailed, match="illegal memory access"):
        train(tiny_config, experiment="evaluation")


def test_the_programs_own_error_keeps_its_traceback(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_at(monkeypatch, 2, RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x8 and 16x8)"))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        train(tiny_config)


@pytest.mark.parametrize("card", [OUT_OF_MEMORY, CUBLAS_ALLOC, CUDNN_INTERNAL, ILLEGAL_ACCESS])
@pytest.mark.parametrize("what", ["model", "teacher", "ema", "sizes"])
def test_what_does_not_fit_on_the_card_is_told(
    what: str, card: CardFault, tiny_config: Config, teacher: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network itself, the teacher, the moving average, one image of each size: each was a traceback."""
    config = changed(tiny_config, "train", teacher=str(teacher.folder), ema=0.9)

    def full(*_: Any, **__: Any) -> None:
        raise card.raised()

    move, calls = nn.Module.to, 0

    def moved(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += "memory_format" in kwargs
        if calls == {"model": 1, "teacher": 2}[what]:
            raise card.raised()
        return move(module, *args, **kwargs)

    if what in ("model", "teacher"):
        monkeypatch.setattr(nn.Module, "to", moved)
    elif what == "ema":
        monkeypatch.setattr(corolla.training.build, "ModelEmaV3", full)
    else:
        monkeypatch.setattr("timm.models.efficientnet.EfficientNet.forward", full)
    with pytest.raises(Failure) as caught:
        train(config)
    line = str(caught.value)
    assert " while timm:test_efficientnet is put on it (" in line
    assert len(line.splitlines()) == 1
    assert "takes no images" not in line
    assert not (tiny_config.runs / "custom-seed0").exists(), "the name is free"


def test_a_network_without_numbers_for_val_does_not_finish_its_epoch(tiny_config: Config) -> None:
    """Else NaN would be class 0 to it, and the run be done with a score."""

    def grow(state: TrainState, batch: Batch, lr: float, loss: torch.Tensor) -> None:
        if state.progress.step == 10:  # the last one, whose weights no other step looks at
            for parameter in state.model.parameters():
                parameter.data.mul_(1e15)

    with pytest.raises(TrainingFailed, match=r"^epoch 2: the validation loss is nan, .* does not count") as caught:
        train(tiny_config, on_step=grow)
    run = Run(tiny_config.runs / "custom-seed0")
    assert f"{run.last} holds the last checkpoint; most likely the learning rate is too high" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert (run.state, [row["epoch"] for row in run.metrics]) == ("stopped", [1])
    assert [row["epoch"] for row in run.copied_metrics] == [1]
    assert train(tiny_config).state == "done"


@pytest.fixture(scope="module")
def teacher(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = Config(data=tiny_data, runs=tmp_path_factory.mktemp("teacher"), device="cpu")
    config = changed(changed(config, "train", epochs=1, batch_size=8), "pipeline", workers=0)
    return train(changed(config, "model", name="timm:test_efficientnet"))


def test_a_compiler_that_fails_is_told_and_a_full_card_is_not_its_fault(
    tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._dynamo.exc import BackendCompilerFailed

    def by_compiler(error: Exception) -> Exception:
        has_frame = "first_useful_frame" in inspect.signature(BackendCompilerFailed).parameters  # from torch 2.7 on
        return BackendCompilerFailed("inductor", error, *([None] if has_frame else []))

    # torch._inductor of torch 2.6 where there is none
    no_compiler = (
        "Failed to find C compiler. Please specify via CC environment variable or set triton.knobs.build.impl."
    )
    fail_at(monkeypatch, 1, by_compiler(RuntimeError(no_compiler)))
    with pytest.raises(UserError, match=r"--train\.compile does not work here, train without it: .*C compiler"):
        train(tiny_config)
    monkeypatch.undo()
    fail_at(monkeypatch, 1, by_compiler(OUT_OF_MEMORY.raised()))
    with pytest.raises(TrainingFailed, match="is out of memory in training"):
        train(tiny_config)


def test_neither_evaluation_nor_the_teacher_is_compiled(
    tiny_config: Config, teacher: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """So that no compiler can fail there. What is compiled here fails where it is called in any but training mode."""
    config = changed(tiny_config, "train", compile=True, teacher=str(teacher.folder), epochs=1)
    compiled: list[nn.Module] = []

    def compile_(module: nn.Module, *_: Any, **__: Any) -> None:
        def call(*args: Any, **kwargs: Any) -> Any:
            assert module.training
            return module._call_impl(*args, **kwargs)

        compiled.append(module)
        module._compiled_call_impl = call

    monkeypatch.setattr(nn.Module, "compile", compile_)
    caplog.set_level("INFO", "corolla")
    for ema in (0.0, 0.9):
        assert train(changed(config, "train", ema=ema), experiment=f"ema{ema}").state == "done"
    assert len(compiled) == 2
    assert caplog.text.count("--train.compile: the first step took ") == 2


def test_a_step_in_fp32_is_exact_forward_and_backward(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA's convolutions round to TF32 by default, those of the backward pass too."""
    seen: set[tuple[str, bool]] = set()
    forward = nn.Conv2d.forward

    def record(module: nn.Conv2d, images: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            seen.add(("forward", torch.backends.cudnn.allow_tf32))
            images.register_hook(lambda _: seen.add(("backward", torch.backends.cudnn.allow_tf32))) if (
                images.requires_grad
            ) else None
        return forward(module, images)

    monkeypatch.setattr(nn.Conv2d, "forward", record)
    for precision, allowed in (("fp32", False), ("bf16", True)):
        seen.clear()
        train(changed(tiny_config, "train", precision=precision, epochs=1), experiment=precision)
        assert seen == {("forward", allowed), ("backward", allowed)}
    assert torch.backends.cudnn.allow_tf32


def test_bf16_is_refused_on_a_card_without_it_but_a_run_that_has_it_goes_on(
    tiny_config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "corolla")
    config = changed(tiny_config, "train", precision="bf16", epochs=1)
    run = train(changed(config, "train", max_hours=1e-9))
    assert run.state == "stopped"
    monkeypatch.setattr("corolla.training.build.has_bf16", lambda _: False)
    monkeypatch.setattr("corolla.arithmetic.has_bf16", lambda _: False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (7, 5))
    with pytest.raises(UserError, match=r"--train\.precision bf16: .* has no bf16 .*; use fp16, or auto, which is"):
        train(config, experiment="new")
    assert train(config).state == "done"
    assert "has no bf16 and emulates it; a run in fp16 or fp32 is faster there" in caplog.text
