"""Figures of lesions and of gradients by their tables; each is a `matplotlib.figure.Figure` on white."""

from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from corolla.plots.style import GREY, color, escaped

PANELS = {"one": "block left out", "random": "blocks left out at random", "order": "Kendall's tau of the order"}
"""Kinds of lesions, and what their axis has."""
MOST_NAMES = 30
"""Blocks whose names fit below an axis; of more their numbers stand there."""
MOST_MOMENTS = 8
"""Moments of one network that a legend names."""
SHORTCUT = ".downsample."
"""Part of the names of a projection's layers, in the own networks and in timm's ResNets."""
SHADES = matplotlib.colormaps["viridis"]


def lesion_figure(table: pd.DataFrame, *, score: str = "macro F1") -> Figure:
    """Draw macro F1 by the block left out, by the number left out at random, and by Kendall's tau of the order.

    A colour is a run, a dashed line its whole network. Of several draws or seeds the mean and the range are
    drawn, of orders each.

    Args:
        table: as `Lesions.to_pandas` returns it.
        score: written at the axis.
    """
    runs = dict(iter(table.groupby("run", sort=False)))
    kinds = [kind for kind in PANELS if kind in set(table["kind"])]
    blocks = [of.loc[of["kind"] == "one", "block"].unique().tolist() for of in runs.values()]
    names = list(dict.fromkeys(name for own in sorted(blocks, key=len, reverse=True) for name in own))
    figure, panels = _panels(len(kinds))
    for kind, axes in zip(kinds, panels, strict=True):
        for place, (run, of) in enumerate(runs.items()):
            rows = of.query("kind == @kind")
            if len(rows):
                axes.axhline(of.loc[of["kind"] == "whole", "macro_f1"].mean(), color=color(place), ls="--", lw=1)
                label = escaped(f"{run} ({of['network'].iloc[0]})")
                _draw_lesions(axes, kind, rows, names, {"color": color(place), "ms": 3.5, "label": label})
        axes.set_xlabel(PANELS[kind])
        if kind == "order":
            axes.invert_xaxis()  # from the own order, tau 1, to the most shuffled one
        elif kind == "one" and len(names) <= MOST_NAMES:
            axes.set_xticks(range(1, len(names) + 1), names, rotation=90, fontsize=8)
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].set_ylim(0, 1.08 * max(*table["macro_f1"], 0.01))
    panels[0].set_ylabel(score)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=8, loc="outside lower center", ncols=4)
    return figure


def _draw_lesions(axes: Axes, kind: str, rows: pd.DataFrame, names: list[str], style: dict[str, Any]) -> None:
    if kind == "order":
        axes.plot(rows["tau"], rows["macro_f1"], "o", **style)
        return
    scores = rows.groupby("block" if kind == "one" else "k", sort=False)["macro_f1"].agg(["min", "mean", "max"])
    places = [names.index(str(each)) + 1 if kind == "one" else each for each in scores.index]
    axes.fill_between(places, scores["min"], scores["max"], color=style["color"], alpha=0.2, lw=0)
    axes.plot(places, scores["mean"], "o-", lw=1.2, **style)


def gradient_figure(table: pd.DataFrame) -> Figure:
    """Draw the norm of each layer's gradient on a logarithmic axis: a panel a network, a line a moment.

    The start is grey, later moments go from light to dark. Projections of shortcuts are crosses beside the line.

    Args:
        table: as `Gradients.to_pandas` returns it.
    """
    networks = table.groupby("run", sort=False)
    figure, panels = _panels(len(networks))
    for axes, (run, of) in zip(panels, networks, strict=True):
        moments = dict(iter(of.groupby("moment", sort=False)))
        later = [moment for moment in moments if moment != "start"]
        named = {"start", *later[:: -(-len(later) // MOST_MOMENTS) or 1], *later[-1:]}
        for moment, own in moments.items():
            shade = SHADES(1 - (later.index(moment) + 1) / len(later)) if moment != "start" else GREY
            projects = own["layer"].str.contains(SHORTCUT, regex=False)
            label = escaped(str(moment)) if moment in named else None
            axes.plot(*_points(own.loc[~projects]), "o-", ms=3, lw=1.2, color=shade, label=label)
            axes.plot(*_points(own.loc[projects]), "x", ms=4, color=shade)
        axes.set_title(escaped(f"{run} ({of['network'].iloc[0]})"), fontsize=10, loc="left")
        axes.set_xlabel("layer, in the order of computing")
        axes.set_yscale("log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
    panels[0].set_ylabel("norm of the gradient")
    return figure


def _points(rows: pd.DataFrame) -> tuple[list[int], list[float]]:
    """Return depths and norms; a norm of 0 has no place on the axis."""
    return rows["depth"].to_list(), [norm or float("nan") for norm in rows["gradient_norm"]]


def _panels(number: int) -> tuple[Figure, list[Axes]]:
    """Return a figure of some panels beside each other, with one vertical axis."""
    figure = Figure(figsize=(max(5.0, 4.6 * number), 4.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, number, sharey=True, squeeze=False)[0].tolist()
    for axes in panels:
        axes.grid(axis="y", color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels
