"""A run is an experiment and overrides; whatever does not fit is an error that names the key."""

import dataclasses
import json
from pathlib import Path

import pytest
import tyro
from hypothesis import given
from hypothesis import strategies as st

from corolla.cli import run_command
from corolla.config import Config, as_options, flatten, from_dict, keys, to_dict
from corolla.config.experiments import EXPERIMENTS, find_experiment, load_config
from corolla.errors import UserError

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_survives_its_own_config_json(name: str, tmp_path: Path) -> None:
    config = find_experiment(name)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(to_dict(config, with_runtime=False)))
    assert load_config(path) == config


def test_a_file_of_settings_is_known_by_its_name_in_any_case_and_others_are_told(tmp_path: Path) -> None:
    for name, text in (("A.TOML", "size = 32\n"), ("a.Json", '{"size": 32}')):
        (tmp_path / name).write_text(text)
        assert find_experiment(tmp_path / name).size == 32
    for name in ("a.yaml", "a.txt", "a"):
        (tmp_path / name).write_text("size = 32\n")
        with pytest.raises(UserError, match=rf"{name}: is no TOML or JSON file by its name: name an experiment, or a"):
            find_experiment(tmp_path / name)
    with pytest.raises(UserError, match=r"is a folder: name an experiment, or a file that ends in \.toml or \.json"):
        find_experiment(tmp_path)
    (tmp_path / "a.json").write_text('{"train": {"seed": 1, "seed": 2}}')
    with pytest.raises(UserError, match=r"a\.json: seed stands in it twice"):
        find_experiment(tmp_path / "a.json")
    with pytest.raises(UserError, match=r"^unknown experiment a{300}; nearest"):
        find_experiment("a" * 300)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_says_its_command_and_what_to_expect(name: str) -> None:
    text = EXPERIMENTS[name].__doc__ or ""
    assert f"corolla train {name} --data" in text


def test_the_report_recipe() -> None:
    config = find_experiment("resnet34")
    assert (config.optim.name, config.optim.lr, config.optim.weight_decay) == ("sgd", 0.1, 1e-4)
    assert (config.optim.schedule, config.optim.patience) == ("plateau", 7)
    assert (config.train.epochs, config.train.batch_size, config.train.select_by) == (70, 256, "val_loss")
    pretrained = find_experiment("resnet50_pretrained")
    assert (pretrained.model.weights, pretrained.optim.lr) == ("pretrained", 0.01)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train": {"epoch": 3}}, "unknown key train.epoch; the nearest valid one is train.epochs"),
        ({"trian": {"epochs": 3}}, "unknown key trian; the nearest valid one is train"),
        ({"lr": 0.1}, "unknown key lr; the nearest valid one is optim.lr"),
        ({"train": {"epochs": "3"}}, 'train.epochs = "3": input should be a valid integer'),
        ({"train": {"epochs": -1}}, "train.epochs = -1: input should be greater than or equal to 1"),
        ({"optim": {"name": "adam"}}, "optim.name = \"adam\": input should be 'sgd' or 'adamw'"),
        ({"augment": {"area": [0.9, 0.1]}}, "augment.area = [0.9, 0.1]: value error, the smaller number comes first"),
        ({"train": 3}, "train = 3: input should be an object"),
    ],
)
def test_a_wrong_key_or_value_is_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        from_dict(values, source="x.toml")
    assert str(caught.value) == f"x.toml: {message}"


def test_toml_is_a_base_and_what_differs(tmp_path: Path) -> None:
    (tmp_path / "first.toml").write_text('base = "resnet34"\n[train]\nepochs = 3\n')
    (tmp_path / "second.toml").write_text('base = "first.toml"\nsize = 64\n[optim]\nlr = 1\n')
    config = find_experiment(str(tmp_path / "second.toml"))
    expected = find_experiment("resnet34")
    expected = dataclasses.replace(
        expected,
        size=64,
        train=dataclasses.replace(expected.train, epochs=3),
        optim=dataclasses.replace(expected.optim, lr=1.0),
    )
    assert config == expected


def test_toml_may_say_that_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "first.toml").write_text('base = "scratch_best"\n[augment]\nstart_size = "None"\n')
    assert find_experiment("scratch_best").augment.start_size
    assert find_experiment(str(tmp_path / "first.toml")).augment.start_size is None
    with pytest.raises(UserError, match=r"optim\.lr = .None.: input should be a valid number"):
        from_dict({"optim": {"lr": "None"}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('base = "resnet43"\n', "unknown experiment resnet43; nearest: resnet34"),
        ("base = 3\n", "base = 3: the name of an experiment is expected"),
        ("[train\n", "bad.toml: "),
    ],
)
def test_a_bad_file_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        load_config(tmp_path / "bad.toml")


@pytest.mark.parametrize("value", [1, 3, "auto"])
def test_accumulate_is_a_number_or_auto(value: int | str, tmp_path: Path) -> None:
    assert from_dict({"train": {"accumulate": value}}).train.accumulate == value
    # As on the command line; that there are no data comes after what was wrong with it.
    with pytest.raises(UserError, match="none"):
        run_command(["train", "resnet18", "--data", str(tmp_path / "none"), "--train.accumulate", str(value)])


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "3", "many", None])
def test_any_other_accumulate_is_refused_in_one_line(value: object) -> None:
    with pytest.raises(UserError) as caught:
        from_dict({"train": {"accumulate": value}})
    said = f"config: train.accumulate = {json.dumps(value)}: value error, a whole number of at least 1, or auto, is "
    assert str(caught.value) == f"{said}expected"


