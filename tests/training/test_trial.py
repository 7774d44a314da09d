"""The trial of a step leaves no trace, and finds in how many parts a batch fits."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from device_faults import CUBLAS_ALLOC, CUDNN_INTERNAL, ILLEGAL_ACCESS, OUT_OF_MEMORY, CardFault
from state_bits import assert_same_bits, state_content
from support import changed, everything_on, same_content, stop_at

import corolla.training.loop
import corolla.training.validation
from corolla.config import Config
from corolla.data.dataset import Samples
from corolla.data.index import Index, load_index
from corolla.data.loader import Batch, make_batch
from corolla.data.statistics import data_statistics
from corolla.errors import UserError
from corolla.evaluation.tta_model import TTAModel
from corolla.runs.folder import Run
from corolla.training.build import new_state
from corolla.training.datasets import build_datasets
from corolla.training.state import TrainState
from corolla.training.stop import Stop
from corolla.training.train import train
from corolla.training.trial import fit_memory, try_step

CPU = torch.device("cpu")


def make_state(config: Config, size: int = 32) -> TrainState:
    config = dataclasses.replace(config, input_size=size)
    index = load_index(config.data, None)
    return new_state(config, index, CPU, data_statistics(index, ("train",)).color)


def in_fp16(state: TrainState) -> TrainState:
    """Have it scale its losses as on a GPU."""
    state.precision = "fp16"
    state.scaler = torch.amp.GradScaler("cpu")
    return state


def batches(state: TrainState, number: int) -> list[Batch]:
    photos, _ = build_datasets(state.meta, load_index(state.config.data, None))
    return [make_batch(photos, Samples(step, (8 * step + np.arange(8)) % len(photos))) for step in range(number)]


SETTINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "sgd": ({}, {}),
    "nesterov, ema, parts": ({"nesterov": True}, {"ema": 0.9, "accumulate": 3}),
    "adamw, bf16": ({"name": "adamw", "clip_norm": 1.0}, {"precision": "bf16"}),
    "fp16": ({}, {"ema": 0.9}),
    "fp16, adamw, clipped": ({"name": "adamw", "clip_norm": 1.0}, {}),
    "mixup": ({"agc": 0.1}, {"mixup": 0.2, "cutmix": 1.0}),
    "head first": ({}, {"head_epochs": 1}),
}


@pytest.mark.parametrize("steps", [0, pytest.param(2, marks=pytest.mark.slow)], ids=["fresh", "under way"])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_trial_leaves_every_bit_alone(name: str, steps: int, tiny_config: Config) -> None:
    optim, settings = SETTINGS[name]
    config = changed(changed(tiny_config, "optim", **optim), "train", **settings)
    tried, left = (in_fp16(make_state(config)) if "fp16" in name else make_state(config) for _ in range(2))
    made = batches(tried, steps + 2)
    for state in (tried, left):
        for batch in made[:steps]:
            state.update(batch, 0.01)
    torch.manual_seed(3)
    before = state_content(tried)
    assert try_step(tried, 8) is None
    assert_same_bits(state_content(tried), before)
    assert all(parameter.grad is None for parameter in tried.model.parameters())
    for state in (tried, left):  # and neither does what follows differ
        for batch in made[steps:]:
            state.update(batch, 0.01)
        state.sync_and_check()
    after = state_content(tried), state_content(left)
    for each in after:
        del each["random"]
    assert_same_bits(*after)


@pytest.mark.slow
def test_a_run_with_a_trial_is_the_run_without(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it was stopped and begins again, with a trial each time."""
    config = everything_on(tiny_config)
    plain = train(config, experiment="plain")
    fit = corolla.training.loop.fit

    def fit_after_trial(state: TrainState, run: Run, index: Index, stop: Stop, **how: Any) -> None:
        fit_memory(state, len(index.splits["train"]))
        fit(state, run, index, stop, **how)

    monkeypatch.setattr(corolla.training.loop, "fit", fit_after_trial)
    assert train(config, experiment="tried", on_step=stop_at(7)).state == "stopped"
    tried = train(config, experiment="tried")
    assert tried.metrics == plain.metrics
    assert same_content(tried.last, plain.last)
    assert same_content(tried.best, plain.best)


