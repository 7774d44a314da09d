"""Draw confusion matrices; without pyplot: no global state, no window, nothing to close, safe in any thread."""

from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from corolla.plots.style import escaped

NUM_PAIRS = 18  # named beside the matrix
LONGEST_NAME = 22  # characters
GAMMA = 0.35  # the colour scale's exponent: one photo in a hundred is still told from none


def confusion_matrix(labels: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """Return the counts of photos, true class x predicted class."""
    return np.bincount(labels * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)


def confused_pairs(counts: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Return (true, predicted, count) for every kind of mistake, the most frequent first."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[: np.count_nonzero(wrong)]
    rows, columns = np.unravel_index(order, wrong.shape)
    return [(int(row), int(column), int(wrong[row, column])) for row, column in zip(rows, columns, strict=True)]


def confusion_figure(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], class_names: Sequence[str], *, title: str = ""
) -> Figure:
    """Draw the confusion matrix of labels N and predictions N, each row normalised; a class without photos is grey.

    The most frequent mistakes are named beside it: 104 names along an axis could not be read.
    """
    counts = confusion_matrix(labels, predicted, len(class_names))
    totals = counts.sum(1, keepdims=True)
    shares = np.where(totals > 0, counts / np.maximum(totals, 1), np.nan)
    figure = Figure(figsize=(10.4, 6.6), dpi=100)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.06, 0.07, 0.55, 0.86))
    axes.set_facecolor("0.85")
    image = axes.imshow(shares, norm=PowerNorm(GAMMA, vmin=0, vmax=1), cmap="magma", interpolation="nearest")
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.tick_params(length=0, labelbottom=False, labelleft=False)
    accuracy = np.trace(counts) / max(1, counts.sum())
    axes.set_title(f"{escaped(title)}  {counts.sum()} photos, accuracy {accuracy:.3f}".strip(), fontsize=10)
    bar = figure.colorbar(image, cax=figure.add_axes((0.625, 0.07, 0.012, 0.86)), ticks=[0, 0.01, 0.1, 0.3, 1])
    bar.ax.set_yticklabels(["0", "0.01", "0.1", "0.3", "1"], fontsize=7)
    figure.text(0.68, 0.93, _legend(counts, class_names), va="top", fontsize=7.5, family="monospace", linespacing=1.5)
    return figure


def _legend(counts: NDArray[np.int64], class_names: Sequence[str]) -> str:
    pairs = confused_pairs(counts)
    if not pairs:
        return "no mistakes"
    totals = counts.sum(1)
    lines = ["most confused: photos, true", "                → predicted"]
    for true, predicted, count in pairs[:NUM_PAIRS]:
        lines.append(f"{count:4d} of {totals[true]:4d}  {_short(class_names[true])}")
        lines.append(f"           → {_short(class_names[predicted])}")
    return escaped("\n".join(lines))


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def pixels(figure: Figure) -> NDArray[np.uint8]:
    """Draw a figure and return its pixels, H x W x 3."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
