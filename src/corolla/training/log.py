"""What a run tells: lines on the screen, metrics.jsonl, timing.jsonl, TensorBoard."""

import json
import time
from typing import Any

import torch
from torch.utils.tensorboard.writer import SummaryWriter
from tqdm.auto import tqdm

from corolla.device import peak_memory_mib
from corolla.files import write_atomically
from corolla.training.run import Run


class RunLog:
    """Writes to a run's folder; use as a context manager. `total` and `done` count images, for the progress bar."""

    def __init__(self, run: Run, *, rows: list[dict[str, Any]], step: int, total: int, done: int) -> None:
        self.run = run
        self.write_metrics(rows)
        # purge_step hides what a killed start wrote beyond the checkpoint it is resumed from.
        self._board = SummaryWriter(str(run.folder / "tensorboard"), purge_step=step + 1)
        self._bar = tqdm(total=total, initial=done, unit="img", desc=run.name, disable=None, smoothing=0.05)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        self._board.close()

    def advance(self, num_images: int) -> None:
        self._bar.update(num_images)

    def step(self, step: int, loss: torch.Tensor, lr: float) -> None:
        """A point of the loss curve."""
        self._board.add_scalar("step/train_loss", loss.item(), step)
        self._board.add_scalar("step/lr", lr, step)

    def write_metrics(self, rows: list[dict[str, Any]]) -> None:
        """metrics.jsonl is made anew from the checkpoint's rows, so a kill can neither lose a line nor double one."""
        text = "".join(json.dumps(row) + "\n" for row in rows)
        write_atomically(self.run.folder / "metrics.jsonl", text.encode())

    def epoch(self, rows: list[dict[str, Any]], *, epochs: int, timing: dict[str, float]) -> None:
        """The last of `rows` to every place."""
        row = rows[-1]
        self.write_metrics(rows)
        with (self.run.folder / "timing.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"epoch": row["epoch"], **timing}) + "\n")
        for name in ("train_loss", "val_loss", "top1", "top5", "macro_f1", "lr"):
            self._board.add_scalar(f"epoch/{name}", row[name], row["step"])
        self._board.add_scalar("epoch/images_per_s", timing["images_per_s"], row["step"])
        self._board.flush()
        tqdm.write(
            f"epoch {row['epoch']:3d}/{epochs}  lr {row['lr']:.2e}  train loss {row['train_loss']:.4f}  "
            f"val loss {row['val_loss']:.4f}  top-1 {row['top1']:.4f}  top-5 {row['top5']:.4f}  "
            f"macro F1 {row['macro_f1']:.4f}  {timing['images_per_s']:.0f} img/s"
        )


class Clock:
    """Seconds of the run over all its starts, of the epoch, and since the last checkpoint."""

    def __init__(self, seconds_before: float) -> None:
        now = time.monotonic()
        self._start, self._epoch, self._saved = now - seconds_before, now, now
        self.images = 0

    @property
    def total(self) -> float:
        return time.monotonic() - self._start

    @property
    def minutes_since_save(self) -> float:
        return (time.monotonic() - self._saved) / 60

    def saved(self) -> None:
        self._saved = time.monotonic()

    def epoch(self, device: torch.device) -> dict[str, float]:
        """The line of timing.jsonl (this start's share of the epoch, with its evaluation), and on to the next one."""
        seconds = time.monotonic() - self._epoch
        timing = {
            "seconds": round(seconds, 3),
            "total_seconds": round(self.total, 3),
            "images_per_s": round(self.images / seconds, 1),
            "memory_mib": round(peak_memory_mib(device), 1),
        }
        self._epoch, self.images = time.monotonic(), 0
        self.saved()
        return timing