def record_calls(state: TrainState, monkeypatch: pytest.MonkeyPatch) -> list[tuple[torch.Size, bool, bool]]:
    """Return the list of what the network is called with in training: shapes, whether it learns as a whole, is mixed"""
    calls: list[tuple[torch.Size, bool, bool]] = []
    forward, normalise = state.model.forward, state.normalise.forward
    floats: list[bool] = []

    def normalising(images: torch.Tensor) -> torch.Tensor:
        floats.append(images.is_floating_point())
        return normalise(images)

    def recording(images: torch.Tensor) -> torch.Tensor:
        calls.append((images.shape, all(p.requires_grad for p in state.model.parameters()), floats[-1]))
        return forward(images)

    monkeypatch.setattr(state.normalise, "forward", normalising)
    monkeypatch.setattr(state.model, "forward", recording)
    return calls


def test_it_is_as_large_as_a_step_becomes(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of the last size, the body that learns later, mixup, which makes them float."""
    config = changed(tiny_config, "train", head_epochs=1, epochs=4, mixup=0.2, cutmix=1.0, mix_share=0.1, accumulate=2)
    state = make_state(changed(config, "augment", start_size=16))
    calls = record_calls(state, monkeypatch)
    evaluated: list[torch.Size] = []
    averaged = TTAModel._averaged
    monkeypatch.setattr(
        TTAModel, "_averaged", lambda model, images: evaluated.append(images.shape) or averaged(model, images)
    )
    monkeypatch.setattr(corolla.training.validation, "_uncompiled_copy", lambda _: make_state(config).model.eval())
    assert try_step(state, 8) is None
    assert calls == [(torch.Size([4, 3, 32, 32]), True, True)] * 2
    assert set(evaluated) == {torch.Size([64, 1, 32, 32, 3])}


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"mixup": 0.2, "mix_off_epochs": 2}, {"head_epochs": 2}, {"head_epochs": 5}])
def test_settings_that_never_meet_are_tried_too(settings: dict[str, Any], tiny_config: Config) -> None:
    assert try_step(make_state(changed(tiny_config, "train", **settings)), 8) is None


def card(state: TrainState, monkeypatch: pytest.MonkeyPatch, most: int, fault: CardFault = OUT_OF_MEMORY) -> list[int]:
    """Have the network take `most` images at a time, as a card of little memory; return what it was called with."""
    sizes: list[int] = []
    forward = state.model.forward

    def limited(images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        if len(images) > most:
            raise fault.raised()
        return forward(images)

    monkeypatch.setattr(state.model, "forward", limited)
    # An evaluation's copy of the network would share this forward.
    monkeypatch.setattr(
        corolla.training.validation, "_uncompiled_copy", lambda _: make_state(state.config).model.eval()
    )
    return sizes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "most", "fits", "fault"),
    [
        (1, 4, 2, OUT_OF_MEMORY),
        (1, 2, 4, CUBLAS_ALLOC),
        (1, 1, 8, CUDNN_INTERNAL),
        (2, 3, 4, OUT_OF_MEMORY),
        (3, 2, 6, OUT_OF_MEMORY),
    ],
    ids=lambda value: str(value)[:40],
)
def test_the_number_that_fits_is_told(
    asked: int, most: int, fits: int, fault: CardFault, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never the one that was just tried. (At 64 px, where batch norm takes parts of one image.)"""
    state = make_state(changed(tiny_config, "train", accumulate=asked), 64)
    card(state, monkeypatch, most, fault)
    before = state_content(state)
    with pytest.raises(UserError) as caught:
        fit_memory(state, 40)
    line = str(caught.value)
    assert line.startswith("cpu (")
    part = {1: 8, 2: 4, 3: 3}[asked]
    assert f" is out of memory in a step with parts of {part} images of 64 px (" in line
    assert line.endswith(f"): --train.accumulate {fits} fits")
    assert_same_bits(state_content(state), before)
    state.meta = make_state(changed(tiny_config, "train", accumulate=fits), 64).meta
    fit_memory(state, 40)  # as typed, it works


def test_auto_takes_the_number_that_fits(
    tiny_config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "corolla")
    state = make_state(changed(tiny_config, "train", accumulate="auto"))
    assert state.config.train.accumulate == 1
    sizes = card(state, monkeypatch, most=3)
    before = state_content(state)
    fit_memory(state, 40, find=True)
    assert state.config.train.accumulate == 4
    assert sizes == [8, 4, 2, 2, 2, 2]
    assert_same_bits(state_content(state), {**before, "accumulate": 4})
    assert "--train.accumulate auto: 4, parts of 2 images fit" in caplog.text


@pytest.mark.slow
def test_a_batch_has_no_more_images_than_there_are(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    state = make_state(changed(tiny_config, "train", accumulate="auto", batch_size=256))
    sizes = card(state, monkeypatch, most=10)
    fit_memory(state, 40, find=True)
    assert sizes[:3] == [40, 20, 10]
    assert state.config.train.accumulate == 4


@pytest.mark.parametrize("find", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_where_nothing_fits_parts_are_no_remedy(
    find: bool, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = make_state(tiny_config)
    card(state, monkeypatch, most=0)
    with pytest.raises(UserError) as caught:
        fit_memory(state, 40, find=find)
    line = str(caught.value)
    assert " is out of memory in a step, however small its parts of 32 px (22.78 GiB more were asked for, " in line
    assert line.endswith(": try a smaller --input-size or a smaller --model.name")
    state.precision, state.device = "fp32", torch.device("cuda")
    from corolla.training.trial import _remedy

    assert _remedy(state, None, resuming=False).endswith(" or --train.precision auto")


@pytest.mark.slow
def test_a_run_that_has_begun_keeps_its_number(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    state = make_state(tiny_config)
    card(state, monkeypatch, most=2)
    with pytest.raises(UserError) as caught:
        fit_memory(state, 40, resuming=True)
    line = str(caught.value)
    assert "the run began with --train.accumulate 1 and keeps it" in line
    assert "with --init-from, --train.accumulate 4 and another --run-name" in line


@pytest.mark.parametrize(
    ("fault", "most"), [(ILLEGAL_ACCESS, 4), pytest.param(CUDNN_INTERNAL, 0, marks=pytest.mark.slow)]
)
def test_what_fewer_images_do_not_mend_is_passed_on(
    fault: CardFault, most: int, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = make_state(tiny_config)
    card(state, monkeypatch, most, fault)
    with pytest.raises(RuntimeError, match=fault.text.splitlines()[0]):
        fit_memory(state, 40)


@pytest.mark.slow
def test_parts_too_small_for_batch_norm_are_not_proposed(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one image a part it has one value per channel in the last map, of 1 x 1, which torch refuses."""
    state = make_state(tiny_config)
    sizes = card(state, monkeypatch, most=1)
    with pytest.raises(UserError, match="however small its parts"):
        fit_memory(state, 40)
    assert sizes == [8, 4, 2, 1]
    with pytest.raises(UserError, match="batch norm needs more than one value per channel"):
        fit_memory(make_state(changed(tiny_config, "train", accumulate=8)), 40)


@pytest.mark.slow
def test_an_evaluation_that_does_not_fit_is_found_out(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OUT_OF_MEMORY.raised()

    monkeypatch.setattr(TTAModel, "_scores", full)
    with pytest.raises(UserError, match="is out of memory in a step, however small"):
        fit_memory(make_state(tiny_config), 40)


def test_auto_is_1_on_a_cpu_and_the_run_keeps_the_number(tiny_config: Config, tmp_path: Path) -> None:
    auto = changed(tiny_config, "train", accumulate="auto")
    run = train(auto, on_step=stop_at(3))
    assert run.config.train.accumulate == 1
    assert train(auto).state == "done"
    assert same_content(run.last, train(tiny_config, experiment="one").last)


@pytest.fixture
def begun(tiny_config: Config) -> Callable[[str], Run]:
    """Stopped runs of which auto has found 4 on another device."""
    return lambda name: train(changed(tiny_config, "train", accumulate=4), experiment=name, on_step=stop_at(3))


def test_a_run_goes_on_with_the_number_that_auto_had_found(
    begun: Callable[[str], Run], tiny_config: Config, tmp_path: Path
) -> None:
    run = begun("found")
    auto = changed(tiny_config, "train", accumulate="auto")
    with pytest.raises(UserError, match=r"train\.accumulate is 4, now 2"):
        train(changed(tiny_config, "train", accumulate=2), experiment="found")
    copied = train(dataclasses.replace(auto, resume=run.folder, run_name="copy"))
    assert copied.config.train.accumulate == 4
    assert copied.state == "done"
    assert train(auto, experiment="found").state == "done"
    assert run.config.train.accumulate == 4
    assert same_content(copied.last, run.last)
    longer = changed(dataclasses.replace(auto, resume=run.folder, run_name="longer"), "train", epochs=3)
    assert train(longer).config.train.accumulate == 4
    with pytest.raises(UserError, match=r"has other settings \(train\.accumulate is 4, now 1\)"):
        train(dataclasses.replace(tiny_config, resume=run.folder, run_name="other"))
