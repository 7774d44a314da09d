"""The time a run takes to a score, the drops of its learning rate, and the gap of its losses."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support import set_history

from corolla.compare.compare import compare
from corolla.compare.convergence import Convergence, TimeToScore, convergences, cost
from corolla.runs.folder import Run


def write_history(folder: Path, scores: list[float], lrs: list[float], schedule: str) -> None:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rows = [
        row | {"macro_f1": score, "lr": lr, "train_loss": 1.0, "val_loss": 1.5, "train_top1": 0.75}
        for row, score, lr in zip(rows, scores, lrs, strict=True)
    ]
    set_history(Run(folder), rows)
    timing = [{"epoch": n, "seconds": 60, "total_seconds": 60.0 * n, "memory_mib": 1} for n in (1, 2, 3)]
    (folder / "timing.jsonl").write_text("".join(json.dumps(row) + "\n" for row in timing))
    config = json.loads((folder / "config.json").read_text())
    config["optim"]["schedule"] = schedule
    (folder / "config.json").write_text(json.dumps(config))


def test_times_gap_and_drops(copy_run: Callable[..., Path]) -> None:
    fast, slow = copy_run("fast", right=8), copy_run("slow", right=8, lr=0.01)
    write_history(fast, [0.5, 0.9, 0.8], [0.1, 0.1, 0.01], "step")
    write_history(slow, [0.1, 0.4, 0.41], [0.1, 0.05, 0.01], "cosine")
    found = convergences(compare([fast, slow], workers=0, num_resamples=100).members)
    by_name = {convergence.name: convergence for convergence in found}
    goals = [pytest.approx(goal * 0.8) for goal in (0.5, 0.8, 0.9, 0.95)]
    times = [TimeToScore(goals[0], 1, 1.0), *(TimeToScore(goal, 2, 2.0) for goal in goals[1:])]  # pyright: ignore[reportArgumentType]
    assert by_name["fast-seed0"] == Convergence("fast-seed0", tuple(times), (3,), 1.0, 1.5, 0.75)
    assert by_name["fast-seed0"].gap == 0.5
    assert [time.epoch for time in by_name["slow-seed0"].times] == [2, None, None, None]
    assert by_name["slow-seed0"].lr_drops == ()


@pytest.mark.parametrize(
    ("steps", "images", "expected"),
    [((5, 10, 15), 320, 15 * 64), ((1, 2, 3), 40, 3 * 40)],
    ids=["updates of a batch", "fewer photos than a batch"],
)
def test_cost_counts_the_images_of_an_update(
    steps: tuple[int, ...], images: int, expected: int, copy_run: Callable[..., Path]
) -> None:
    run = Run(copy_run("few", right=8))
    config = json.loads((run.folder / "config.json").read_text())
    config["train"]["batch_size"] = 64
    (run.folder / "config.json").write_text(json.dumps(config))
    set_history(run, [row | {"step": step} for row, step in zip(run.metrics, steps, strict=True)])
    timing = [{"epoch": n, "total_seconds": 1.0 * n, "images": images} for n in (1, 2, 3)]
    (run.folder / "timing.jsonl").write_text("".join(json.dumps(row) + "\n" for row in timing))
    (member,) = compare([run.folder], workers=0, num_resamples=10).members
    found = cost(member)
    assert (found.images, found.images_per_s) == (expected, pytest.approx(expected / 3))
