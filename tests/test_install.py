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


def asked(checkout: Path, *words: str, **environment: str) -> list[str]:
    """Return the words behind `pip install` of each call."""
    (checkout / "pip.txt").unlink(missing_ok=True)
    command = ["bash", str(checkout / "scripts" / "install.sh"), *words]
    subprocess.run(command, check=True, env={**os.environ, **environment}, capture_output=True)
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
