"""The length of a run: its best epoch so far, whether it ends early, and what makes it longer."""

import math
from collections.abc import Collection
from typing import Any

from corolla.config import Config

LONGER = {"train.epochs", "train.stop_early"}
"""Settings by which a run may be longer than another one that it goes on with."""


def best_score(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the first epoch with the highest macro F1 on val; None where no epoch was validated."""
    scored = [row for row in rows if row["macro_f1"] is not None]
    return max(scored, key=lambda row: row["macro_f1"], default=None)


def best_row(rows: list[dict[str, Any]], select_by: str) -> dict[str, Any]:
    """Return the epoch that best.pt holds: the first with the highest macro F1, or the lowest val loss."""
    return max(rows, key=lambda row: quality(row, select_by))


def quality(row: dict[str, Any], select_by: str) -> float:
    """Return the score of an epoch on val; the higher the better, NaN is the worst."""
    value = row["macro_f1"] if select_by == "macro_f1" else -row["val_loss"]
    return -math.inf if math.isnan(value) else value


def stops_early(rows: list[dict[str, Any]], config: Config, *, since: int = 0) -> bool:
    """Return whether --train.stop-early ends a run of these epochs, before its last one.

    It does where that many epochs in a row were no better than the best one (Goodfellow et al. 2016, "Deep Learning",
    algorithm 7.1). Not counted are those in which the classifier alone trains or the learning rate rises: the score may
    stand still there and yet rise afterwards. It is a function of the rows, without a state.

    Args:
        rows: of metrics.jsonl, from the first epoch on.
        since: epochs that were done when the run was made longer; waiting begins anew there.
    """
    wait = config.train.stop_early
    if not wait or not rows or len(rows) >= config.train.epochs:
        return False
    best = rows.index(best_row(rows, config.train.select_by)) + 1
    return len(rows) - max(best, since, _epochs_of_rise(config)) >= wait


def _epochs_of_rise(config: Config) -> int:
    """Return the epochs at the start whose scores say little of the later ones."""
    optim, train = config.optim, config.train
    rise = optim.one_cycle_start * train.epochs if optim.schedule == "one-cycle" else optim.warmup_epochs
    return max(train.head_epochs, math.ceil(rise))


def has_stopped_early(content: dict[str, Any], config: Config) -> bool:
    """Return whether the run of a checkpoint, as `read_without_tensors` gives it, has ended early by `config`."""
    return stops_early(content["progress"]["rows"], config, since=waits_from(content, config))


def stopping_line(rows: list[dict[str, Any]], config: Config) -> str:
    """Return the line on a run that has ended early: after which epoch, and since when it was no better."""
    train = config.train
    best = best_row(rows, train.select_by)
    score = f"macro F1 {best['macro_f1']:.4f}" if train.select_by == "macro_f1" else f"loss {best['val_loss']:.4f}"
    return (
        f"stopped early after epoch {len(rows)} of {train.epochs}: val was best at epoch {best['epoch']} ({score}) and "
        f"no better for --train.stop-early {train.stop_early}"
    )


def waits_from(content: dict[str, Any], config: Config) -> int:
    """Return the epochs that were done when the run of a checkpoint was last made longer; 0: it never was.

    A copy that is to become longer holds the checkpoint of the shorter run until its first own one is written.
    """
    progress = content["progress"]
    if content.get("config", {}).get("train", {}).get("epochs", config.train.epochs) < config.train.epochs:
        return len(progress["rows"])
    return progress.get("waits_from", 0)


def is_longer(differing: Collection[str], there: Config, config: Config) -> bool:
    """Return whether `config` is that of a run, `there`, but for being longer.

    That is: more epochs, or a --train.stop-early that waits longer, or for ever.

    Args:
        differing: the keys of the settings that differ.
    """
    before, now = there.train, config.train
    waits = now.stop_early == 0 or now.stop_early >= before.stop_early > 0
    return bool(differing) and set(differing) <= LONGER and now.epochs >= before.epochs and waits
