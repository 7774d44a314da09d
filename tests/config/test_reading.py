"""Settings files of others and damaged ones, and numbers that no run can have: one line that names file and key."""

import dataclasses
import os
from pathlib import Path

import pytest

from corolla.cli import run_command
from corolla.config import Config, OptimConfig, from_dict, validate
from corolla.config.experiments import load_config
from corolla.errors import UserError


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_config(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert len(message.splitlines()) == 1
    assert len(message) < 400
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[optim]\nlr = 2020-01-01\n", "optim.lr = 2020-01-01: a date or time is no setting"),
        ("[train]\nepochs = 07:30:00\n", "train.epochs = 07:30:00: a date or time"),
        ("[optim]\nbetas = [1979-05-27T07:32:00Z, 0.9]\n", "optim.betas = 1979-05-27 07:32:00+00:00: a date or time"),
        ("[pipeline]\nhalf_size = 2020-01-01\n", 'pipeline.half_size = "2020-01-01": this setting is gone'),
        ('"a[b" = 1\n', "unknown key a[b; the nearest valid one is "),
        ('[optim]\n"lr[0]" = 1\n', "unknown key optim.lr[0]; the nearest valid one is optim.lr"),
        ('"" = 1\n', "unknown key ; the nearest valid one is "),
        ('"a\\nb" = 1\n', r"unknown key a\nb; the nearest valid one is "),
        (f"size = {'9' * 5000}\n", "holds a number of thousands of digits"),
        (f"size = 0x{'f' * 5000}\n", "size: the number is too large"),
        (f"size = {'[' * 20_000}{']' * 20_000}\n", "is nested too deep"),
        (f"size = {'[' * 50}{']' * 50}\n", "size: is nested too deep for a setting"),
        ("[optim]\nlr = inf\n", "optim.lr = inf: a finite number is expected"),
        ("[optim]\nlr = nan\n", "optim.lr = nan: a finite number is expected"),
        ("[optim]\nlr = 1e400\n", "optim.lr = inf: a finite number is expected"),
        ("[augment]\narea = [0.1, -inf]\n", "augment.area = -inf: a finite number is expected"),
        ('data = "a\\u0000b"\n', "data = a\\x00b: is not UTF-8 text"),
        (f'device = {{a = "{"x" * 5000}"}}\n', 'device = {"a": "xxx'),
        ("size = 32\n\0\0\0", "line 2: holds NUL bytes"),
        ("size = = 3\n", "Invalid value (at line 1, column 8)"),
    ],
)
def test_toml_that_can_be_no_settings(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(text)
    assert refused(tmp_path / "c.toml").startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"optim": {"lr": NaN}}', "optim.lr = nan: a finite number is expected"),
        ('{"optim": {"lr": 1e999}}', "optim.lr = inf: a finite number is expected"),
        ('{"optim": ' * 50 + "1" + "}" * 50, "optim.optim.optim.optim.optim: is nested too deep for a setting"),
        ("[" * 100_000, "line 1: is nested too deep"),
        ("", "is empty"),
        ("[]", "a table of settings is expected"),
    ],
)
def test_json_that_can_be_no_settings(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    assert refused(tmp_path / "config.json").startswith(message)


def test_encodings(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(b"\xef\xbb\xbfsize = 32\r\n[train]\r\nepochs = 3\r\n")
    assert (load_config(path).size, load_config(path).train.epochs) == (32, 3)
    path.write_bytes("size = 32\n".encode("utf-16"))
    assert refused(path) == "is UTF-16 text: save it as UTF-8"
    path.write_bytes(b"# \n# gr\xfc\xdfe\nsize = 32\n")
    assert refused(path) == "line 2: is not UTF-8 text"


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    assert refused(tmp_path / "pipe.toml") == "is a pipe or a device, not a regular file"
    (tmp_path / "device.json").symlink_to("/dev/zero")
    assert refused(tmp_path / "device.json") == "is a pipe or a device, not a regular file"
    (tmp_path / "itself.toml").symlink_to("itself.toml")
    with pytest.raises(OSError, match="symbolic link"):  # which main() shows in a line
        load_config(tmp_path / "itself.toml")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--optim.lr", "nan"], "optim.lr = nan: a finite number is expected"),
        (["--optim.lr", "1e400"], "optim.lr = inf: a finite number is expected"),
        (["--train.max-hours", "inf"], "train.max_hours = inf: a finite number is expected"),
        (["--augment.aspect", "1e-320", "1e308"], "augment.aspect = "),
        (["--augment.aspect", "1", "1e308"], "augment.aspect = 1e+308: input should be less than or equal to 1000"),
        (["--model.width", "1e308"], "model.width = 1e+308: input should be less than or equal to 100"),
        (["--augment.shorter-side", "1", "1000000000"], "augment.shorter_side = 1000000000: input should be less"),
        (["--size", "1" + "0" * 30], "size: the number is too large"),
        (["--run-name", "a\0b"], "run_name = a\\x00b: is not UTF-8 text"),
        (["--data", os.fsdecode(b"l\xe4tin/d")], "l\\xe4tin/d: this name is not UTF-8; rename it"),
        (["--cache-dir", os.fsdecode(b"\xff")], "\\xff: this name is not UTF-8; rename it"),
    ],
)
def test_options_that_no_run_can_have(words: list[str], message: str, tmp_path: Path, tiny_data: Path) -> None:
    arguments = ["train", "resnet18", "--data", str(tiny_data), "--runs", str(tmp_path / "runs"), "--device", "cpu"]
    with pytest.raises(UserError) as caught:
        run_command([*arguments, *words])
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_config_of_the_api_is_held_to_the_same() -> None:
    with pytest.raises(UserError, match=r"optim\.lr = inf: a finite number"):
        validate(Config(optim=OptimConfig(lr=float("inf"))))
    with pytest.raises(UserError, match=r"runs = l\\xe4tin: is not UTF-8 text"):
        validate(Config(runs=Path(os.fsdecode(b"l\xe4tin"))))
    with pytest.raises(UserError, match=r"optim\.lr = nan"):
        from_dict({"optim": {"lr": float("nan")}})
    assert dataclasses.replace(validate(Config())) == Config()
