"""The log of a run: lines on the screen, metrics.jsonl, timing.jsonl, TensorBoard.

`tensorboard --logdir runs` shows all runs side by side: SCALARS has a chart for each curve, CUSTOM SCALARS the
loss of train and val in one chart and their accuracy in another, IMAGES the first batch, augmented (not mixed yet), and
a confusion matrix per evaluation, HPARAMS what the finished runs came to and what tells them apart. A run is called
there as its folder, in which its events are; one that an earlier version began keeps them in the folder tensorboard
inside. The x axis of what is under by_epoch/ counts epochs, everywhere else updates: that of result/ too, which HPARAMS
shows, a point where a run ended. Versions before this one wrote epoch/ over updates: where such a run is resumed, those
curves end and by_epoch/ begins.
"""

import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from tensorboard.plugins.hparams import plugin_data_pb2
from torch.utils.tensorboard.summary import hparams
from torch.utils.tensorboard.writer import SummaryWriter
from tqdm.auto import tqdm

from corolla.config import flatten
from corolla.data.loader import Batch
from corolla.device import peak_memory_mib
from corolla.evaluation.metrics import Metrics
from corolla.runs.folder import Run
from corolla.runs.length import best_score
from corolla.runs.settings import MAIN, telling_settings
from corolla.runs.writing import write_metrics
from corolla.training.state import TrainState

log = logging.getLogger(__name__)

NUM_SHOWN = 64  # images of the first batch
FIGURE_S = 10.0  # an epoch shorter than this has no confusion matrix drawn, but for the last: it would cost too much
CHARTS = {
    "corolla": {
        "loss, train and val": ["Multiline", ["by_epoch/train_loss", "by_epoch/val_loss"]],
        "top-1, train and val": ["Multiline", ["by_epoch/train_top1", "by_epoch/top1"]],
        "val: macro F1, top-1, top-5": ["Multiline", ["by_epoch/macro_f1", "by_epoch/top1", "by_epoch/top5"]],
    }
}


class RunLog:
    """Writes to a run's folder; use as a context manager. `total` and `done` count images, for the progress bar."""

    def __init__(
        self,
        run: Run,
        *,
        rows: list[dict[str, Any]],
        step: int,
        total: int,
        done: int,
        class_names: Sequence[str],
    ) -> None:
        self.run, self._class_names = run, class_names
        self._has_shown_batch = False
        write_metrics(run, rows)
        self._timing = run.folder / "timing.jsonl"
        if self._timing.exists() and not self._timing.read_bytes().endswith(b"\n"):
            with self._timing.open("a") as file:  # a crash has cut its last line, which must not spoil the next one
                file.write("\n")
        # purge_step hides what a killed start wrote beyond the checkpoint it is resumed from. It counts updates, so it
        # keeps all of by_epoch/, where nothing is beyond the checkpoint: an epoch is saved before it is logged.
        self._board = SummaryWriter(str(_events_folder(run)), purge_step=step + 1)
        self._board.add_custom_scalars(CHARTS)
        self._bar = tqdm(total=total, initial=done, unit="img", desc=run.name, disable=None, smoothing=0.05)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        self._board.close()

    def save(self, state: TrainState, path: Path, *copies: Path) -> None:
        """Save a checkpoint."""
        state.save(path, *copies)

    def advance(self, num_images: int) -> None:
        self._bar.update(num_images)

    def step(self, step: int, loss: torch.Tensor, lr: float) -> None:
        """Write a point of the loss curve."""
        self._board.add_scalar("step/train_loss", loss.item(), step)
        self._board.add_scalar("step/lr", lr, step)

    def batch(self, step: int, batch: Batch) -> None:
        """Write the first batch of this start, augmented; what mixup and CutMix do comes after it."""
        if self._has_shown_batch:
            return
        self._has_shown_batch = True
        images = batch.images.flatten(0, -4)[:NUM_SHOWN]
        self._board.add_images("train/first_batch", images, step, dataformats="NHWC")
        names = [self._class_names[int(label)] for label in batch.labels[:NUM_SHOWN]]
        self._board.add_text("train/first_batch", ", ".join(names), step)

    def epoch(
        self,
        rows: list[dict[str, Any]],
        *,
        epochs: int,
        is_last: bool,
        timing: dict[str, float],
        metrics: Metrics | None,
    ) -> None:
        """Write the last of `rows` to every place, and the confusion matrix of its evaluation, where there is one."""
        row = rows[-1]
        write_metrics(self.run, rows)
        with self._timing.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"epoch": row["epoch"], **timing}) + "\n")
        for name in ("train_loss", "val_loss", "train_top1", "top1", "top5", "macro_f1", "lr"):
            if row[name] is not None:  # not validated, or begun by an earlier version
                self._board.add_scalar(f"by_epoch/{name}", row[name], row["epoch"])
        for name in ("images_per_s", "loss_scale"):
            if name in timing:  # the scale in fp16 alone
                self._board.add_scalar(f"by_epoch/{name}", timing[name], row["epoch"])
        if metrics is not None and (timing["seconds"] >= FIGURE_S or is_last):
            self._confusion(metrics, row)
        if is_last:
            self._settings(rows)
        self._board.flush()
        scores = (
            ""
            if metrics is None
            else (
                f"val loss {row['val_loss']:.4f}  top-1 {row['top1']:.4f}  top-5 {row['top5']:.4f}  "
                f"macro F1 {row['macro_f1']:.4f}  "
            )
        )
        log.info(
            f"epoch {row['epoch']:3d}/{epochs}  lr {row['lr']:.2e}  train loss {row['train_loss']:.4f}  {scores}"
            f"{timing['images_per_s']:.0f} img/s"
        )

    def _confusion(self, metrics: Metrics, row: dict[str, Any]) -> None:
        from corolla.plots.confusion import confusion_figure, pixels  # matplotlib takes half a second

        figure = confusion_figure(metrics.labels, metrics.predicted, self._class_names, title=f"epoch {row['epoch']}")
        self._board.add_image("by_epoch/confusion", pixels(figure), row["epoch"], dataformats="HWC")

    def _settings(self, rows: list[dict[str, Any]]) -> None:
        """Write the HPARAMS tab: into this very folder (the writer's own method would make another one beside it)."""
        telling = telling_settings(self.run)
        results = {"result/train_loss": rows[-1]["train_loss"]}
        if best := best_score(rows):
            results = {
                "result/macro_f1": rows[-1]["macro_f1"],
                "result/best_macro_f1": best["macro_f1"],
                "result/val_loss": rows[-1]["val_loss"],
            }
        for summary in (
            _columns({**flatten(self.run.config), **telling}, results),
            *hparams(_plain(telling), results)[1:],
        ):
            self._board.file_writer.add_summary(summary)  # pyright: ignore[reportOptionalMemberAccess] - open till the end
        for name, value in results.items():
            self._board.add_scalar(name, value, rows[-1]["step"])


