"""A run's folder: what is in it, who may write to it, and how it is read."""

import contextlib
import errno
import fcntl
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from corolla.config import Config, load_config, to_dict
from corolla.errors import UserError
from corolla.evaluation.tta import parse_tta
from corolla.files import write_atomically

_HELD: set[Path] = set()  # the folders this process trains into

State = Literal["new", "stopped", "done"]


@dataclass(frozen=True)
class Run:
    """A training run, as its folder holds it."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def config(self) -> Config:
        return load_config(self.folder / "config.json")

    @property
    def environment(self) -> dict[str, Any]:
        path = self.folder / "environment.json"
        try:
            return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        except ValueError:
            raise UserError(f"{path}: is damaged; move it away, it is written anew") from None

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """A row per finished epoch: epoch step lr train_loss val_loss top1 top5 macro_f1."""
        path = self.folder / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def timing(self) -> list[dict[str, float]]:
        """A row per epoch: epoch seconds total_seconds images_per_s memory_mib. A line that is cut is left out."""
        path, rows = self.folder / "timing.jsonl", []
        for line in path.read_text().splitlines() if path.exists() else ():
            with contextlib.suppress(ValueError):
                rows.append(json.loads(line))
        return rows

    @property
    def last(self) -> Path:
        return self.folder / "last.pt"

    @property
    def best(self) -> Path:
        return self.folder / "best.pt"

    @property
    def state(self) -> State:
        if not self.last.exists():
            return "new"
        return "done" if len(self.metrics) >= self.config.train.epochs else "stopped"

    def predictions(self, split: str, tta: str, checkpoint: Literal["best", "last"] = "best") -> Path:
        """Where the predictions of a checkpoint lie; those of last.pt have its name in theirs.

        Raises:
            UserError: no views are called `tta`.
        """
        suffix = "" if checkpoint == "best" else "-last"
        return self.folder / "predictions" / f"{split}-{parse_tta(tta).name}{suffix}.npz"


def open_run(folder: Path) -> Run:
    """The run in `folder`.

    Raises:
        UserError: there is none; the message names the runs that are beside it.
    """
    if (folder / "config.json").is_file():
        return Run(folder)
    beside = sorted(path.parent.name for path in folder.parent.glob("*/config.json"))
    there = f"in {folder.parent} there are: {', '.join(beside)}" if beside else "train one with corolla train"
    raise UserError(f"{folder}: no run is in this folder; {there}")


def data_of(run: Run) -> Path:
    """The data folder a run was trained with."""
    return Path(run.environment.get("data", "data"))


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Only one process trains into a folder.

    A POSIX record lock: it belongs to this process alone, so it dies with it, also when workers forked from it live on
    for a moment (a BSD lock would live on in them).
    """
    folder.mkdir(parents=True, exist_ok=True)
    place = folder.resolve()
    if place in _HELD:  # within one process the lock would be granted again
        raise UserError(f"{folder}: this process is training into this folder already")
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise UserError(
                    f"{folder}: another process is training into this folder; wait for it or stop it"
                ) from None
            print(f"warning: {folder}: this file system has no locks ({error.strerror}); take care to train once")
        _HELD.add(place)
        # Half-written files that a kill left, where nobody else may be writing (predictions/ has other writers).
        for left_by_a_kill in (*folder.glob(".*.tmp"), *folder.glob("tensorboard/.*.tmp")):
            left_by_a_kill.unlink()
        try:
            yield
        finally:
            _HELD.discard(place)


def is_held_here(folder: Path) -> bool:
    """Whether this very process trains into a folder."""
    return folder.resolve() in _HELD


def refuse_other_config(run: Run, config: Config) -> None:
    """A folder that holds checkpoints belongs to their config.

    Raises:
        UserError: names the fields that differ.
    """
    path = run.folder / "config.json"
    if run.last.exists() and path.exists() and (differing := differing_fields(path, config)):
        raise UserError(
            f"{run.folder}: holds a run of another config ({'; '.join(differing)}); choose another --run-name"
        )


def differing_fields(path: Path, config: Config) -> list[str]:
    """How `config` differs from the config.json at `path` in what decides the result: `KEY is OLD, now NEW`.

    Where a teacher lies decides nothing: which one it is, its checkpoint's hash says (training/teacher.py).
    """
    there = to_dict(load_config(path), with_operational=False)
    wanted = to_dict(config, with_operational=False)
    return [
        f"{key} is {json.dumps(old)}, now {json.dumps(new)}"
        for (key, old), (_, new) in zip(_flat(there), _flat(wanted), strict=True)
        if old != new and not (key == "train.teacher" and old and new)
    ]


def write_config(run: Run, config: Config) -> None:
    """config.json: what decides the result."""
    values = to_dict(config, with_operational=False)
    write_atomically(run.folder / "config.json", (json.dumps(values, indent=2) + "\n").encode())


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def write_environment(run: Run, **facts: Any) -> None:
    """environment.json: versions, commit, `facts`, and the times of all starts so far."""
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
    write_atomically(run.folder / "environment.json", (json.dumps(values, indent=2) + "\n").encode())


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def git_commit() -> str | None:
    """The commit of the checkout corolla runs from, with `-dirty` where it was changed; None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None
