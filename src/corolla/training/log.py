"""What a run tells: lines on the screen, metrics.jsonl, timing.jsonl, TensorBoard."""

import json
from typing import Any

import torch
from torch.utils.tensorboard.writer import SummaryWriter
from tqdm.auto import tqdm

from corolla.files import write_atomically
from corolla.training.run import Run


class RunLog:
    """Writes to a run's folder; use as a context manager. `total` and `done` count images, for the progress bar."""

    def __init__(self, run: Run, *, rows: list[dict[str, Any]], step: int, total: int, done: int) -> None:
        self.run = run
        self.write_metrics(rows)
        # purge_step hides what a killed start wrote beyond the checkpoint it is resumed from.
        self._board = SummaryWriter(str(run.folder / "tensorboard"), purge_step=step + 1 if step else None)
        self._bar = tqdm(total=total, initial=done, unit="img", desc=run.name, disable=None, smoothing=0.05)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        self._board.close()

    def advance(self, num_images: int) -> None:
        self._bar.update(num_images)

    def step(self, step: int, loss: torch.Tensor, lr: float) -> None:
        """A point of the loss curve; the one place that waits for the device."""
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
