"""Write what a run leaves beside its checkpoints: config.json, metrics.jsonl, environment.json."""

import importlib.metadata
import json
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from corolla.config import Config, to_dict
from corolla.files import write_atomically
from corolla.runs.folder import Run


def write_config(run: Run, config: Config) -> None:
    """Write config.json: what decides the result."""
    values = to_dict(config, with_runtime=False)
    write_atomically(run.folder / "config.json", (json.dumps(values, indent=2) + "\n").encode())


def write_metrics(run: Run, rows: list[dict[str, Any]]) -> None:
    """Write metrics.jsonl anew from the checkpoint's rows, so a kill can neither lose a line nor double one."""
    text = "".join(json.dumps(row) + "\n" for row in rows)
    write_atomically(run.folder / "metrics.jsonl", text.encode())


def write_environment(run: Run, **facts: Any) -> None:
    """Write environment.json: versions, commit, `facts`, and the times of all starts so far."""
    started = [*run.environment.get("started", []), datetime.now(UTC).isoformat(timespec="seconds")]
    packages = ("corolla", "torch", "torchvision", "timm", "albumentations", "numpy", "opencv-python-headless")
    values = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in packages},
        "git_commit": git_commit(),
        **facts,
        "started": started,
    }
    _write_environment(run, values)


def add_to_environment(run: Run, **facts: Any) -> None:
    """Add facts to environment.json."""
    _write_environment(run, run.environment | facts)


def _write_environment(run: Run, values: dict[str, Any]) -> None:
    write_atomically(run.folder / "environment.json", (json.dumps(values, indent=2) + "\n").encode())


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def git_commit() -> str | None:
    """Return the commit of the checkout corolla runs from, with `-dirty` where it was changed; None outside of one."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None
