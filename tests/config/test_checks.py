"""What is said of settings that do not come to anything."""

from typing import Any

import pytest
from support import changed

from corolla.config import Config
from corolla.config.checks import notes
from corolla.config.experiments import EXPERIMENTS
from corolla.training.train import train

# A setting and a value, what it needs, and the owner's value without and with effect.
NEEDS: list[tuple[str, Any, str, str, Any, Any]] = [
    ("model.pretrained_tag", "a1_in1k", "--model.weights pretrained", "model.weights", "none", "pretrained"),
    ("augment.shorter_side", (200, 300), "--augment.crop resnet", "augment.crop", "random-resized", "resnet"),
    ("augment.area", (0.5, 1.0), "--augment.crop random-resized", "augment.crop", "resnet", "random-resized"),
    ("augment.aspect", (1.0, 1.0), "--augment.crop random-resized", "augment.crop", "resnet", "random-resized"),
    ("augment.brightness", 0.1, "--augment.color", "augment.color", False, True),
    ("augment.saturation", 0.1, "--augment.color", "augment.color", False, True),
    ("augment.hue", 0.1, "--augment.color", "augment.color", False, True),
    ("augment.erase_area", (0.1, 0.2), "--augment.erase", "augment.erase", 0.0, 0.5),
    ("augment.erase_fill", "mean", "--augment.erase", "augment.erase", 0.0, 0.5),
    ("augment.grow_epochs", 0.5, "--augment.start-size", "augment.start_size", None, 32),
    ("optim.momentum", 0.8, "--optim.name sgd", "optim.name", "adamw", "sgd"),
    ("optim.nesterov", True, "--optim.name sgd", "optim.name", "adamw", "sgd"),
    ("optim.betas", (0.9, 0.99), "--optim.name adamw", "optim.name", "sgd", "adamw"),
    ("optim.patience", 3, "--optim.schedule plateau", "optim.schedule", "cosine", "plateau"),
    ("optim.factor", 0.5, "--optim.schedule plateau or step", "optim.schedule", "cosine", "plateau"),
    ("optim.factor", 0.5, "--optim.schedule plateau or step", "optim.schedule", "constant", "step"),
    ("optim.milestones", (0.5,), "--optim.schedule step", "optim.schedule", "plateau", "step"),
    ("optim.one_cycle_start", 0.3, "--optim.schedule one-cycle", "optim.schedule", "cosine", "one-cycle"),
    ("train.mix_share", 0.5, "--train.mixup or --train.cutmix", "train.mixup", 0.0, 0.2),
    ("train.mix_off_epochs", 2, "--train.mixup or --train.cutmix", "train.cutmix", 0.0, 1.0),
    ("train.distill_temperature", 2.0, "--train.teacher", "train.teacher", "", "runs/other"),
    ("train.logit_adjustment", 1.0, "--train.balance below 1", "train.balance", 1.0, 0.9),
    ("train.class_balance", 0.9, "--train.balance below 1", "train.balance", 1.0, 0.9),
    ("train.distill_weight", 0.9, "--train.teacher", "train.teacher", "", "runs/other"),
]


def having(config: Config, key: str, value: object) -> Config:
    section, name = key.split(".")
    return changed(config, section, **{name: value})


@pytest.mark.parametrize(("key", "value", "needed", "owner", "off", "on"), NEEDS)
def test_a_setting_without_the_one_it_needs_is_said(
    key: str, value: object, needed: str, owner: str, off: object, on: object
) -> None:
    without = having(Config(), owner, off)
    assert notes(without) == []
    option = "--" + key.replace("_", "-")
    assert notes(having(without, key, value)) == [f"note: {option} has no effect without {needed}"]
    assert notes(having(having(Config(), owner, on), key, value)) == []


def test_a_teacher_alone_leaves_nothing_to_the_labels() -> None:
    config = changed(Config(), "train", teacher="runs/other", label_smoothing=0.1, class_balance=0.9)
    assert notes(config) == []
    assert notes(changed(config, "train", distill_weight=1.0)) == [
        f"note: --train.{name} has no effect without --train.distill-weight below 1"
        for name in ("label-smoothing", "class-balance")
    ]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_setting_of_the_experiments_counts(name: str) -> None:
    assert notes(EXPERIMENTS[name]()) == []


@pytest.mark.parametrize(
    ("section", "values", "said"),
    [
        ("optim", {"schedule": "cosine", "warmup_epochs": 1.0}, "rises to the very end (--optim.warmup-epochs 1 of 1 "),
        ("train", {"head_epochs": 1}, "the classifier alone is trained (--train.head-epochs 1 of 1 "),
        (
            "augment",
            {"start_size": 24},
            "grow to 24 px only, not to the 32 px of val (--augment.start-size 24, ",
        ),
        ("train", {"mixup": 0.2, "mix_off_epochs": 3}, "no image is mixed (--train.mix-off-epochs 3 of 1 "),
        ("optim", {"milestones": (0.5,)}, "--optim.milestones has no effect without --optim.schedule step\n"),
    ],
)
def test_training_says_it_and_goes_on(
    section: str, values: dict[str, Any], said: str, tiny_config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    short = changed(changed(tiny_config, "model", name="timm:test_resnet"), "train", epochs=1)
    train(short, experiment="plain")
    assert "note:" not in capsys.readouterr().out
    assert train(changed(short, section, **values), experiment="with").state == "done"
    assert said in capsys.readouterr().out
