"""Learning curves of runs, and the figure of a comparison: loss and accuracy of train and val by epoch, and the scores.

Legends lie below the curves, never on them, and where an axis leaves points out, its title says how many.
"""

from collections.abc import Sequence, Sized
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from corolla.compare.compare import Comparison
from corolla.compare.convergence import lr_drops
from corolla.compare.formatting import spread
from corolla.compare.recipes import Recipe, without_seed
from corolla.plots.limits import axis_end, beyond
from corolla.plots.style import GREY, color, escaped
from corolla.runs.folder import Run
from corolla.runs.length import best_score

WIDEST_LEGEND = 56  # letters in a line of a legend
TRAIN: dict[str, Any] = {"ls": "--", "alpha": 0.75}
"""The style of what was measured on photos of training."""


def learning_curves(runs: Sequence[Run]) -> Figure:
    """Draw macro F1 on val and both losses by epoch; runs whose names differ in their seed only share a colour."""
    figure = blank_figure(1000, 380)
    scores, losses = figure.subplots(1, 2)
    by_recipe: dict[str, list[Run]] = {}
    for run in runs:
        by_recipe.setdefault(without_seed(run.name), []).append(run)
    for place, (name, same) in enumerate(by_recipe.items()):
        for run in same:
            rows = run.metrics
            epochs = [row["epoch"] for row in rows]
            style: dict[str, Any] = {"color": color(place), "marker": _marker(rows), "ms": 4}
            label = escaped(name) if run is same[0] else None
            if best_score(rows):  # else nothing was validated
                scores.plot(epochs, [row["macro_f1"] for row in rows], label=label, **style)
                losses.plot(epochs, [row["val_loss"] for row in rows], **style)
            losses.plot(epochs, [row["train_loss"] for row in rows], color=color(place), **TRAIN)
    _by_epoch(scores, "macro F1 on val")
    scores.set_ylim(bottom=0)
    if scores.lines:
        _legend_below(scores)
    _by_epoch(losses, "loss (nats)")
    _end_axis(losses, "")
    _tell_train_and_val(losses)
    return figure


def comparison_figure(comparison: Comparison) -> Figure:
    """Draw macro F1 by epoch, the scores with their intervals, and below them loss and accuracy of train and val.

    Curves are means of the seeds, with the range of those on val; dotted lines are where a schedule by steps or by
    plateaus has lowered the learning rate. 1200 x 960 px; of imported runs alone, whose epochs are unknown, 1200 x 500.
    """
    has_curves = any(all(member.rows for member in recipe.members) for recipe in comparison.recipes)
    figure = blank_figure(1200, 960 if has_curves else 500, scale=1.15)
    (scores, end), *below = figure.subplots(1 + has_curves, 2, width_ratios=(1.15, 1), squeeze=False)
    _draw_all(scores, comparison, "macro_f1")
    _by_epoch(scores, f"macro F1 on {comparison.split}, centre crop")
    scores.set_ylim(bottom=0)
    if scores.lines:
        _legend_below(scores)
    scores.set_title("mean of the seeds and their range", fontsize=11, loc="left")
    _draw_end(end, comparison)
    for loss, accuracy in below:
        _draw_all(loss, comparison, "val_loss", "train_loss")
        _by_epoch(loss, "loss (nats)")
        _end_axis(loss, "loss of train and val")
        _draw_all(accuracy, comparison, "top1", "train_top1")
        _by_epoch(accuracy, "top-1 accuracy")
        accuracy.set_ylim(bottom=0)
        is_unknown = not any(_is_train(line) for line in accuracy.lines)
        title = "accuracy on val (none is known of train)" if is_unknown else "accuracy on train and val"
        accuracy.set_title(title, fontsize=11, loc="left")
        for axes in (loss, accuracy):
            _tell_train_and_val(axes, drops=_mark_drops(axes, comparison))
    return figure


def _draw_all(axes: Axes, comparison: Comparison, on_val: str, on_train: str | None = None) -> None:
    for place, recipe in enumerate(comparison.recipes):
        _draw_curve(axes, recipe, on_val, color(place))
        if on_train:
            _draw_curve(axes, recipe, on_train, color(place), has_range=False, **TRAIN)


