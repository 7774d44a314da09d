"""The plots of the report, as Bokeh's JSON: drawn in the page, with values on hover, and nothing fetched.

Texts are grey here; the page's script gives them the colour of its own text.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from bokeh.core.json_encoder import serialize_json
from bokeh.core.types import ID
from bokeh.embed import json_item
from bokeh.models import BasicTicker, ColumnDataSource, HoverTool, Span, Title
from bokeh.plotting import figure
from bokeh.resources import Resources

from corolla.compare.compare import Comparison
from corolla.compare.convergence import lr_drops
from corolla.compare.report.classes import ClassScores
from corolla.compare.statistics import calibration
from corolla.plots.style import GREY, PALETTE, color

DASHES: tuple[tuple[int, ...], ...] = ((), (6, 3), (2, 3), (8, 3, 2, 3))
ROW = 46  # pixels of a row of the forest plot

Style = tuple[str, tuple[int, ...]]
"""Colour and dash pattern."""


def bokeh_scripts() -> str:
    """Return Bokeh's JavaScript, for a script element: the core alone, without widgets, WebGL and MathJax."""
    return "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)


def styles(comparison: Comparison) -> dict[str, Style]:
    """Return the style of every recipe, by its name: the dash pattern tells them apart too."""
    return {
        recipe.name: (color(number), DASHES[number % len(DASHES)]) for number, recipe in enumerate(comparison.recipes)
    }


def as_item(plot: figure, target: str) -> dict[str, Any]:
    """Return a plot as `Bokeh.embed.embed_item` takes it, for the element `target`."""
    return json.loads(serialize_json(json_item(plot, ID(target))))


def _figure(title: str, x: str, y: str, height: int = 300, **options: Any) -> figure:
    plot = figure(
        title=title,
        x_axis_label=x,
        y_axis_label=y,
        height=height,
        sizing_mode="stretch_width",
        toolbar_location=None,
        tools="",
        background_fill_alpha=0,
        border_fill_alpha=0,
        outline_line_color=None,
        min_border_right=16,
        **options,
    )
    plot.grid.grid_line_color, plot.grid.grid_line_alpha = GREY, 0.25
    for axis in plot.axis:
        axis.axis_label_text_color = axis.major_label_text_color = axis.axis_line_color = GREY
        axis.major_tick_line_color, axis.minor_tick_line_color = GREY, None
        axis.axis_label_text_font_size = axis.major_label_text_font_size = "12px"
        axis.axis_label_text_font_style = "normal"
    assert isinstance(plot.title, Title)
    plot.title.text_color, plot.title.text_font_size = GREY, "14px"
    return plot


def _hover(plot: figure, renderers: list[Any], tooltips: list[tuple[str, str]]) -> None:
    # to the left or right, whichever is wider: on a phone a tooltip over its point would be cut off
    plot.add_tools(HoverTool(renderers=renderers, tooltips=tooltips, attachment="horizontal", line_policy="nearest"))


def plain(text: str) -> str:
    """Return a text for a canvas, where Bokeh would take `$$…$$`, `\\(` and `\\[` for TeX and fetch MathJax for it."""
    return text.replace("$$", "$\u200b$").replace("\\(", "\\\u200b(").replace("\\[", "\\\u200b[")


Line = tuple[str, Sequence[dict[str, Any]], str, Style]
"""A name, rows of metrics.jsonl, the column that is drawn, and how."""


def curves(comparison: Comparison, key: str, title: str, *, note: str = "", **options: Any) -> figure:
    """Draw a column of metrics.jsonl over the epochs: a line per run, in its recipe's style; `note` is for the title.

    Dotted lines are where a schedule by steps or by plateaus has lowered the learning rate.
    """
    style = styles(comparison)
    members = [(recipe.name, member) for recipe in comparison.recipes for member in recipe.members]
    plot = curve(title, [(member.name, member.rows, key, style[name]) for name, member in members], **options)
    assert isinstance(plot.title, Title)
    plot.title.text = ", ".join(filter(None, (title, note)))
    for name, epoch in sorted({(name, epoch) for name, member in members for epoch in lr_drops(member)}):
        line: dict[str, Any] = {"line_color": style[name][0], "line_dash": [1, 3], "line_width": 1.5}
        plot.add_layout(Span(location=epoch - 0.5, dimension="height", **line))
    return plot


def curve(title: str, lines: Sequence[Line], *, form: str = "0.000", **options: Any) -> figure:
    """Draw lines over the epochs; `form` is the format of their values, as Bokeh has it."""
    plot = _figure(title, "epoch", "", **options)
    plot.xaxis.ticker = BasicTicker(min_interval=1, num_minor_ticks=0)  # whole epochs
    drawn = []
    for name, rows, key, (line_color, dash) in lines:
        known = [row for row in rows if row.get(key) is not None]
        source = ColumnDataSource(
            {
                "epoch": [row["epoch"] for row in known],
                "value": [row[key] for row in known],
                "name": [name] * len(known),
            }
        )
        style: dict[str, Any] = {"line_color": line_color, "line_dash": list(dash), "line_width": 2}
        drawn.append(plot.line("epoch", "value", source=source, **style))
        if len(known) == 1:  # a line of one point can't be seen
            drawn.append(plot.scatter("epoch", "value", source=source, size=8, color=line_color))
    _hover(plot, drawn, [("", "@name"), ("epoch", "@epoch"), (title, f"@value{{{form}}}")])
    return plot


