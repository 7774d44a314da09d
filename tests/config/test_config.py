"""A run is an experiment and overrides; whatever does not fit is an error that names the key."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corolla.config import Config, from_dict, keys, to_dict
from corolla.config.experiments import EXPERIMENTS, find_experiment, load_config
from corolla.errors import UserError

REPOSITORY = Path(__file__).parents[1]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_survives_its_own_config_json(name: str, tmp_path: Path) -> None:
    config = find_experiment(name)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(to_dict(config, with_runtime=False)))
    assert load_config(path) == config


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
        ({"train": {"epochs": 0}}, "train.epochs = 0: input should be greater than or equal to 1"),
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


def test_what_may_change_between_starts_is_not_in_config_json() -> None:
    decisive = to_dict(Config(), with_runtime=False)
    absent = {"data", "runs", "run_name", "device", "resume_from", "index"}
    assert absent.isdisjoint(decisive)
    assert {"checkpoint_minutes", "max_hours", "keep_every", "log_steps"}.isdisjoint(decisive["train"])
    assert "workers" not in decisive["pipeline"]
    assert {"seed", "epochs", "batch_size"} <= set(decisive["train"])


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
