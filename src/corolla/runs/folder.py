"""A run's folder: what is in it, who may write to it, and how it is read."""

import contextlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from corolla.config import Config, differing_settings
from corolla.data.transforms.tta import parse_tta
from corolla.errors import UserError
from corolla.files import is_file, is_folder, is_held_here, is_locked, locked
from corolla.paths import AnyPath, as_path
from corolla.results import Result
from corolla.runs.config_file import read_config
from corolla.runs.html import run_html
from corolla.runs.length import best_score, has_stopped_early, is_longer
from corolla.runs.unused import LOCK, remove_empty, remove_unused, remove_unused_beside
from corolla.runs.without_torch import complete_rows, imported_from, read_without_tensors
from corolla.temporary import remove_leftovers
from corolla.text_files import read_json, read_json_lines, shell_words

if TYPE_CHECKING:
    import pandas as pd

OWN_NAMES = ("*.pt", "*.json", "*.jsonl", "*.npz", "*.csv", "*.html", "events.out.tfevents.*")
"""Names of the files that corolla writes into a run's folder."""
RUNS = Path("runs")
"""Where runs are made by default."""
State = Literal["new", "stopped", "done", "imported"]
CheckpointName = Literal["best", "last"]

ENVIRONMENT = {
    "data?": str,
    "experiment?": str,
    "fingerprint?": (None, {str: str}),
    "git_commit?": (None, str),
    "started?": [str],
    "init_from?": (None, str),
    "weights_sha256?": (None, str),
    "resumed_from?": (None, str),
    "lengthened_from?": (None, [int]),
    "fitted?": (None, {"hours": float, "epochs": int}),
    "imported?": (None, {"file": str, "sha256": str, "command?": str}),
}
"""The shape of environment.json, as far as it is read again."""
SCORES = ("val_loss", "top1", "top5", "macro_f1")
"""The columns of metrics.jsonl that are scores on val."""
_NUMBERS = ("lr", "train_loss", *SCORES)
METRICS = {"epoch": int, "step": int, **dict.fromkeys(_NUMBERS, float), "train_top1?": (None, float)}
NOT_VALIDATED = {**METRICS, **dict.fromkeys(SCORES)}
"""The shape of a line of metrics.jsonl of a run that validates nothing."""
TIMING = {"epoch": int, "total_seconds": float, "images?": int, "memory_mib?": float}