class NoLog:
    """The log of a process that trains with a leader, which writes everything."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def __enter__(self) -> "NoLog":
        return self

    def __exit__(self, *_: object) -> None:
        """Close nothing."""

    def save(self, state: TrainState, path: Path, *copies: Path) -> None:
        """Save nothing."""

    def advance(self, num_images: int) -> None:
        """Show nothing."""

    def step(self, step: int, loss: torch.Tensor, lr: float) -> None:
        """Write nothing."""

    def batch(self, step: int, batch: Batch) -> None:
        """Write nothing."""

    def epoch(
        self,
        rows: list[dict[str, Any]],
        *,
        epochs: int,
        is_last: bool,
        timing: dict[str, float],
        metrics: Metrics | None,
    ) -> None:
        """Write nothing."""


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    return {k: v if isinstance(v, bool | int | float | str) else json.dumps(v) for k, v in settings.items()}


def _columns(settings: dict[str, Any], results: dict[str, float]) -> Any:
    """Return the summary with the columns of the HPARAMS tab.

    The tab takes those of any one run, so they are all settings by which another one may differ. At first it shows
    five, those that are said to differ before the others: MAIN.
    """
    plugin: Any = plugin_data_pb2
    summary = hparams(_plain({k: v for k, v in settings.items() if k not in MAIN.values()}), results)[0]
    about = summary.value[0].metadata.plugin_data
    data = plugin.HParamsPluginData.FromString(about.content)
    for column in data.experiment.hparam_infos:
        column.differs = column.name in MAIN
    about.content = data.SerializeToString()
    return summary


def _events_folder(run: Run) -> Path:
    """Return where a run's events are: TensorBoard calls a run as the folder."""
    earlier = run.folder / "tensorboard"
    return earlier if earlier.is_dir() else run.folder


class Clock:
    """A clock of the run over all its starts, of the epoch, and since the last checkpoint."""

    def __init__(self, seconds_before: float) -> None:
        now = time.monotonic()
        self._start, self._epoch, self._saved = now - seconds_before, now, now
        self.images = 0
        self._parts = {"val": 0.0, "save": 0.0, "wait": 0.0}

    @property
    def total(self) -> float:
        return time.monotonic() - self._start

    @property
    def minutes_since_save(self) -> float:
        return (time.monotonic() - self._saved) / 60

    def saved(self) -> None:
        self._saved = time.monotonic()

    @contextmanager
    def part(self, name: Literal["val", "save", "wait"]) -> Iterator[None]:
        """Count the time of the block: evaluation, saving, or waiting for a batch; the rest of an epoch is training."""
        start = time.monotonic()
        try:
            yield
        finally:
            self._parts[name] += time.monotonic() - start

    def epoch(self, device: torch.device) -> dict[str, float]:
        """Return the line of timing.jsonl (this start's part of the epoch, evaluation included); begin the next one.

        Its train, val, save and wait are seconds, which add up to `seconds`.
        """
        seconds = time.monotonic() - self._epoch
        parts = {"train": seconds - sum(self._parts.values()), **self._parts}
        timing = {
            "seconds": round(seconds, 3),
            **{name: round(value, 3) for name, value in parts.items()},
            "total_seconds": round(self.total, 3),
            "images": self.images,
            "images_per_s": round(self.images / seconds, 1),
            "memory_mib": round(peak_memory_mib(device), 1),
        }
        self._epoch, self.images = time.monotonic(), 0
        self._parts = dict.fromkeys(self._parts, 0.0)
        self.saved()
        return timing
