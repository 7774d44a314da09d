"""Curves show every epoch but wild ones, which are counted; drops of the rate are marked, legends cover nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from support import set_history

from corolla.compare.compare import Comparison, compare
from corolla.compare.curve_figures import comparison_figure, learning_curves
from corolla.compare.report.html import write_report
from corolla.plots.confusion import pixels
from corolla.plots.style import color
from corolla.runs.folder import Run

LOSSES = [1e6, 2.0, 1.5]


def legend_of(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def points(axes: Axes, style: str) -> list[list[float]]:
    return [np.asarray(line.get_ydata()).tolist() for line in axes.lines if line.get_linestyle() == style]


def test_learning_curves_have_a_colour_a_recipe(make_run: Callable[..., Run]) -> None:
    runs = [make_run(f"{name}-seed{seed}", [0.1, 0.4], seed=seed) for name in ("plain", "$$res$") for seed in (0, 1)]
    figure = learning_curves(runs)
    assert pixels(figure).shape[:2] == (380, 1000)
    scores = figure.axes[0]
    assert [to_hex(line.get_color()).upper() for line in scores.lines] == [color(0), color(0), color(1), color(1)]
    assert points(scores, "-") == [[0.1, 0.4]] * 4
    assert legend_of(scores) == ["plain", r"\$\$res\$"]


def two_recipes(copy_run: Callable[..., Path], *, earlier: bool = False) -> Comparison:
    """Two seeds of a recipe whose first epoch is wild and whose learning rate was lowered, and one of another."""
    runs = [copy_run("$good$", right=right, seed=seed) for seed, right in enumerate((16, 15))]
    runs.append(copy_run("poor", right=2, lr=0.1))
    for folder, losses in zip(runs, (LOSSES, LOSSES, [3.0, 2.0, 1.8]), strict=True):
        config = json.loads((folder / "config.json").read_text())
        config["optim"]["schedule"] = "constant" if losses is not LOSSES else "step"
        (folder / "config.json").write_text(json.dumps(config))
        values = zip(Run(folder).metrics, losses, (0.1, 0.1, 0.01), strict=True)
        set_history(Run(folder), [row | {"val_loss": loss, "lr": lr} for row, loss, lr in values])
    if earlier:
        for folder in runs:
            set_history(Run(folder), [row | {"train_top1": None} for row in Run(folder).metrics])
    return compare(runs, workers=0, num_resamples=50)


def test_the_figure_of_a_comparison(copy_run: Callable[..., Path]) -> None:
    comparison = two_recipes(copy_run)
    figure = comparison_figure(comparison)
    assert pixels(figure).shape[:2] == (960, 1200)
    scores, end, loss, accuracy = figure.axes
    first, second = (label.get_text().splitlines() for label in end.get_yticklabels())
    good, poor = comparison.recipes
    assert first[1:] == [f"{good.mean:.3f} ± {good.sd:.3f}", "2 seeds"]
    assert second == ["poor", f"{poor.mean:.3f}", "1 seed"]
    assert legend_of(scores) == [r"\$good\$", "poor"]
    assert LOSSES in points(loss, "-")
    assert loss.get_ylim()[1] < 10
    assert loss.get_title("left") == "loss of train and val, 1 point beyond the axis"
    rows = [member.rows for member in good.members]
    assert np.mean([[row["train_top1"] for row in each] for each in rows], 0).tolist() in points(accuracy, "--")
    assert np.mean([[row["top1"] for row in each] for each in rows], 0).tolist() in points(accuracy, "-")
    for axes in (loss, accuracy):
        assert legend_of(axes) == ["val", "train (augmented photos)", "learning rate lowered"]
        (drop,) = [line for line in axes.lines if line.get_linestyle() == ":" and np.size(line.get_xdata())]
        assert np.asarray(drop.get_xdata()).tolist() == [2.5, 2.5]
        assert to_hex(drop.get_color()).upper() == color(0)


def test_no_legend_lies_on_a_curve(copy_run: Callable[..., Path]) -> None:
    figure = comparison_figure(two_recipes(copy_run))
    pixels(figure)  # which lays it out
    for axes in figure.axes:
        if (legend := axes.get_legend()) is not None:
            assert not legend.get_window_extent().overlaps(axes.get_window_extent())


def test_what_earlier_versions_did_not_record_is_not_drawn(copy_run: Callable[..., Path], tmp_path: Path) -> None:
    comparison = two_recipes(copy_run, earlier=True)
    accuracy = comparison_figure(comparison).axes[3]
    assert [line for line in points(accuracy, "--") if line] == []
    assert accuracy.get_title("left") == "accuracy on val (none is known of train)"
    page = write_report(comparison, tmp_path / "page.html").read_text(encoding="utf-8")
    assert 'id="plot-top1"' in page
    assert "plot-train_top1" not in page


def test_the_report_marks_drops_and_counts_points_beyond_the_axis(
    copy_run: Callable[..., Path], tmp_path: Path
) -> None:
    page = write_report(two_recipes(copy_run), tmp_path / "page.html").read_text(encoding="utf-8")
    assert "val loss, 2 points beyond the axis" in page  # a line per run
    assert "train loss, " not in page
    assert "Dotted lines are where the schedule has lowered" in page
    assert page.count('"name": "Span"') == 5
    assert 'id="plot-train_top1"' in page
