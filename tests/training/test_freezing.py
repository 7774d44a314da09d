"""Fine-tuning in parts: what is frozen stays, the rest learns, and a run resumes exactly in every phase."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from support import changed, same_content, stop_at

from corolla.config import Config
from corolla.errors import UserError
from corolla.models.factory import build_model
from corolla.runs.checkpoint import load_checkpoint
from corolla.runs.folder import Run
from corolla.training.schedule import learning_rate, scale_lr
from corolla.training.train import train

STEPS = 5  # of an epoch of tiny_config
TWEAKED = {
    "name": "resnet18", "stem": "small-pool", "avg_shortcut": True, "activation": "silu", "width": 0.125,
    "zero_gamma": True, "dropout": 0.2, "drop_path": 0.2,
}  # fmt: skip


def initial(config: Config) -> dict[str, torch.Tensor]:
    torch.manual_seed(config.train.seed)
    return build_model(config.model, 5, 32).state_dict()


def moved(run: Run, checkpoint: str, config: Config) -> set[str]:
    """Names of the tensors that training has changed up to a checkpoint."""
    now = load_checkpoint(run.folder / checkpoint)["model"]
    return {name for name, tensor in initial(config).items() if not torch.equal(tensor, now[name])}


def norm_names(config: Config) -> set[str]:
    model = build_model(config.model, 5, 32)
    norms = [name for name, module in model.named_modules() if isinstance(module, torch.nn.BatchNorm2d)]
    return {name for name in model.state_dict() if name.startswith(tuple(f"{norm}." for norm in norms))}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_classifier_trains_alone_then_everything(tiny_config: Config, optimizer: str) -> None:
    config = changed(tiny_config, "train", head_epochs=1, keep_every=1)
    config = changed(config, "optim", name=optimizer, weight_decay=0.1)
    run = train(config)
    assert moved(run, "epoch-001.pt", config) == {"classifier.weight", "classifier.bias"}
    assert moved(run, "last.pt", config) >= norm_names(config) | {"conv_stem.weight", "classifier.weight"}


@pytest.mark.parametrize("head_epochs", [0, 1])
def test_frozen_norms_stay_and_the_rest_learns(tiny_config: Config, head_epochs: int, tmp_path: Path) -> None:
    torch.save(initial(tiny_config), tmp_path / "initial.pt")
    config = changed(tiny_config, "model", freeze_norms=True, weights=str(tmp_path / "initial.pt"))
    config = changed(config, "train", head_epochs=head_epochs)
    assert moved(train(config), "last.pt", config) == initial(config).keys() - norm_names(config)


def test_frozen_norms_need_weights(tiny_config: Config) -> None:
    """A norm whose scale starts at 0 would switch its branch off for good: without weights none is frozen."""
    config = changed(tiny_config, "model", freeze_norms=True)
    with pytest.raises(
        UserError, match=r"^--model\.freeze-norms has no effect without --model\.weights or --init-from"
    ):
        train(config, explicit=["model.freeze_norms"])
    assert not (config.runs / "custom-seed0" / "config.json").exists()
    assert norm_names(config) <= moved(train(config), "last.pt", config)


def test_each_group_has_its_rate_and_the_log_the_schedules(tiny_config: Config) -> None:
    config = changed(tiny_config, "optim", schedule="one-cycle", lr_batch=16, head_lr=10, layer_decay=0.5)
    run = train(config)
    rates = [learning_rate(scale_lr(config.optim, 8), step, steps_per_epoch=STEPS, epochs=2) for step in (4, 9)]
    assert [row["lr"] for row in run.metrics] == rates
    groups = load_checkpoint(run.last)["optimizer"]["param_groups"]
    assert max(group["lr"] for group in groups) == pytest.approx(10 * rates[-1])


@pytest.mark.parametrize(
    ("step", "model"),
    [
        (3, {}),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in ((STEPS, {"freeze_norms": True}), (8, {}), (8, TWEAKED))
        ),
    ],
    ids=["3", "5", "8", "8-own"],
)
def test_resuming_is_exact_in_both_phases(
    step: int, model: dict[str, Any], tiny_config: Config, tmp_path: Path
) -> None:
    if "freeze_norms" in model:
        torch.save(initial(tiny_config), tmp_path / "initial.pt")
        model = {**model, "weights": str(tmp_path / "initial.pt")}
    config = changed(changed(tiny_config, "model", **model), "train", head_epochs=1, ema=0.9)
    config = changed(config, "optim", layer_decay=0.8, head_lr=2, agc=0.05, schedule="one-cycle", nesterov=True)
    undisturbed = train(config, experiment="undisturbed")
    assert train(config, experiment="stopped", on_step=stop_at(step)).state == "stopped"
    resumed = train(config, experiment="stopped")
    assert (resumed.folder / "metrics.jsonl").read_bytes() == (undisturbed.folder / "metrics.jsonl").read_bytes()
    assert same_content(resumed.last, undisturbed.last)


def test_another_runs_momentum_goes_on_in_other_groups(tiny_config: Config) -> None:
    """--init-from with layer decay, and so other groups, that the first run had not."""
    tiny_config = changed(tiny_config, "train", precision="fp32")
    first = train(tiny_config, experiment="first")
    config = dataclasses.replace(changed(tiny_config, "train", epochs=1), init_from=first.folder, run_name="second")
    plain = train(dataclasses.replace(config, run_name="plain"))
    second = train(changed(config, "optim", layer_decay=0.999999))
    for name, tensor in load_checkpoint(plain.last)["model"].items():
        torch.testing.assert_close(load_checkpoint(second.last)["model"][name], tensor, rtol=1e-2, atol=1e-3)