@dataclass(frozen=True, repr=False)
class Run(Result):
    """A training run, as its folder holds it; where a path is expected, its folder's."""

    folder: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", as_path(self.folder))  # text is taken too

    def __fspath__(self) -> str:
        return str(self.folder)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def config(self) -> Config:
        return read_config(self.folder)

    @property
    def environment(self) -> dict[str, Any]:
        path = self.folder / "environment.json"
        remedy = "move it away, and the same corolla train command writes it anew"
        return read_json(path, ENVIRONMENT, remedy=remedy) if path.exists() else {}

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """A row per finished epoch: epoch step lr train_loss val_loss top1 top5 macro_f1 train_top1.

        The last one is the accuracy on the photos of training, augmented, as the network was at each step; by the
        larger label where photos are mixed; None of epochs that earlier versions trained. The four before it are None
        of a run that validates nothing (--train.on train+val).

        They are those of last.pt, also where its copy, metrics.jsonl, tells of more or fewer epochs: a kill came
        between the two, or the folder was restored in part. The copy counts where there is no last.pt that can be read
        (`state` refuses one that is there and can't).
        """
        with contextlib.suppress(UserError):
            return self._history()
        return self.copied_metrics

    @property
    def copied_metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl, complete as in `metrics`."""
        path = self.folder / "metrics.jsonl"
        remedy = "move it away, and the same corolla train command writes it anew from last.pt"
        if not path.exists():
            return []
        return complete_rows(read_json_lines(path, (METRICS, NOT_VALIDATED), remedy=remedy))

    @property
    def timing(self) -> list[dict[str, float]]:
        """A row per epoch: epoch seconds total_seconds images images_per_s memory_mib, in fp16 also loss_scale.

        A line that is cut is left out.
        """
        path = self.folder / "timing.jsonl"
        remedy = "move it away: nothing but the times of past epochs is lost"
        return read_json_lines(path, TIMING, remedy=remedy, end="}") if path.exists() else []

    @property
    def last(self) -> Path:
        return self.folder / "last.pt"

    @property
    def best(self) -> Path:
        return self.folder / "best.pt"

    @property
    def validates(self) -> bool:
        """False with --train.on train+val: there is no score on val, and no best.pt that one has chosen."""
        with contextlib.suppress(UserError):
            return self.config.train.on == "train"
        return True

    def counting(self, name: CheckpointName) -> CheckpointName:
        """Return the checkpoint that counts where one is asked for: last, where nothing has chosen a best one."""
        return name if name == "last" or self.validates else "last"

    def checkpoint(self, name: CheckpointName) -> Path:
        """Return the path of a checkpoint, whether it is there or not; best.pt is last.pt where there can be none."""
        return self.best if self.counting(name) == "best" else self.last

    @property
    def state(self) -> State:
        """How far training has come, by last.pt; "imported" where it is a checkpoint that others have trained.

        Raises:
            UserError: last.pt is damaged.
        """
        if not self.last.exists():
            return "new"
        content = read_without_tensors(self.last)
        if imported_from(content):
            return "imported"
        config = self.config
        is_done = len(content["progress"]["rows"]) >= config.train.epochs or has_stopped_early(content, config)
        return "done" if is_done else "stopped"

    @property
    def stopped_early(self) -> int | None:
        """The epoch after which --train.stop-early has ended the run, before its last one; None where it has not."""
        with contextlib.suppress(UserError):
            config = self.config
            if config.train.stop_early and has_stopped_early(content := read_without_tensors(self.last), config):
                return len(content["progress"]["rows"])
        return None

    @property
    def imported(self) -> dict[str, str] | None:
        """The file and SHA-256 of the checkpoint that the run was made of by `corolla import-checkpoint`.

        Nothing is known of its training then: it has no metrics, epochs, times, seed and fingerprint. None of a run
        that was trained here.
        """
        with contextlib.suppress(UserError):
            if known := self.environment:
                return known.get("imported")
        for path in (self.last, self.best):
            with contextlib.suppress(UserError):
                return imported_from(read_without_tensors(path))
        return None

    @property
    def summary(self) -> str:
        """Its folder, how far it is, and its scores."""
        try:
            rows, epochs = self.metrics, self.config.train.epochs
            state = "training now" if self.is_training else self.state
        except UserError as error:
            return str(error)
        if state == "imported":
            origin = (self.imported or {}).get("file", "a file")
            return f"{self.folder}, imported from {origin}; its training is unknown"
        line = f"{self.folder}, {state}, {len(rows)} of {epochs} epochs{' (stopped early)' * bool(self.stopped_early)}"
        if best := best_score(rows):
            line += f", macro F1 on val {rows[-1]['macro_f1']:.4f} (best epoch {best['macro_f1']:.4f})"
            if rows[-1]["train_top1"] is not None:
                line += f", top-1 on train {rows[-1]['train_top1']:.4f}, on val {rows[-1]['top1']:.4f}"
        return line if self.validates else f"{line}, trained on train and val: there is no score"

    def to_pandas(self) -> "pd.DataFrame":
        """Return a row per finished epoch, as `metrics` has it."""
        import pandas as pd

        columns = [name.removesuffix("?") for name in METRICS]
        return pd.DataFrame(self.metrics, columns=columns).astype({"train_top1": float})

    def _repr_html_(self) -> str:
        """Return the curve of macro F1, where there are scores, and the last and the best epoch's."""
        try:
            rows = self.metrics
        except UserError:
            rows = []
        return run_html(self.summary, rows)

    def _history(self) -> list[dict[str, Any]]:
        return complete_rows(read_without_tensors(self.last)["progress"]["rows"])

    @property
    def is_training(self) -> bool:
        """True while a process trains into the folder."""
        return is_locked(self.folder / LOCK)

    def predictions(self, split: str, tta: str, checkpoint: CheckpointName = "best") -> Path:
        """Return where the predictions of a checkpoint lie; those of last.pt have its name in theirs.

        Raises:
            UserError: no views are called `tta`.
        """
        suffix = "" if self.counting(checkpoint) == "best" else "-last"
        return self.folder / "predictions" / f"{split}-{parse_tta(tta).name}{suffix}.npz"


