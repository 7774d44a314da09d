"""scripts/install.sh: what it asks pip for, told by a stand-in for the environment's Python."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RECORDER = """#!/usr/bin/env bash
if [ "$1" = -c ]; then exec {python} "$@"; fi
[ "$2 $3" = "pip install" ] && echo "$*" >>pip.txt
exit 0
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with an environment in which nothing is installed yet, and pip only says what it is asked for."""
    for name in ("requirements.txt", "pyproject.toml", "scripts/install.sh"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(RECORDER.format(python=sys.executable))
    python.chmod(0o755)
    return tmp_path


def installed(checkout: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script."""
    command = ["bash", str(checkout / "scripts" / "install.sh"), *words]
    return subprocess.run(command, check=False, env={**os.environ, **environment}, capture_output=True, text=True)


def asked(checkout: Path, *words: str, **environment: str) -> list[str]:
    """Return the words behind `pip install` of each call."""
    (checkout / "pip.txt").unlink(missing_ok=True)
    assert installed(checkout, *words, **environment).returncode == 0
    calls = (checkout / "pip.txt").read_text().splitlines() if (checkout / "pip.txt").exists() else []
    return [call.removeprefix("-m pip install --quiet --disable-pip-version-check ") for call in calls]


def test_a_second_call_installs_nothing(checkout: Path) -> None:
    assert asked(checkout) == ["--editable ."]
    assert asked(checkout) == []
    assert asked(checkout, "notebook") == ["--editable .[notebook]"]
    assert asked(checkout, "dev") == ["--editable .[dev]"]
    assert asked(checkout, "notebook") == []


def test_torch_comes_from_the_index_that_is_named_and_nothing_else_does(checkout: Path) -> None:
    calls = asked(checkout, TORCH_INDEX="https://example.org/cpu")
    assert calls == ["--index-url https://example.org/cpu torch>=2.6 torchvision>=0.21", "--editable ."]
    assert asked(checkout, TORCH_INDEX="https://example.org/cpu") == []


def test_another_torch_that_is_there_is_replaced_once(checkout: Path) -> None:
    (checkout / ".venv" / "lib" / "python3.11" / "site-packages" / "torch-2.9.0.dist-info").mkdir(parents=True)
    url = "https://example.org/cpu?a=b c"
    words = f"--index-url {url}"
    packages = "torch>=2.6 torchvision>=0.21"
    replacing = f"{words} --force-reinstall --no-deps {packages}"
    assert asked(checkout, TORCH_INDEX=url) == [replacing, f"{words} {packages}", "--editable ."]
    (checkout / "requirements.txt").write_text((checkout / "requirements.txt").read_text() + "# changed\n")
    assert asked(checkout, TORCH_INDEX=url) == [f"{words} {packages}", "--editable ."]


def test_several_extras_are_installed_and_one_that_is_none_is_one_line(checkout: Path) -> None:
    assert asked(checkout, "notebook", "export") == ["--editable .", "--editable .[notebook]", "--editable .[export]"]
    refused = installed(checkout, "notebok")
    assert refused.returncode == 2
    assert refused.stderr == "notebok: there is no such extra; there are: ray notebook export test dev\n"


def test_an_index_without_torch_is_told_in_one_line(checkout: Path) -> None:
    python = checkout / ".venv" / "bin" / "python"
    failing = '[ "$3" = install ] && { echo "WARNING: retrying" >&2; echo "ERROR: none found" >&2; exit 1; }\nexit 0\n'
    python.write_text(python.read_text().replace("exit 0\n", failing))
    told = installed(checkout, TORCH_INDEX="https://example.org/x")
    assert told.returncode == 1
    assert told.stderr == (
        "TORCH_INDEX=https://example.org/x: torch and torchvision can't be installed from there (none found)\n"
    )
