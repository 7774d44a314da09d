"""The figures of a study, from its record: scores with their intervals, and learning curves."""

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from corolla.compare.formatting import spread
from corolla.compare.statistics import interval
from corolla.plots.style import GREY, color, escaped
from corolla.study.results import RowResult, StudyResults

CURVES = (("macro_f1", "macro F1 on val"), ("train_loss", "train loss"), ("val_loss", "val loss"))
"""Panels of the figure of curves, by the column of metrics.jsonl."""


def figure_png(results: StudyResults, name: str) -> bytes | None:
    """Return the PNG of a figure of the study; None where nothing was run."""
    rows = [row for row in results.rows if row.records]
    if not rows:
        return None
    figure = scores_figure(results, rows) if name == "scores" else curves_figure(rows)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": ""})  # the same bytes every time
    return buffer.getvalue()


def scores_figure(results: StudyResults, rows: list[RowResult]) -> Figure:
    """Draw each row's macro F1: its seeds, their mean and its 95 % interval over photos."""
    figure = Figure(figsize=(9, 1.4 + 0.62 * len(rows)), dpi=110, layout="constrained")
    axes = figure.subplots()
    views = results.study.views[0]
    for place, row in enumerate(rows):
        scores, hue = row.scores("macro_f1", views), color(place)
        mean = float(np.mean(scores))
        axes.plot(interval(mean, row.resampled(views)), (-place, -place), color=hue, lw=3, alpha=0.45)
        axes.plot(mean, -place, "|", color=hue, ms=16, mew=3)
        axes.plot(scores, [-place - 0.22] * len(scores), "o", color=hue, ms=5, alpha=0.75, mec="white")
    axes.set_yticks([-place for place in range(len(rows))], [_label(row, views) for row in rows])
    axes.set_ylim(0.5 - len(rows), 0.5)
    seen = "" if views == "none" else f", {views}"
    axes.set_xlabel(f"macro F1 on {len(results.records.labels):,} photos of val{seen}: seeds, mean, 95 % over photos")
    axes.set_title(escaped(results.study.question), fontsize=10, loc="left", wrap=True)
    axes.grid(axis="x", color="0.92")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def _label(row: RowResult, views: str) -> str:
    scores = row.scores("macro_f1", views)
    sd = float(np.std(scores, ddof=1)) if len(scores) > 1 else None
    return f"{escaped(row.name)}\n{spread(float(np.mean(scores)), sd)}"


def curves_figure(rows: list[RowResult]) -> Figure:
    """Draw the course of training: the mean of each row's seeds, and their range."""
    trained = [(place, row) for place, row in enumerate(rows) if any(record.epochs for record in row.records)]
    figure = Figure(figsize=(13, 4.6), dpi=110, layout="constrained")
    for axes, (column, title) in zip(figure.subplots(1, len(CURVES)), CURVES, strict=True):
        for place, row in trained:
            _draw_curve(axes, row, column, color(place))
        axes.set_title(title, fontsize=10, loc="left")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
        if column.endswith("_loss"):
            _limit(axes)
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(4, max(1, len(trained)))
    )
    return figure


def _draw_curve(axes: Axes, row: RowResult, column: str, hue: str) -> None:
    lines = [[epoch.get(column) for epoch in record.epochs] for record in row.records if record.epochs]
    length = min(map(len, lines))
    table = np.array([line[:length] for line in lines], np.float64)  # None is NaN, of which nothing is drawn
    epochs = np.arange(1, length + 1)
    axes.plot(epochs, table.mean(0), color=hue, marker="o" if length == 1 else "", ms=4, label=escaped(row.name))
    if len(table) > 1:
        axes.fill_between(epochs, table.min(0), table.max(0), color=hue, alpha=0.2, lw=0)


def _limit(axes: Axes) -> None:
    """Keep a few wild epochs, as the first ones may be, from flattening all the others."""
    values = np.concatenate([np.asarray(line.get_ydata(), np.float64) for line in axes.lines] or [np.zeros(1)])
    values = values[np.isfinite(values)]
    if not len(values):
        return
    low, high = float(values.min()), float(np.quantile(values, 0.9))
    top = high + 0.6 * max(high - low, 1e-6)
    if values.max() > top:
        axes.set_ylim(low - 0.05 * (top - low), top)
        outside = int((values > top).sum())
        axes.annotate(f"{outside} outside", (1, 1), xycoords="axes fraction", ha="right", va="top", color=GREY)