def checkpoint_fault(path: Path) -> str | None:
    """Return what is wrong with a checkpoint, told by its ends alone; None of one that is sound or not there."""
    try:
        with path.open("rb") as file:
            return None if zipfile.is_zipfile(file) else "is empty or cut"
    except zipfile.BadZipFile as error:
        return f"is damaged ({error})"
    except FileNotFoundError:
        return None
    except OSError as error:  # it may be whole all the same
        return f"can't be read ({error.strerror})"


def is_run(folder: Path) -> bool:
    """Return whether a run is in a folder."""
    return any(is_file(folder / name) for name in ("config.json", "last.pt"))


def open_run(folder: AnyPath) -> Run:
    """Return the run in `folder`, or the one that was given.

    Raises:
        UserError: there is none; the message names the runs that are beside it.
    """
    folder = as_path(folder)
    if is_run(folder):
        return Run(folder)
    if is_file(folder):
        raise UserError(f"{folder}: is a file; a run is named by its folder, such as {folder.parent}")
    inside = sorted(path.parent.name for path in folder.glob("*/config.json")) if is_folder(folder) else []
    if inside:
        names = ", ".join(str(folder / name) for name in inside[:20])
        raise UserError(f"{folder}: is a folder of runs; name one of them: {names}")
    beside = sorted(path.parent.name for path in folder.parent.glob("*/config.json"))
    there = f"in {folder.parent} there are: {', '.join(beside)}" if beside else "train one with corolla train"
    if is_run(RUNS / folder):
        there = f"is {RUNS / folder} meant?"
    raise UserError(f"{folder}: no run is in this folder; {there}")


def data_of(run: Run) -> Path:
    """Return the data folder that a run was trained with."""
    return Path(run.environment.get("data", "data"))


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a run's folder, which is made where it is missing: one process at a time trains into it.

    Where nothing was written into it, it is removed again, with the folders above that were made for it; so are folders
    beside it that a kill has left like that.

    Raises:
        UserError: another one does already.
    """
    made = [parent for parent in folder.parents if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / LOCK
    if is_held_here(lock):
        raise UserError(f"{folder}: this process is training into this folder already")
    with locked(lock, wait=False) as granted:
        if not granted:
            raise UserError(f"{folder}: another process is training into this folder; wait for it or stop it")
        for place in (folder, folder / "predictions", folder / "tensorboard"):
            remove_leftovers(place, *OWN_NAMES)
        remove_unused_beside(folder)
        try:
            yield
        finally:
            remove_unused(lock)
            if not folder.exists():
                remove_empty(made)


def check_same_config(run: Run, config: Config) -> None:
    """Check that a folder with checkpoints holds those of `config`.

    Raises:
        UserError: names the settings that differ.
    """
    if not (run.last.exists() and (run.folder / "config.json").exists()):
        return
    if not (differing := differing_settings(run.config, config)):
        return
    if is_longer(differing, run.config, config):
        name = f"{run.name}-{config.train.epochs}-epochs"
        remedy = f"to go on with it in a copy: {shell_words('--resume', run.folder, '--run-name', name)}"
    else:
        from_here = shell_words("--init-from", run.folder)
        remedy = f"choose another --run-name; with {from_here} it begins from these weights"
    raise UserError(f"{run.folder}: holds a run of another config ({'; '.join(differing.values())}); {remedy}")
