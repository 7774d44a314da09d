"""The state of a new run from a checkpoint: what it takes over, whatever its memory order."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import changed, stop_at, write_data

from corolla.config import Config
from corolla.data.dataset import Samples
from corolla.data.index import load_index
from corolla.data.loader import make_batch
from corolla.runs.checkpoint import load_checkpoint
from corolla.training.build import initialised_state
from corolla.training.datasets import build_datasets
from corolla.training.train import train

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["sgd", "adamw"])
@pytest.mark.parametrize("was", [True, False], ids=["channels last before", "channels last now"])
def test_moments_are_taken_over_where_channels_last_is_toggled(name: str, was: bool, tiny_config: Config) -> None:
    """Each number stands with the weight that it belongs to, in that weight's own memory order."""
    config = changed(changed(tiny_config, "optim", name=name, lr=1e-3), "train", channels_last=was, epochs=1)
    content = load_checkpoint(train(config).last)
    toggled = changed(dataclasses.replace(config, input_size=32), "train", channels_last=not was)
    index = load_index(config.data, None)
    state = initialised_state(config.runs / "custom-seed0" / "last.pt", toggled, index, CPU)
    saved: list[dict[str, Any]] = list(content["optimizer"]["state"].values())
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    assert len(saved) == len(parameters)
    names = {"sgd": {"momentum_buffer"}, "adamw": {"exp_avg", "exp_avg_sq", "step"}}[name]
    found_order = set()
    for parameter, before in zip(parameters, saved, strict=True):
        kept = state.optimizer.state[parameter]
        assert set(kept) == set(before) == names
        for key in names:
            assert torch.equal(kept[key], before[key])
        for key in names - {"step"}:
            assert kept[key].stride() == parameter.stride()
            if parameter.ndim == 4 and min(parameter.shape) > 1:
                found_order.add(kept[key].is_contiguous(memory_format=torch.channels_last))
    assert found_order == {not was}, "no filter tells the orders apart; this test would show nothing"
    photos, _ = build_datasets(state.meta, index)
    state.update(make_batch(photos, Samples(0, np.arange(8))), 0.01)
    state.sync_and_check()


@pytest.mark.parametrize("how", ["init_from", pytest.param("weights", marks=pytest.mark.slow)])
@pytest.mark.parametrize("names", ["the same", "others", "another number"])
def test_weights_of_a_run_on_other_classes_are_told(
    how: str, names: str, tiny_config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = changed(tiny_config, "train", epochs=1)
    before = train(dataclasses.replace(config, run_name="before"))
    data = write_data(tmp_path / "other")
    if names == "others":
        (data / "classes.txt").write_text("kind 0\nkind 1\nkind 3\nkind 2\nkind 4\n")
    elif names == "another number":
        (data / "classes.txt").write_text("".join(f"kind {n}\n" for n in range(6)))
    config = dataclasses.replace(config, data=data, run_name="after")
    if how == "init_from":
        config = dataclasses.replace(config, init_from=before.folder)
    else:
        config = changed(config, "model", weights=str(before.folder))
    with caplog.at_level(logging.INFO):
        train(config)
    said = [message for message in caplog.messages if "was trained for other classes than" in message]
    assert len(said) == (names == "others")
    assert all("class 2 was kind 2, now it is kind 3" in message for message in said)
    assert "are too good" not in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("how", ["init_from", "weights", "teacher"])
def test_a_source_that_may_have_learned_val_is_told(
    how: str, tiny_config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = changed(tiny_config, "train", epochs=1)
    before = train(
        dataclasses.replace(config, data=write_data(tmp_path / "other", train=30, val=12), run_name="before")
    )
    if how == "init_from":
        config = dataclasses.replace(config, init_from=before.folder)
    elif how == "weights":
        config = changed(config, "model", weights=str(before.folder))
    else:
        config = changed(config, "train", teacher=str(before.folder))
    with caplog.at_level(logging.INFO):
        train(dataclasses.replace(config, run_name="after"))
    (said,) = [message for message in caplog.messages if "are too good" in message]
    assert said.startswith(f"note: {before.folder / ('last.pt' if how == 'init_from' else 'best.pt')} was trained with")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"accumulate": 2, "mixup": 0.2}, "images are mixed with others of their part alone, so it does not end"),
        (
            {"accumulate": 2, "dropout": 0.3},
            "dropout and stochastic depth are drawn anew for each part, so it does not",
        ),
        ({"accumulate": 2}, None),
        ({"mixup": 0.2, "dropout": 0.3}, None),
    ],
)
def test_a_run_in_parts_of_an_earlier_version_says_what_changes(
    settings: dict[str, Any], told: str | None, tiny_config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    model = {"dropout": settings.pop("dropout", 0.0)}
    config = changed(changed(tiny_config, "train", epochs=2, **settings), "model", **model)
    run = train(config, on_step=stop_at(1))
    caplog.set_level(logging.INFO)
    assert train(config, on_step=stop_at(2)).state == "stopped"
    assert "an earlier version" not in caplog.text
    content = torch.load(run.last, weights_only=True)
    del content["seeds_parts"]
    torch.save(content, run.last)
    train(config)
    assert ("an earlier version began this run in parts" in caplog.text) is (told is not None)
    assert (told or "") in caplog.text
