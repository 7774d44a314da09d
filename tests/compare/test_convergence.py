"""The time a run takes to a score, the drops of its learning rate, and the gap of its losses."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support import set_history

from corolla.compare.compare import compare
from corolla.compare.convergence import Convergence, Sooner, TimeToScore, convergences, cost, sooner
from corolla.compare.report.tables import sooner_view
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
    assert by_name["fast-seed0"] == Convergence("fast-seed0", tuple(times), (3,), 1.0, 1.5, 0.75, 0.8, 2, 1)
    assert by_name["fast-seed0"].gap == 0.5
    assert [time.epoch for time in by_name["slow-seed0"].times] == [2, None, None, None]
    assert by_name["slow-seed0"].lr_drops == ()


def set_course(folder: Path, scores: list[float], losses: list[float]) -> Path:
    first = Run(folder).metrics[0]
    set_history(
        Run(folder),
        [
            first | {"epoch": n, "step": 5 * n, "macro_f1": score, "val_loss": loss}
            for n, (score, loss) in enumerate(zip(scores, losses, strict=True), 1)
        ],
    )
    return folder


def test_a_run_has_its_own_plateau_and_one_recipe_is_sooner(copy_run: Callable[..., Path]) -> None:
    runs = [
        set_course(copy_run("slow", right=16), [0.1, 0.5, 0.97, 0.9, 0.96], [3.0, 2.0, 1.0, 0.5, 0.7]),
        set_course(copy_run("slow", right=16, seed=1), [0.1, 0.2, 0.3, 0.99, 0.9], [3.0, 2.0, 1.0, 0.8, 0.7]),
        set_course(copy_run("quick", right=8, lr=0.1), [0.1, 0.2, 0.2, 0.2, 0.19], [3.0, 1.0, 1.2, 1.2, 2.0]),
    ]
    comparison = compare(runs, workers=0, num_resamples=100)
    found = {each.name: each for each in convergences(comparison.members)}
    names = ("slow-seed0", "slow-seed1", "quick-seed0")
    assert [found[name].plateau for name in names] == [0.96, 0.9, 0.2], "medians of the last three"
    assert [found[name].epochs_to_plateau for name in names] == [3, 4, 2]
    assert [found[name].lowest_loss for name in names] == [4, 5, 2]
    assert sooner(comparison.recipes) == [Sooner("slow", "quick", (3.5, 2.0), (4.5, 2.0))]
    assert sooner(comparison.recipes)[0].by == (-1.5, -2.5)
    table = sooner_view(comparison)
    assert table is not None
    assert [cell.text for cell in table.rows[0]] == ["slow", "quick", "3.5", "2.0", "-1.5", "4.5", "2.0", "-2.5"]


def test_the_plateau_of_many_epochs_is_of_their_last_tenth(copy_run: Callable[..., Path]) -> None:
    scores = [n / 50 for n in range(1, 51)]
    run = set_course(copy_run("long", right=16), scores, [1.0] * 50)
    (found,) = convergences(compare([run], workers=0, num_resamples=100).members)
    assert (found.plateau, found.epochs_to_plateau, found.lowest_loss) == (0.96, 46, 1)


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
