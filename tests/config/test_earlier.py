"""Runs of earlier versions keep the meaning that their settings had; what a user writes has today's defaults."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support import changed, same_content, stop_at

from corolla.compare.readme_table import command_of
from corolla.config import AugmentConfig, Config, from_dict, to_dict
from corolla.config.checks import check_settings
from corolla.config.experiments import load_config
from corolla.errors import UserError
from corolla.runs.checkpoint import load_checkpoint, read_meta
from corolla.runs.folder import Run, check_same_config
from corolla.training.start import with_earlier_defaults
from corolla.training.train import train

NEW = {"augment": ("contrast", "pca_axes"), "train": ("repeat",)}


def as_before(values: dict[str, Any]) -> dict[str, Any]:
    """Take out of a run's settings what earlier versions did not have."""
    kept = {key: {k: v for k, v in values[key].items() if k not in new} for key, new in NEW.items()}
    return {**values, **kept}


def written_before(config: Config) -> dict[str, Any]:
    return as_before(to_dict(config, with_runtime=False))


EARLIER = AugmentConfig(color=True, contrast=0.0, hue=0.2)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (EARLIER, EARLIER),
        (dataclasses.replace(EARLIER, hue=0.0), dataclasses.replace(EARLIER, hue=0.0)),
        (dataclasses.replace(EARLIER, brightness=0.2), dataclasses.replace(EARLIER, brightness=0.2)),
        (dataclasses.replace(EARLIER, color=False), AugmentConfig()),
        (dataclasses.replace(EARLIER, color=False, hue=0.3), AugmentConfig(hue=0.3)),
        (dataclasses.replace(EARLIER, pca_noise=0.1), dataclasses.replace(EARLIER, pca_noise=0.1, pca_axes="data")),
    ],
)
def test_a_config_json_without_contrast_has_none(written: AugmentConfig, read: AugmentConfig, tmp_path: Path) -> None:
    """Where colour is off, it is the recipe of a run that begins now."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(written_before(Config(augment=written))))
    for config in (load_config(path), Run(tmp_path).config):
        assert config.augment == read
        assert config.train.repeat == 1
    assert from_dict(to_dict(config, with_runtime=False)) == config, "written anew, it is read the same"


@pytest.mark.parametrize(
    ("text", "contrast", "hue"),
    [
        ("color = true", 0.4, 0.0),
        ("color = true\nhue = 0.2", 0.4, 0.2),
        ("color = true\nhue = 0.2\n[model]\n[optim]\nlr = 0.1\n[train]\n[pipeline]", 0.4, 0.2),
        ("color = true\nhue = 0.2\nsaturation = 0.1\nbrightness = 0.1\ncontrast = 0", 0.0, 0.2),
    ],
)
def test_a_file_of_ones_own_has_todays_defaults(text: str, contrast: float, hue: float, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(f'base = "resnet18"\n[augment]\n{text}\n')
    augment = load_config(tmp_path / "own.toml").augment
    assert (augment.contrast, augment.hue) == (contrast, hue)


def make_earlier(run: Run) -> None:
    """Have a run's settings as an earlier version wrote them, in its config.json and its checkpoint."""
    content = torch.load(run.last, weights_only=True)
    content["config"] = as_before(content["config"])
    if not content["config"]["augment"]["color"]:
        content["config"]["augment"]["hue"] = 0.2
    torch.save(content, run.last)
    (run.folder / "config.json").write_text(json.dumps(content["config"]))


