"""The curve of a learning-rate range test."""

import io
from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from corolla.plots.style import GREY, PALETTE, escaped


def learning_rate_png(
    rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], *, chosen: float | None, title: str
) -> bytes:
    """Return a PNG of the training loss by learning rate, on a logarithmic axis, with the chosen rate marked."""
    figure = Figure(figsize=(9, 4.5), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, losses, color=GREY, alpha=0.5, linewidth=0.8, label="of a batch")
    axes.plot(rates, smoothed, color=PALETTE[0], linewidth=2, label="smoothed")
    lowest, first = min(smoothed), smoothed[0]
    axes.plot(rates[smoothed.index(lowest)], lowest, "o", color=PALETTE[0], label="lowest")  # pyright: ignore[reportAttributeAccessIssue]
    if chosen is not None:
        axes.axvline(chosen, color=PALETTE[1], linestyle="--", label=f"proposed: {chosen:g}")
    axes.set_xscale("log")
    margin = 0.15 * max(first - lowest, 0.1)
    axes.set_ylim(lowest - margin, first + 3 * margin)  # where it diverges, it leaves the figure
    axes.set_xlabel("--optim.lr")
    axes.set_ylabel("training loss")
    axes.set_title(escaped(title), fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": ""})
    return buffer.getvalue()
