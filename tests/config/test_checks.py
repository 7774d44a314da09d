"""Settings that have no effect: refused where the user typed them, noted where something else brought them along."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from support import changed

from corolla.config import Config, flag, from_dict, keys
from corolla.config.checks import check_ignored, check_settings
from corolla.config.config import fields_of
from corolla.config.experiments import EXPERIMENTS, find_experiment
from corolla.errors import UserError
from corolla.models.factory import build_model
from corolla.training.train import train

OWN = "one of the own networks (plain18, resnet34, ...)"
SHORTCUTS = "a network with shortcuts"
BOTTLENECKS = "resnet26, resnet50, resnet101 or resnet152"
ONE_STEM = "the networks of 6n + 2 layers (resnet20, ...), which begin with one 3x3"
COLOR = {"augment.color": True}
TIMM, PLAIN = {"model.name": "timm:resnet10t"}, {"model.name": "plain18"}
TEACHER = {"train.teacher": "runs/other"}
HARD_LABELS_ONLY = {**TEACHER, "train.distill_weight": 1.0}
NOTHING_VALIDATED = "--train.on train+val, which leaves nothing to validate on"


class Case(NamedTuple):
    """A setting at a value, and what it needs: settings without it and with it."""

    key: str
    value: Any
    need: str
    without: dict[str, Any]
    met: dict[str, Any]


CASES = [
    Case("model.weights", "other.pt", "--init-from", {"init_sha256": 64 * "0"}, {}),
    Case("model.pretrained_tag", "a1_in1k", "--model.weights pretrained", {}, {"model.weights": "pretrained"}),
    Case("model.shortcut", "C", OWN, TIMM, {}),
    Case("model.shortcut", "C", SHORTCUTS, PLAIN, {}),
    Case("model.init", "xavier", OWN, TIMM, PLAIN),
    Case("model.stride_in_1x1", True, BOTTLENECKS, {}, {"model.name": "resnet50"}),
    Case(
        "model.stride_in_1x1",
        True,
        BOTTLENECKS,
        {"model.name": "timm:resnet50"},
        {"model.name": "resnet101"},
    ),
    Case("model.stride_in_1x1", True, BOTTLENECKS, {"model.name": "resnet56"}, {"model.name": "resnet152"}),
    Case("model.stem", "3x3", "an own network (timm has 3x3 in timm:resnet50d)", TIMM, PLAIN),
    Case("model.stem", "small", ONE_STEM, {"model.name": "resnet20"}, {"model.name": "resnet18"}),
    Case("model.stem", "small", ONE_STEM, {"model.name": "plain110"}, TIMM),
    Case("model.avg_shortcut", True, OWN, TIMM, {}),
    Case("model.avg_shortcut", True, SHORTCUTS, PLAIN, {}),
    Case("model.avg_shortcut", True, "a --model.shortcut that has 1x1 (B, C)", {"model.shortcut": "A"}, {}),
    Case("model.width", 0.5, OWN, TIMM, PLAIN),
    Case("model.zero_gamma", True, SHORTCUTS, PLAIN, TIMM),
    Case("model.zero_gamma", True, "--model.weights none", {"model.weights": "other.pt"}, {}),
    Case("model.drop_path", 0.1, SHORTCUTS, PLAIN, TIMM),
    Case("model.zero_gamma", True, "--init-from", {"init_sha256": 64 * "0"}, {}),
    Case("model.freeze_norms", True, "--model.weights or --init-from", {}, {"model.weights": "other.pt"}),
    Case("model.freeze_norms", True, "--model.weights or --init-from", {}, {"init_sha256": 64 * "0"}),
    Case("augment.shorter_side", (200, 300), "--augment.crop resnet", {"augment.crop": "random-resized"}, {}),
    Case("augment.area", (0.5, 1.0), "--augment.crop random-resized", {}, {"augment.crop": "random-resized"}),
    Case("augment.aspect", (1.0, 1.0), "--augment.crop random-resized", {}, {"augment.crop": "random-resized"}),
    Case("augment.brightness", 0.1, "--augment.color", {}, COLOR),
    Case("augment.contrast", 0.1, "--augment.color", {}, COLOR),
    Case("augment.saturation", 0.1, "--augment.color", {}, COLOR),
    Case("augment.hue", 0.1, "--augment.color", {}, COLOR),
    Case("augment.pca_axes", "imagenet", "--augment.pca-noise", {}, {"augment.pca_noise": 0.1}),
    Case("augment.erase_area", (0.1, 0.2), "--augment.erase", {}, {"augment.erase": 0.5}),
    Case("augment.erase_fill", "mean", "--augment.erase", {}, {"augment.erase": 0.5}),
    Case("augment.rand_augment_magnitude", 5.0, "--augment.rand-augment", {}, {"augment.rand_augment": 2}),
    Case("augment.start_size", 64, "an --input-size above it", {"input_size": 64}, {"input_size": 96}),
    Case("augment.grow_epochs", 0.5, "--augment.start-size", {}, {"augment.start_size": 32}),
    Case("augment.normalise", "imagenet", "--model.weights none", {"model.weights": "other.pt"}, {}),
    Case("augment.normalise", "train+val", "--init-from", {"init_sha256": 64 * "0"}, {}),
    Case("optim.momentum", 0.8, "--optim.name sgd", {"optim.name": "adamw"}, {}),
    Case("optim.nesterov", True, "--optim.name sgd", {"optim.name": "adamw"}, {}),
    Case("optim.nesterov", True, "--optim.momentum above 0", {"optim.momentum": 0.0}, {}),
    Case("optim.betas", (0.9, 0.99), "--optim.name adamw", {}, {"optim.name": "adamw"}),
    Case(
        "optim.decay_norms",
        False,
        "--optim.weight-decay above 0",
        {"optim.weight_decay": 0.0},
        {},
    ),
    Case("optim.one_cycle_start", 0.3, "--optim.schedule one-cycle", {}, {"optim.schedule": "one-cycle"}),
    Case(
        "optim.warmup_epochs",
        2.0,
        "a schedule other than one-cycle, which has a rise of its own (--optim.one-cycle-start)",
        {"optim.schedule": "one-cycle"},
        {},
    ),
    Case("optim.patience", 3, "--optim.schedule plateau", {"optim.schedule": "cosine"}, {}),
    Case("optim.factor", 0.5, "--optim.schedule plateau or step", {"optim.schedule": "cosine"}, {}),
    Case(
        "optim.factor",
        0.5,
        "--optim.schedule plateau or step",
        {"optim.schedule": "constant"},
        {"optim.schedule": "step"},
    ),
    Case("optim.milestones", (0.5,), "--optim.schedule step", {}, {"optim.schedule": "step"}),
    Case("train.label_smoothing", 0.1, "--train.distill-weight below 1", HARD_LABELS_ONLY, TEACHER),
    Case("train.mix_share", 0.5, "--train.mixup or --train.cutmix", {}, {"train.mixup": 0.2}),
    Case("train.mix_off_epochs", 2, "--train.mixup or --train.cutmix", {}, {"train.cutmix": 1.0}),
    Case("train.class_balance", 0.9, "--train.balance below 1", {"train.balance": 1.0}, {"train.balance": 0.9}),
    Case("train.class_balance", 0.9, "--train.distill-weight below 1", HARD_LABELS_ONLY, TEACHER),
    Case("train.logit_adjustment", 1.0, "--train.balance below 1", {"train.balance": 1.0}, {"train.balance": 0.9}),
    Case("train.logit_adjustment", 1.0, "--train.distill-weight below 1", HARD_LABELS_ONLY, TEACHER),
    Case("train.teacher", "runs/other", "--train.distill-weight above 0", {"train.distill_weight": 0.0}, {}),
    Case("train.distill_temperature", 2.0, "--train.teacher", {}, TEACHER),
    Case("train.distill_weight", 0.9, "--train.teacher", {}, TEACHER),
    Case("train.folds_sha256", 64 * "0", "--train.fold", {}, {"train.fold": "1/5"}),
    Case("train.select_by", "val_loss", NOTHING_VALIDATED, {"train.on": "train+val", "optim.schedule": "cosine"}, {}),
]


def having(settings: dict[str, Any], base: Config | None = None) -> Config:
    """A config with these settings, by their dotted keys."""
    nested: dict[str, Any] = {}
    for key, value in settings.items():
        *sections, name = key.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return from_dict(nested, base=base)


def word(case: Case) -> str:
    return "with" if case.need in ("--init-from", ONE_STEM, NOTHING_VALIDATED) else "without"


def test_every_need_has_its_case() -> None:
    needs = {(key, need.text) for key, field, _ in fields_of(Config()) for need in field.metadata.get("needs", ())}
    assert {(case.key, case.need) for case in CASES} == needs


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
def test_a_typed_setting_that_cannot_act_is_refused(case: Case) -> None:
    config = having({**case.without, case.key: case.value})
    with pytest.raises(UserError) as caught:
        check_settings(config, explicit={case.key, "train.seed"})
    assert str(caught.value) == f"{flag(case.key)} has no effect {word(case)} {case.need}: leave it out"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
def test_one_that_came_along_is_noted(case: Case) -> None:
    """From an experiment, a file or a config.json; also beside other settings that were typed."""
    config = having({**case.without, case.key: case.value})
    note = f"note: {flag(case.key)} has no effect {word(case)} {case.need}"
    assert check_settings(config) == [note]
    assert check_settings(config, explicit=set(case.without)) == [note]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
def test_a_run_that_has_begun_goes_on_whatever_was_typed(case: Case) -> None:
    config = having({**case.without, case.key: case.value})
    assert check_settings(config, explicit=keys(), resuming=True) == check_settings(config)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
def test_one_that_acts_is_quiet(case: Case) -> None:
    assert check_settings(having({**case.met, case.key: case.value}), explicit={case.key, *case.met}) == []


@pytest.mark.parametrize(
    ("key", "value", "without"),
    [
        ("model.pretrained_tag", "", {}),
        ("model.zero_gamma", None, PLAIN),
        ("model.avg_shortcut", False, TIMM),
        ("model.drop_path", 0.0, PLAIN),
        ("augment.start_size", None, {"input_size": 64}),
        ("optim.warmup_epochs", 0.0, {"optim.schedule": "one-cycle"}),
        ("train.mix_off_epochs", 0, {}),
        ("train.teacher", "", {"train.distill_weight": 0.0}),
    ],
)
def test_a_typed_value_that_asks_for_nothing_is_quiet(key: str, value: Any, without: dict[str, Any]) -> None:
    config = having({**without, key: value})
    assert check_settings(config, explicit={key}) == check_settings(having(without))


@pytest.mark.parametrize(
    ("key", "value", "without"),
    [
        ("augment.brightness", 0.4, {}),
        ("optim.momentum", 0.9, {"optim.name": "adamw"}),
        ("model.init", "he", TIMM),
        ("train.distill_weight", 0.5, {}),
    ],
)
def test_a_default_that_asks_for_something_is_refused_where_it_was_typed(
    key: str, value: Any, without: dict[str, Any]
) -> None:
    config = having({**without, key: value})
    assert check_settings(config) == []
    with pytest.raises(UserError, match=f"^{flag(key)} has no effect without "):
        check_settings(config, explicit={key})


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_setting_of_the_experiments_acts(name: str) -> None:
    assert check_settings(EXPERIMENTS[name]()) == []


def test_a_file_keeps_its_settings_when_another_network_is_typed(tmp_path: Path) -> None:
    """`corolla train own.toml --model.name timm:inception_v3`: what the file says of its own network is only noted."""
    (tmp_path / "own.toml").write_text('base = "resnet34"\n[model]\ninit = "xavier"\nshortcut = "C"\n')
    config = changed(find_experiment(str(tmp_path / "own.toml")), "model", name="timm:inception_v3")
    assert check_settings(config, explicit={"model.name"}) == [
        f"note: --model.{name} has no effect without {OWN}" for name in ("shortcut", "init")
    ]
    scratch = changed(find_experiment("scratch_best"), "model", name="timm:inception_v3")
    assert [note.split(" ")[1] for note in check_settings(scratch, explicit={"model.name"})] == [
        "--model.stem",
        "--model.avg-shortcut",
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "resnet18", "weights": "package"}, "the package holds weights for --model.name timm:tf_efficient"),
        ({"name": "timm:tf_efficientnet_lite0", "weights": "package", "activation": "silu"}, "another --model.activa"),
        ({"name": "plain34", "weights": "pretrained"}, "no pretrained weights for this plain34"),
        ({"name": "resnet20", "weights": "pretrained"}, "no pretrained weights for resnet20: the own networks of 18"),
        ({"name": "resnet50", "weights": "pretrained", "shortcut": "A"}, "shortcut B"),
        ({"name": "resnet50", "weights": "pretrained", "stride_in_1x1": True}, "--model.no-stride-in-1x1"),
        ({"name": "resnet18", "weights": "pretrained", "stem": "small"}, "with another --model.stem: leave it out"),
        ({"name": "resnet18", "weights": "pretrained", "avg_shortcut": True}, "with another --model.avg-shortcut"),
        ({"name": "resnet18", "weights": "pretrained", "activation": "silu"}, "with another --model.activation"),
        ({"name": "resnet18", "weights": "pretrained", "width": 0.5}, "with another --model.width"),
        ({"name": "timm:resnet18", "weights": "pretrained", "stem": "small"}, "with another --model.stem"),
    ],
)
def test_weights_that_there_are_not_are_refused_whoever_asked(settings: dict[str, Any], message: str) -> None:
    config = changed(Config(), "model", **settings)
    for explicit in ((), ("model.weights",)):
        with pytest.raises(UserError) as caught:
            check_settings(config, explicit=explicit)
        assert message in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1
    assert all(note.startswith("note: ") for note in check_settings(config, explicit=keys(), resuming=True))


def test_settings_of_the_own_networks_do_not_keep_timms_from_their_weights() -> None:
    config = changed(Config(), "model", name="timm:resnet18", weights="pretrained", stem="3x3", avg_shortcut=True)
    assert [note.split(" ")[1] for note in check_settings(config)] == ["--model.stem", "--model.avg-shortcut"]
    config = changed(Config(), "model", name="resnet18", weights="pretrained", stride_in_1x1=True)
    assert [note.split(" ")[1] for note in check_settings(config)] == ["--model.stride-in-1x1"]


@pytest.mark.parametrize(
    ("settings", "epochs", "enough", "said"),
    [
        (
            {"optim.schedule": "cosine", "optim.warmup_epochs": 3.0},
            3,
            4,
            "the learning rate rises to the very end (--optim.warmup-epochs 3 of 3 epochs)",
        ),
        ({"optim.patience": 2}, 4, 5, "the learning rate never falls (--optim.patience 2 of 4 epochs)"),
        ({"train.head_epochs": 2}, 2, 3, "the classifier alone is trained (--train.head-epochs 2 of 2 epochs)"),
        (
            {"augment.start_size": 24, "input_size": 64},
            2,
            6,
            "training images grow to 40 px only, not to the 64 px of val (--augment.start-size 24, "
            "--augment.grow-epochs 0.75 of 2 epochs)",
        ),
        (
            {"train.mixup": 0.2, "train.mix_off_epochs": 3},
            3,
            4,
            "no image is mixed (--train.mix-off-epochs 3 of 3 epochs)",
        ),
    ],
)
def test_too_few_epochs_are_noted(settings: dict[str, Any], epochs: int, enough: int, said: str) -> None:
    constant = {"optim.schedule": "constant"} if "optim.patience" not in settings else {}
    few = having({**constant, **settings, "train.epochs": epochs})
    for resuming in (False, True):
        assert check_settings(few, explicit=settings, resuming=resuming) == [f"note: {said}"]
    assert check_settings(changed(few, "train", epochs=enough), explicit=settings) == []


def test_what_the_built_network_cannot_use() -> None:
    """Only building it tells; build_model hands the keys over."""
    ignored: list[str] = []
    config = changed(Config(), "model", name="timm:vgg11", drop_path=0.1, activation="silu")
    assert check_settings(config, explicit={"model.drop_path"}) == []
    with torch.device("meta"):
        build_model(config.model, 5, 32, ignored=ignored)
    assert sorted(check_ignored(ignored, "timm:vgg11", explicit={"model.name"})) == [
        "note: --model.activation has no effect on timm:vgg11",
        "note: --model.drop-path has no effect on timm:vgg11",
    ]
    with pytest.raises(UserError, match=r"^--model\.drop-path has no effect on timm:vgg11: leave it out$"):
        check_ignored(ignored, "timm:vgg11", explicit={"model.drop_path"})


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("timm:test_vit", "model.stem", "small"),
        ("timm:test_vit", "model.zero_gamma", True),
        ("timm:csatv2", "optim.layer_decay", 0.8),
    ],
)
def test_training_refuses_what_the_network_cannot_use(name: str, key: str, value: Any, tiny_config: Config) -> None:
    config = having({key: value, "model.name": name}, tiny_config)
    with pytest.raises(UserError, match=f"^{flag(key)} has no effect on {name}: leave it out$"):
        train(config, explicit={key, "model.name"})
    assert not (config.runs / "custom-seed0" / "config.json").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"train.head_epochs": 1}, "note: the classifier alone is trained (--train.head-epochs 1 of 1 epochs)"),
        ({"optim.milestones": (0.5,)}, "note: --optim.milestones has no effect without --optim.schedule step"),
        ({"model.name": "timm:test_vit", "model.stem": "small"}, "note: --model.stem has no effect on timm:test_vit"),
    ],
)
def test_training_says_it_and_goes_on(
    settings: dict[str, Any], said: str, tiny_config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "corolla")
    short = changed(tiny_config, "train", epochs=1, precision="fp32")  # of auto a CPU may have a note
    train(short, experiment="plain")
    assert not [line for line in caplog.messages if line.startswith("note:") and "updates in all are few" not in line]
    config = having(settings, short)
    assert train(config, experiment="with").state == "done"
    assert said in caplog.messages
    assert train(config, experiment="with", explicit=set(settings)).state == "done"


def test_one_of_two_methods_is_refused_whoever_asked() -> None:
    config = having({"augment.rand_augment": 2, "augment.trivial_augment": True})
    with pytest.raises(UserError) as caught:
        check_settings(config)
    assert str(caught.value) == (
        "--augment.trivial-augment: stands in place of --augment.rand-augment 2; leave one of them out"
    )


def test_training_refuses_what_was_typed_in_vain(tiny_config: Config) -> None:
    config = changed(tiny_config, "optim", milestones=(0.5,))
    with pytest.raises(UserError, match=r"^--optim\.milestones has no effect without --optim\.schedule step: leave it"):
        train(config, explicit={"optim.milestones"})
    assert not (config.runs / "custom-seed0" / "config.json").exists()