def test_what_may_change_between_starts_is_not_in_config_json() -> None:
    decisive = to_dict(Config(), with_runtime=False)
    absent = {"data", "runs", "run_name", "device", "resume", "init_from", "resume_from", "cache_dir"}
    assert absent.isdisjoint(decisive)
    assert {"checkpoint_minutes", "max_hours", "fit_hours", "keep_every", "log_steps"}.isdisjoint(decisive["train"])
    assert set(decisive["pipeline"]) == {"bad_images"}
    assert {"seed", "epochs", "batch_size"} <= set(decisive["train"])
    assert "init_sha256" in decisive


@pytest.mark.parametrize("turned", [True, False])
def test_every_setting_can_be_typed(turned: bool) -> None:
    """The words of a command that corolla prints for a run give the very settings of that run."""
    others = {"crop_fraction": 0.5, "start_size": 16, "activation": "silu", "zero_gamma": turned, "size": 32}
    others |= {
        "input_size": 64,
        "init_sha256": "0" * 64,
        "aspect": [0.5, 2.0],
        "milestones": [0.1, 0.7] if turned else [],
    }
    settings = {
        key: others.get(key.rpartition(".")[2], not value if isinstance(value, bool) else value)
        for key, value in flatten(Config()).items()
    }
    words = [word for key, value in settings.items() for word in as_options(key, value)]
    assert flatten(tyro.cli(Config, args=words)) == settings


def test_every_option_is_known_here() -> None:
    """The whole list, so that a new option, or one that goes, is a decision."""
    assert keys() == OPTIONS.split()


OPTIONS = """
    data size input_size runs run_name device gpus resume init_from init_sha256 resume_from cache_dir
    model.name model.weights model.pretrained_tag model.shortcut model.init model.stride_in_1x1 model.stem
    model.avg_shortcut model.activation model.width model.zero_gamma model.dropout model.drop_path
    model.freeze_norms
    augment.crop augment.shorter_side augment.area augment.aspect augment.flip augment.color augment.brightness
    augment.contrast augment.saturation augment.hue augment.pca_noise augment.pca_axes
    augment.erase augment.erase_area augment.erase_fill
    augment.cutout augment.rand_augment augment.rand_augment_magnitude augment.trivial_augment
    augment.start_size augment.grow_epochs augment.crop_fraction augment.normalise
    optim.name optim.lr optim.lr_batch optim.head_lr optim.layer_decay optim.momentum optim.nesterov optim.betas
    optim.weight_decay optim.decay_norms optim.schedule optim.one_cycle_start optim.warmup_epochs optim.patience
    optim.factor optim.milestones optim.clip_norm optim.agc
    train.epochs train.repeat train.batch_size train.accumulate train.head_epochs train.seed train.on train.fold
    train.folds_sha256 train.share train.corrections train.corrections_sha256 train.label_smoothing
    train.mixup train.cutmix train.mix_share train.mix_off_epochs train.balance train.class_balance
    train.logit_adjustment train.teacher train.distill_temperature train.distill_weight train.ema train.select_by
    train.stop_early train.precision train.channels_last train.compile train.deterministic train.checkpoint_minutes
    train.keep_every train.max_hours train.fit_hours train.log_steps
    pipeline.workers pipeline.bad_images pipeline.cache
"""


def test_the_old_name_of_the_cache_is_read_for_one_release(tmp_path: Path) -> None:
    (tmp_path / "old.toml").write_text('base = "resnet34"\nindex = "kept"\n')
    assert load_config(tmp_path / "old.toml") == dataclasses.replace(
        find_experiment("resnet34"), cache_dir=Path("kept")
    )
    assert "index" not in to_dict(load_config(tmp_path / "old.toml"))


@pytest.mark.parametrize(
    "old", [{"half_size": False, "stored_side": None}, {"half_size": False}, {"stored_side": None}]
)
def test_settings_that_are_gone_are_read_where_they_did_nothing(old: dict[str, object], tmp_path: Path) -> None:
    """As in the config.json of every run of the last release."""
    config = find_experiment("resnet34")
    values = to_dict(config, with_runtime=False)
    values["pipeline"] |= old
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert load_config(tmp_path / "config.json") == config


@pytest.mark.parametrize(("name", "value", "said"), [("half_size", True, "true"), ("stored_side", 256, "256")])
def test_settings_that_are_gone_are_refused_where_they_did_something(
    name: str, value: object, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"pipeline": {name: value}}))
    with pytest.raises(UserError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: pipeline.{name} = {said}: this setting is gone")
    assert "leave it out" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").glob("*.toml")), ids=lambda path: path.name)
def test_the_configs_that_come_with_corolla_are_valid(path: Path) -> None:
    load_config(path)


@given(st.sampled_from(keys()), st.text(max_size=8) | st.floats() | st.lists(st.integers(), max_size=3))
def test_any_value_is_taken_or_refused_in_one_line(key: str, value: object) -> None:
    nested: object = value
    for part in reversed(key.split(".")):
        nested = {part: nested}
    assert isinstance(nested, dict)
    try:
        config = from_dict(nested)
    except UserError as error:
        message = str(error)
    else:
        assert from_dict(to_dict(config)) == config
        return
    assert message.startswith(f"config: {key}")
    assert len(message.splitlines()) == 1