@pytest.mark.parametrize("how", ["in its folder", "in a copy", "by the old option"])
@pytest.mark.parametrize("color", [True, False])
def test_the_command_that_began_an_earlier_run_still_means_it(color: bool, how: str, tmp_path: Path) -> None:
    begun = Run(tmp_path / "begun")
    begun.folder.mkdir()
    begun.last.touch()
    written = Config(augment=dataclasses.replace(EARLIER, color=color))
    (begun.folder / "config.json").write_text(json.dumps(written_before(written)))
    config, run = Config(augment=AugmentConfig(color=color)), begun
    if how == "in a copy":
        config, run = dataclasses.replace(config, resume=begun.folder), Run(tmp_path / "copy")
    elif how == "by the old option":
        config, run = dataclasses.replace(config, resume_from=begun.folder), Run(tmp_path / "copy")
        new = changed(config, "optim", lr=0.2)
        assert with_earlier_defaults(new, run, ()) == new, "a run that begins now, from those weights"
    check_same_config(begun, with_earlier_defaults(config, run, {"augment.color"}))
    for key in ("contrast", "hue") if color else ():  # typed, so that it is meant
        asked = with_earlier_defaults(config, run, {f"augment.{key}"})
        assert asked == config
    other = changed(config, "augment", contrast=0.3)
    with pytest.raises(UserError, match=r"augment\.contrast is 0\.[04], now 0\.3"):
        check_same_config(begun, with_earlier_defaults(other, run, ()))
    assert with_earlier_defaults(config, Run(tmp_path / "new"), ()).augment.hue == (
        0.2 if color and how != "in its folder" else 0
    )


@pytest.mark.parametrize("hue", [0.0, 0.1, 0.2])
@pytest.mark.parametrize("explicit", [{"augment.color", "augment.hue"}, set()])
def test_an_earlier_run_with_a_hue_of_its_own_goes_on(hue: float, explicit: set[str], tmp_path: Path) -> None:
    """The hue stood in its command, or in a file that is given again: contrast alone is what it had by default."""
    run = Run(tmp_path)
    run.last.touch()
    written = Config(augment=dataclasses.replace(EARLIER, hue=hue))
    (tmp_path / "config.json").write_text(json.dumps(written_before(written)))
    asked = Config(augment=AugmentConfig(color=True, hue=hue))
    assert with_earlier_defaults(asked, run, explicit) == written
    for other in ({"hue": 0.3}, {"contrast": 0.3}, {"color": False}):
        config = changed(asked, "augment", **other)
        assert with_earlier_defaults(config, run, explicit | {f"augment.{next(iter(other))}"}) == config


@pytest.mark.slow
@pytest.mark.parametrize("color", [True, False])
def test_a_run_of_an_earlier_version_goes_on_by_the_same_command(
    color: bool, tiny_config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "corolla")
    config = changed(tiny_config, "augment", color=color)
    earlier = changed(config, "augment", contrast=0.0, hue=0.2) if color else config
    undisturbed = train(earlier, experiment="undisturbed")
    run = train(earlier, experiment="stopped", on_step=stop_at(7))
    make_earlier(run)
    assert run.config.augment == read_meta(load_checkpoint(run.last)).config.augment == earlier.augment
    said = r"augment\.contrast is 0\.0, now 0\.4" if color else r"augment\.color is false, now true"
    with pytest.raises(UserError, match=said):
        train(changed(config, "augment", color=True), experiment="stopped", explicit={"augment.contrast"})
    copied = dataclasses.replace(config, resume=run.folder, run_name="copy")
    for again in (train(copied), train(config, experiment="stopped", explicit={"augment.color"} if color else ())):
        assert again.state == "done"
        assert same_content(again.last, undisturbed.last)
        assert again.config.augment == earlier.augment
    assert train(copied).state == "done", "the copy too goes on by its command"
    assert caplog.text.count("with --augment.hue 0.2 and --augment.contrast 0, as earlier versions") == 3 * color


def test_the_command_of_an_earlier_run_trains_it_again(tmp_path: Path) -> None:
    for color, said in ((True, "--augment.color --augment.contrast 0.0 --augment.hue 0.2"), (False, "")):
        folder = tmp_path / str(color)
        folder.mkdir()
        config = Config(augment=dataclasses.replace(EARLIER, crop="resnet", color=color))
        (folder / "config.json").write_text(json.dumps(written_before(config)))
        (folder / "environment.json").write_text('{"experiment": "resnet34"}')
        assert command_of(Run(folder)).removeprefix("corolla train resnet34").split("--train")[0].strip() == said
        assert not [line for line in check_settings(Run(folder).config) if "augment" in line]
