"""A run's name is the name of one folder, whoever gives it."""

from pathlib import Path

import pytest

from corolla.cli import run_command
from corolla.config import Config, from_dict, validate
from corolla.errors import UserError

OUTSIDE = ["..", ".", "../out", "/absolute/out", "a/b", "./a", "a/", "a\\b", "..\\out", "a/../../b", " "]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, tiny_data: Path, name: str) -> None:
    runs = tmp_path / "project" / "runs"
    runs.mkdir(parents=True)
    for folder in (runs, runs.parent, tmp_path):
        (folder / ".secret.tmp").write_text("mine")
    words = ["train", "resnet18", "--data", str(tiny_data), "--runs", str(runs), "--device", "cpu", "--run-name", name]
    with pytest.raises(UserError, match="the name of one folder, without a slash") as caught:
        run_command(words)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [*[".secret.tmp"] * 3, "project", "runs"]


def test_a_file_and_the_api_are_held_to_the_same() -> None:
    for name in OUTSIDE:
        with pytest.raises(UserError, match=r"run_name = .*the name of one folder"):
            from_dict({"run_name": name}, source="c.toml")
        with pytest.raises(UserError, match=r"run_name = .*the name of one folder"):
            validate(Config(run_name=name))


@pytest.mark.parametrize("name", ["a b", "...", ".hidden", "a..b", "ä$*[x]", "-dash", "x" * 255, None])
def test_other_names_are_taken(name: str | None) -> None:
    assert validate(Config(run_name=name)).run_name == name
