"""Figures of lesions by their tables; each is a `matplotlib.figure.Figure` on white."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from corolla.plots.style import color, escaped

PANELS = {"one": "block left out", "random": "blocks left out at random", "order": "Kendall's tau of the order"}
"""Kinds of lesions, and what their axis has."""
MOST_NAMES = 30
"""Blocks whose names fit below an axis; of more their numbers stand there."""
Rows = list[dict[str, Any]]


def lesion_figure(table: pd.DataFrame, *, score: str = "macro F1") -> Figure:
    """Draw macro F1 by the block left out, by the number left out at random, and by Kendall's tau of the order.

    A colour is a run, a dashed line its whole network. Of several draws the mean and the range are drawn.

    Args:
        table: as `Lesions.to_pandas` returns it.
        score: written at the axis.
    """
    runs = _grouped(table.to_dict("records"), "run")
    kinds = [kind for kind in PANELS if kind in set(table["kind"])]
    blocks = [[row["block"] for row in rows if row["kind"] == "one"] for rows in runs.values()]
    names = list(dict.fromkeys(name for own in sorted(blocks, key=len, reverse=True) for name in own))
    figure, panels = _panels(len(kinds))
    for kind, axes in zip(kinds, panels, strict=True):
        for place, (run, rows) in enumerate(runs.items()):
            by_kind = _grouped(rows, "kind")
            if kind in by_kind:
                axes.axhline(by_kind["whole"][0]["macro_f1"], color=color(place), ls="--", lw=1)
                label = escaped(f"{run} ({rows[0]['network']})")
                _draw_lesions(axes, kind, by_kind[kind], names, {"color": color(place), "ms": 3.5, "label": label})
        axes.set_xlabel(PANELS[kind])
        axes.legend(frameon=False, fontsize=8, loc="lower left")
        if kind == "order":
            axes.invert_xaxis()  # from the own order, tau 1, to the most shuffled one
        elif kind == "one" and len(names) <= MOST_NAMES:
            axes.set_xticks(range(1, len(names) + 1), names, rotation=90, fontsize=8)
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    highest = max(row["macro_f1"] for rows in runs.values() for row in rows)
    panels[0].set_ylim(0, 1.08 * max(highest, 0.01))
    panels[0].set_ylabel(score)
    return figure


def _draw_lesions(axes: Axes, kind: str, rows: Rows, names: list[str], style: dict[str, Any]) -> None:
    scores = [row["macro_f1"] for row in rows]
    if kind == "one":
        axes.plot([names.index(row["block"]) + 1 for row in rows], scores, "o-", lw=1.2, **style)
    elif kind == "order":
        axes.plot([row["tau"] for row in rows], scores, "o", **style)
    else:
        of_each = {k: [row["macro_f1"] for row in same] for k, same in _grouped(rows, "k").items()}
        low, high = ([function(of) for of in of_each.values()] for function in (min, max))
        axes.fill_between(list(of_each), low, high, color=style["color"], alpha=0.2, lw=0)
        axes.plot(list(of_each), [sum(of) / len(of) for of in of_each.values()], "o-", lw=1.2, **style)


def _grouped(rows: Any, column: str) -> dict[Any, Rows]:
    """Return the rows of each value of a column, in the order in which the values come."""
    found = dict[Any, Rows]()
    for row in rows:
        found.setdefault(row[column], []).append(row)
    return found


def _panels(number: int) -> tuple[Figure, list[Axes]]:
    """Return a figure of some panels beside each other, with one vertical axis."""
    figure = Figure(figsize=(max(5.0, 4.6 * number), 4.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, number, sharey=True, squeeze=False)[0].tolist()
    for axes in panels:
        axes.grid(axis="y", color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels
