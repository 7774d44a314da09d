"""A run does not begin with numbers that are none: NaN in weights, or a channel that can't be normalised."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import changed, to_jpeg, write_photos
from torch import nn

from corolla.config import Config
from corolla.data.index import load_index
from corolla.data.statistics import data_statistics
from corolla.device import choose_precision
from corolla.errors import UserError
from corolla.runs.folder import Run
from corolla.training.build import new_state
from corolla.training.failures import TrainingFailed, explain_numbers
from corolla.training.state import NonFiniteError, TrainState
from corolla.training.train import train


@pytest.fixture(scope="module")
def trained(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of one epoch with a moving average."""
    config = Config(data=tiny_data, runs=tmp_path_factory.mktemp("trained"), device="cpu")
    config = changed(changed(config, "train", epochs=1, batch_size=8, ema=0.9), "pipeline", workers=0)
    return train(changed(config, "model", name="timm:test_efficientnet"))


def spoiled(run: Run, where: str, path: Path) -> Path:
    """Save the checkpoint of `run` with one number spoiled."""
    content = torch.load(run.last, weights_only=True)
    if where == "std":
        content["preprocessing"]["std"] = (0.2, 0.0, 0.2)
    elif where == "mean":
        content["preprocessing"]["mean"] = (0.2, 0.2, math.nan)
    elif where == "optimizer":
        content["optimizer"]["state"][3]["momentum_buffer"][0] = math.nan
    else:
        part, _, name = where.partition(" ")
        content[part][name][0] = math.inf if name.endswith("running_var") else math.nan
    torch.save(content, path)
    return path


SPOILED = {
    "model conv_stem.weight": "conv_stem.weight holds NaN or infinite values",
    "model bn1.running_var": "bn1.running_var holds NaN or infinite values",
    "ema classifier.bias": "classifier.bias holds NaN or infinite values",
    "optimizer": "the optimizer's momentum_buffer of parameter 3 holds NaN",
    "std": "channel green has std 0 (mean ",
    "mean": "channel blue has std ",
}


@pytest.mark.parametrize(
    ("how", "where"),
    [
        *[("init_from", where) for where in SPOILED],
        *[("resume", where) for where in ("model conv_stem.weight", "optimizer")],
        *[("teacher", where) for where in ("ema classifier.bias", "std")],
        ("weights", "mean"),
    ],
)
def test_numbers_that_came_in_spoiled_are_told_before_the_first_step(
    how: str, where: str, trained: Run, tiny_config: Config, tmp_path: Path
) -> None:
    path = tmp_path / "other.pt"
    config = changed(tiny_config, "train", ema=0.9, epochs=1)
    if how == "init_from":
        config = dataclasses.replace(config, init_from=spoiled(trained, where, path))
    elif how == "teacher":
        config = changed(config, "train", teacher=str(spoiled(trained, where, path)))
    elif how == "weights":
        config = changed(config, "model", weights=str(spoiled(trained, where, path)))
    else:
        folder = tmp_path / "runs" / "custom-seed0"
        folder.mkdir(parents=True)
        path = folder / "last.pt"
        (folder / "config.json").write_bytes((trained.folder / "config.json").read_bytes())
        spoiled(trained, where, path)
        content = torch.load(path, weights_only=True)
        content["progress"]["rows"] = []  # in the middle of its epoch
        torch.save(content, path)
        config = dataclasses.replace(trained.config, data=config.data, runs=config.runs, device="cpu")
        config = changed(config, "pipeline", workers=0)
    with pytest.raises(UserError) as caught:
        train(config)
    line = str(caught.value)
    assert line.startswith(f"{'--train.teacher ' if how == 'teacher' else ''}{path}")
    assert SPOILED[where] in line
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "size", "start", "refused"),
    [
        ("resnet18", 32, 16, "images of 16 px leave layer4.0.conv1 less"),
        ("timm:test_efficientnet", 16, None, "images of 16 px leave blocks.4.0.conv_dw less"),
        ("resnet18", 32, None, None),
    ],
)
def test_bf16_on_a_cpu_is_not_taken_where_it_has_no_right_gradients(
    name: str, size: int, start: int | None, refused: str | None, tiny_config: Config
) -> None:
    config = changed(tiny_config, "model", name=name, width=0.125 if name == "resnet18" else 1.0)
    config = changed(dataclasses.replace(config, input_size=size), "augment", start_size=start)
    index, cpu = load_index(config.data, 32), torch.device("cpu")
    color = data_statistics(index, ("train",)).color
    native = choose_precision("auto", cpu)
    for precision, expected in (("fp32", "fp32"), ("auto", native if refused is None else "fp32")):
        state = new_state(changed(config, "train", precision=precision), index, cpu, color)
        assert state.precision == expected
        assert any("no right gradient" in note for note in state.notes) == (expected != native and precision == "auto")
    asked = changed(config, "train", precision="bf16")
    if refused is None:
        assert new_state(asked, index, cpu, color).precision == "bf16"
    else:
        with pytest.raises(UserError, match=refused):
            new_state(asked, index, cpu, color)