def _draw_curve(axes: Axes, recipe: Recipe, key: str, hue: str, *, has_range: bool = True, **style: Any) -> None:
    length = min(len(member.rows) for member in recipe.members)
    table = np.array([[row[key] for row in member.rows[:length]] for member in recipe.members], float)
    known = ~np.isnan(table).any(0)  # earlier versions did not record all that is drawn
    if not known.any():  # of an imported run epochs are unknown
        return
    epochs, table = np.arange(1, length + 1)[known], table[:, known]
    axes.plot(epochs, table.mean(0), color=hue, marker=_marker(epochs), ms=4, label=escaped(recipe.name), **style)
    if len(table) > 1 and has_range:
        axes.fill_between(epochs, table.min(0), table.max(0), color=hue, alpha=0.2, lw=0)


def _mark_drops(axes: Axes, comparison: Comparison) -> bool:
    """Draw a dotted line where a recipe's learning rate was lowered, and return whether there is one."""
    for place, recipe in enumerate(comparison.recipes):
        for epoch in sorted({epoch for member in recipe.members for epoch in lr_drops(member)}):
            axes.axvline(epoch - 0.5, color=color(place), ls=":", lw=1, alpha=0.8)
    return any(lr_drops(member) for member in comparison.members)


def _draw_end(axes: Axes, comparison: Comparison) -> None:
    """Draw what each recipe came to: its seeds, their mean, and the interval."""
    num_images = len(comparison.members[0].labels)
    views = "centre crop" if comparison.tta == "none" else comparison.tta
    axes.set_xlabel(f"macro F1 on {num_images:,} photos of {comparison.split}, {views}, {comparison.checkpoint}.pt")
    axes.set_title("seeds, mean, 95 % interval over photos", fontsize=11, loc="left")
    recipes = comparison.recipes
    for place, recipe in enumerate(recipes):
        hue = color(place)
        axes.plot(recipe.interval, (-place, -place), color=hue, lw=3, alpha=0.45, solid_capstyle="butt")
        axes.plot(recipe.mean, -place, "|", color=hue, ms=22, mew=3)
        seeds = [-place - 0.16] * len(recipe.members)
        axes.plot(recipe.macro_f1, seeds, "o", color=hue, ms=7, alpha=0.75, mec="white")
    axes.set_yticks([-place for place in range(len(recipes))], [_label(recipe) for recipe in recipes])
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_ylim(0.5 - len(recipes), 0.5)
    axes.grid(axis="x", color="0.92")


def _label(recipe: Recipe) -> str:
    seeds = "1 seed" if len(recipe.members) == 1 else f"{len(recipe.members)} seeds"
    seeds = "imported" if recipe.members[0].is_imported else seeds
    return f"{escaped(recipe.name)}\n{spread(recipe.mean, recipe.sd)}\n{seeds}"


def blank_figure(width: int, height: int, scale: float = 1.0) -> Figure:
    """Return an empty figure of so many pixels; `scale` enlarges the text."""
    dpi = 100 * scale
    figure = Figure(figsize=(width / dpi, height / dpi), dpi=dpi, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _marker(epochs: Sized) -> str | None:
    """Return the marker of a curve: few points are marked, as a line of one point can't be seen."""
    return "o" if len(epochs) < 16 else None


def _by_epoch(axes: Axes, what: str) -> None:
    axes.set_xlabel("epoch")
    axes.set_ylabel(what)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="0.92")
    axes.spines[["top", "right"]].set_visible(False)


def _is_train(line: Line2D) -> bool:
    """Return whether a line shows what was measured on photos of training."""
    return line.get_linestyle() == TRAIN["ls"]


def _end_axis(axes: Axes, title: str) -> None:
    """End the axis of losses above all points but wild ones, and say in the title how many these are."""
    train, val = (
        [value for line in axes.lines if _is_train(line) == wanted for value in np.asarray(line.get_ydata()).tolist()]
        for wanted in (True, False)
    )
    end, num_beyond = axis_end(train, val)
    axes.set_ylim(0, end)
    axes.set_title(", ".join(filter(None, (title, beyond(num_beyond)))), fontsize=11, loc="left")


def _tell_train_and_val(axes: Axes, *, drops: bool = False) -> None:
    """Draw the legend of the styles of lines."""
    for line in axes.lines:
        line.set_label("_")  # the recipes' colours are told once
    axes.plot([], [], color=GREY, label="val")
    axes.plot([], [], color=GREY, label="train (augmented photos)", **TRAIN)
    if drops:
        axes.plot([], [], color=GREY, ls=":", lw=1, label="learning rate lowered")
    _legend_below(axes)


def _legend_below(axes: Axes) -> None:
    """Draw the legend outside of the curves, in as many columns as there is room for."""
    longest = max((len(str(text)) for text in axes.get_legend_handles_labels()[1]), default=0)
    columns = max(1, WIDEST_LEGEND // (longest + 6))
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, -0.16), ncols=columns)
