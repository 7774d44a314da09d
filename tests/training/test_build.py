"""The state of a new run from a checkpoint: what it takes over, whatever its memory order."""

import dataclasses
from typing import Any

import pytest
import torch
from support import changed

from corolla.config import Config
from corolla.data.index import load_index
from corolla.data.loader import make_batch
from corolla.runs.checkpoint import load_checkpoint
from corolla.training.build import build_datasets, initialised_state
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
    state.update(make_batch(photos, [(0, i) for i in range(8)]), 0.01)
    state.sync_and_check()