@pytest.mark.parametrize("grey", [0, 128])
def test_photos_of_one_colour_are_told(grey: int, tiny_config: Config, tmp_path: Path) -> None:
    photo = to_jpeg(np.full((64, 64, 3), grey, np.uint8))
    data = write_photos(tmp_path / "data", dict.fromkeys(("train", "val"), [(photo, 0), (photo, 1)] * 4))
    with pytest.raises(UserError) as caught:
        train(dataclasses.replace(tiny_config, data=data))
    assert str(caught.value).startswith(f"{data}: the training photos' pixels: channel red has std 0 (mean ")
    assert len(str(caught.value).splitlines()) == 1
    assert not (tiny_config.runs / "custom-seed0" / "config.json").exists()


def test_weights_of_a_package_are_looked_at_too(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    import corolla.models.pretrained as pretrained

    def damaged(model: nn.Module) -> Any:
        state = dict(model.state_dict())
        state["conv_stem.weight"] = state["conv_stem.weight"].clone().fill_(math.nan)
        return state, pretrained.IMAGENET

    monkeypatch.setattr(pretrained, "_from_package", damaged)
    config = changed(tiny_config, "model", name="timm:tf_efficientnet_lite0", weights="package")
    with pytest.raises(UserError, match=r"^package weights: conv_stem\.weight holds NaN"):
        train(config)


@pytest.fixture
def state(tiny_config: Config) -> TrainState:
    index = load_index(tiny_config.data, None)
    config = dataclasses.replace(tiny_config, input_size=32)
    return new_state(config, index, torch.device("cpu"), data_statistics(index, ("train",)).color)


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ([f"{n:03d}" for n in range(256)], "Images of the step: 256, 000, 001, 002 and others"),
        (["a", "b", "c"], "Images of the step: 3, a, b, c"),
        (["a", "a", "b", "a"], "Images of the step: 4, a, b"),
    ],
)
def test_three_of_the_images_are_named_and_their_number(ids: list[str], said: str, state: TrainState) -> None:
    line = explain_numbers(NonFiniteError(7, "the loss is nan"), state, Run(Path("runs/x")), lr=0.1, ids=ids)
    assert line.endswith(f". {said}")
    assert "most likely the learning rate is too high: try a lower --optim.lr" in line


def test_a_gradient_of_the_first_step_may_be_the_learning_rates_fault_and_a_loss_not(
    tiny_config: Config, state: TrainState, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = NonFiniteError(1, "the gradient's norm is inf")
    assert "most likely the learning rate" in explain_numbers(error, state, Run(Path("x")), lr=0.1, ids=["a"])
    cross_entropy = torch.nn.functional.cross_entropy
    monkeypatch.setattr("corolla.training.losses.F.cross_entropy", lambda *a, **k: cross_entropy(*a, **k) * math.inf)
    with pytest.raises(TrainingFailed) as caught:
        train(tiny_config)
    line = str(caught.value)
    assert line.startswith(
        "step 1: the loss is inf at lr 0.005; nothing was updated and there is no checkpoint yet; no "
    )
    assert (
        "no weight had changed yet, so that it is not the learning rate: look at what pixels are divided by (mean "
        in line
    )
    assert "--optim.lr" not in line


def test_a_cpu_trains_depthwise_convolutions_in_fp32_unless_bf16_is_asked_for(tiny_config: Config) -> None:
    """Those of EfficientNets are slower in bf16 there; those of 7 x 7, as in ConvNeXt, are not."""
    index, cpu = load_index(tiny_config.data, 32), torch.device("cpu")
    color = data_statistics(index, ("train",)).color
    for name, of_auto in (
        ("timm:test_efficientnet", "fp32"),
        ("timm:test_convnext", choose_precision("auto", cpu)),
        ("resnet18", choose_precision("auto", cpu)),
    ):
        config = changed(dataclasses.replace(tiny_config, input_size=32), "model", name=name)
        assert new_state(changed(config, "train", precision="auto"), index, cpu, color).precision == of_auto
        assert new_state(changed(config, "train", precision="bf16"), index, cpu, color).precision == "bf16"