def forest(comparison: Comparison) -> figure:
    """Draw a point and its 95 % interval per pair of recipes, and the line of no difference."""
    differences = comparison.differences
    low = min(0.0, *(d.effect.low for d in differences))
    high = max(0.0, *(d.effect.high for d in differences))
    margin = 0.05 * (high - low or 1)
    size = len(differences)
    plot = _figure(
        "",
        "difference in macro F1 (first − second)",
        "",
        height=ROW * size + 70,
        x_range=(low - margin, high + margin),
        y_range=(-0.4, size),
    )
    plot.yaxis.visible = plot.grid.visible = False  # lines would strike through the names
    rows = range(size - 1, -1, -1)
    names = [f"{d.first} − {d.second}" for d in differences]
    source = ColumnDataSource(
        {
            "y": list(rows),
            "name": names,
            "label": [plain(name) for name in names],
            "left": [low - margin] * size,
            "value": [d.effect.value for d in differences],
            "low": [d.effect.low for d in differences],
            "high": [d.effect.high for d in differences],
            "color": [PALETTE[0] if d.significant else GREY for d in differences],
        }
    )
    # of zero too: a piece a row, below its name
    zeros = {"x0": [0] * size, "x1": [0] * size, "y0": [row - 0.4 for row in rows], "y1": [row + 0.12 for row in rows]}
    plot.segment(**zeros, line_color=GREY, line_width=1.5, line_dash=[4, 4])
    bars = plot.segment(x0="low", x1="high", y0="y", y1="y", source=source, line_color="color", line_width=3)
    dots = plot.scatter("value", "y", source=source, size=11, color="color")
    text: dict[str, Any] = {"text_font_size": "12px", "text_color": GREY, "y_offset": -8}
    plot.text(x="left", y="y", text="label", source=source, **text)
    tips = [("", "@name"), ("difference", "@value{+0.000}"), ("95 %", "@low{+0.000} to @high{+0.000}")]
    _hover(plot, [dots, bars], tips)
    return plot


def class_scatter(classes: ClassScores, colors: Sequence[str]) -> figure:
    """Draw F1 of every class, one side against the other; a dot has the colour of the side that is better at it."""
    first, second = classes.sides
    plot = _figure("", f"F1, {plain(first)}", f"F1, {plain(second)}", 420, x_range=(-0.04, 1.04), y_range=(-0.04, 1.04))
    a, b = classes.f1
    source = ColumnDataSource(
        {
            "a": a,
            "b": b,
            "name": [classes.names[number] for number in classes.numbers],
            "number": classes.numbers,
            "train": ["–" if n is None else str(n) for n in classes.num_train],
            "val": classes.num_val,
            "first": [first] * len(a),
            "second": [second] * len(a),
            "color": [colors[0] if x > y else colors[1] if y > x else GREY for x, y in zip(a, b, strict=True)],
        }
    )
    plot.line([0, 1], [0, 1], line_color=GREY, line_dash=[4, 4])
    dots = plot.scatter("a", "b", source=source, size=10, fill_color="color", fill_alpha=0.65, line_color=None)
    tips = [("class", "@number @name"), ("train, val images", "@train, @val")]
    tips += [("F1", "@a{0.000} @first"), ("F1", "@b{0.000} @second")]
    _hover(plot, [dots], tips)
    return plot


def reliability(comparison: Comparison) -> figure:
    """Draw accuracy over confidence, a line per recipe, its seeds pooled; what lies on the diagonal is calibrated."""
    plot = _figure("", "confidence", "accuracy", 380, x_range=(-0.02, 1.02), y_range=(-0.02, 1.02))
    plot.line([0, 1], [0, 1], line_color=GREY, line_dash=[4, 4])
    dots = []
    for recipe in comparison.recipes:
        line_color, dash = styles(comparison)[recipe.name]
        found = calibration(
            np.concatenate([member.probabilities for member in recipe.members]),
            np.concatenate([member.labels for member in recipe.members]),
        )
        source = ColumnDataSource(
            {
                "confidence": found.confidence,
                "accuracy": found.accuracy,
                "count": found.count,
                "recipe": [recipe.name] * len(found.count),
            }
        )
        style: dict[str, Any] = {"line_color": line_color, "line_dash": list(dash), "line_width": 2}
        plot.line("confidence", "accuracy", source=source, **style)
        dots.append(plot.scatter("confidence", "accuracy", source=source, size=8, color=line_color))
    tips = [("recipe", "@recipe"), ("confidence", "@confidence{0.00}"), ("accuracy", "@accuracy{0.00}")]
    _hover(plot, dots, [*tips, ("photos", "@count")])
    return plot
