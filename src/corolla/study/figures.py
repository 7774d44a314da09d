"""The figures of a study, from its record: scores with their intervals, and learning curves."""

import io
import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from PIL import Image

from corolla.anatomy.figures import gradient_figure, lesion_figure
from corolla.compare.convergence import STEPWISE, drops_in
from corolla.compare.formatting import spread
from corolla.compare.statistics import interval
from corolla.plots.limits import axis_end, beyond
from corolla.plots.style import GREY, color, escaped, marker
from corolla.study.file import MEASURES
from corolla.study.inside import mean_gradients, measured_sentences
from corolla.study.page import short_answer
from corolla.study.plan import StudyOptions, planned_run
from corolla.study.results import RowResult, StudyResults

LONGEST_TITLE = 240
MOST_MARKERS = 10
"""Markers of a line that has some."""
COLORS = 128
"""Colours of a PNG: enough for lines and letters, in a third of the bytes, as figures are committed."""
CURVES = (
    ("macro F1 on val", "macro_f1", None),
    ("loss on val, dashed: on train", "val_loss", "train_loss"),
    ("top-1 on val, dashed: on train", "top1", "train_top1"),
)
"""Panels of the figure of curves: title, and columns of metrics.jsonl for val and train."""


def figures_of(results: StudyResults) -> list[str]:
    """Return the names of the figures that a study asks for and its record has something for."""
    study = results.study
    drawn = [*study.figures] if any(row.records for row in results.rows) else []
    return [*drawn, *(name for name in study.measure if name in results.measured)]


def figure_png(results: StudyResults, name: str) -> bytes:
    """Return the PNG of a figure of the study, one of `figures_of`."""
    rows = [row for row in results.rows if row.records]
    if name in MEASURES:
        table = pd.DataFrame(results.measured[name].rows)
        lesions = name == "lesions"
        figure = lesion_figure(table, score="macro F1 on val") if lesions else gradient_figure(mean_gradients(table))
        _head(figure, [results.study.question, *measured_sentences(results.measured)[name]])
    else:
        figure = scores_figure(results, rows) if name == "scores" else curves_figure(results, rows)
    canvas, buffer = FigureCanvasAgg(figure), io.BytesIO()
    canvas.draw()
    pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    few = pixels.quantize(COLORS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)  # keeps the hue of thin lines
    few.save(buffer, "png", optimize=True)
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
    photos = f"{len(results.records.labels):,} photos of {results.study.photos}{seen}"
    axes.set_xlabel(f"macro F1 on {photos}: seeds, mean, 95 % over photos")
    _head(figure, _title(results))
    axes.grid(axis="x", color="0.92")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def _title(results: StudyResults) -> list[str]:
    """Return the question, and the answer, as far as one reads it above a figure."""
    return [results.study.question, short_answer(results, LONGEST_TITLE)]


def _head(figure: Figure, lines: list[str]) -> None:
    """Write lines above a figure, as long as it is wide."""
    width = int(13 * figure.get_figwidth())
    figure.suptitle(escaped("\n".join(textwrap.fill(line, width) for line in lines)), fontsize=10, x=0.01, ha="left")


def _label(row: RowResult, views: str) -> str:
    scores = row.scores("macro_f1", views)
    sd = float(np.std(scores, ddof=1)) if len(scores) > 1 else None
    return f"{escaped(row.name)}\n{spread(float(np.mean(scores)), sd)}"


def curves_figure(results: StudyResults, rows: list[RowResult]) -> Figure:
    """Draw the course of training: means of each row's seeds, with their range on val.

    Dotted lines are where a schedule by steps or plateaus has lowered the learning rate.
    """
    stepwise = {row.name for row in rows if _is_stepwise(results, row)}
    trained = [(place, row) for place, row in enumerate(rows) if any(record.epochs for record in row.records)]
    figure = Figure(figsize=(13, 4.6), dpi=110, layout="constrained")
    for axes, (title, on_val, on_train) in zip(figure.subplots(1, len(CURVES)), CURVES, strict=True):
        for place, row in trained:
            _draw_curve(axes, row, on_val, place, has_range=True)
            if on_train:
                _draw_curve(axes, row, on_train, place, ls="--", alpha=0.75)
            drops = {epoch for record in row.records for epoch in drops_in(record.epochs)}
            for epoch in sorted(drops) if row.name in stepwise else ():
                axes.axvline(epoch - 0.5, color=color(place), ls=":", lw=1, alpha=0.8)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
        left_out = 0
        if on_val == "val_loss":
            drawn = {style: _points(axes, style) for style in ("--", "-")}
            end, left_out = axis_end(drawn["--"], drawn["-"])
            axes.set_ylim(0, end)
        axes.set_title(", ".join(filter(None, (title, beyond(left_out)))), fontsize=10, loc="left")
    lines = [
        Line2D([], [], color=color(place), marker=marker(place), ms=4, label=escaped(row.name))
        for place, row in trained
    ]
    if any(len(row.records) > 1 for _, row in trained):
        lines.append(Line2D([], [], color=GREY, lw=8, alpha=0.3, label="range of the seeds"))
    if stepwise:
        lines.append(Line2D([], [], color=GREY, ls=":", lw=1, label="lower learning rate"))
    _head(figure, _title(results))
    figure.legend(handles=lines, loc="outside lower center", ncols=min(4, max(1, len(lines))), frameon=False)
    return figure


def _is_stepwise(results: StudyResults, row: RowResult) -> bool:
    if row.is_vote:
        return False
    options = StudyOptions(full=results.records.full and results.study.has_full)
    found = planned_run(results.study, results.study.row(row.name), 0, options)
    return found.config.optim.schedule in STEPWISE


def _points(axes: Axes, style: str) -> list[float]:
    lines = [line for line in axes.lines if line.get_linestyle() == style]
    return [value for line in lines for value in np.asarray(line.get_ydata(), np.float64).tolist()]


def _draw_curve(axes: Axes, row: RowResult, column: str, place: int, *, has_range: bool = False, **style: Any) -> None:
    lines = [[epoch.get(column) for epoch in record.epochs] for record in row.records if record.epochs]
    length = min(map(len, lines))
    table = np.array([line[:length] for line in lines], np.float64)  # None is NaN, of which nothing is drawn
    if np.isnan(table).all():
        return
    epochs = np.arange(1, length + 1)
    points = {"marker": "o" if length == 1 else marker(place), "markevery": -(-length // MOST_MARKERS), "ms": 4}
    axes.plot(epochs, table.mean(0), color=color(place), **points, **style)
    if len(table) > 1 and has_range:
        axes.fill_between(epochs, table.min(0), table.max(0), color=color(place), alpha=0.2, lw=0)
