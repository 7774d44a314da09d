"""Figures for notebooks and the README: learning curves, comparisons, photos, crops and confidence.

They are drawn without pyplot, as in plots/: every function returns a `matplotlib.figure.Figure`. All grounds are white,
so that they can be read on a dark page too.
"""

from collections.abc import Sequence, Sized
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from corolla.compare.compare import Comparison
from corolla.compare.formatting import spread
from corolla.compare.recipes import Recipe, without_seed
from corolla.compare.statistics import calibration, confident_mistakes
from corolla.config import Config
from corolla.data.dataset import TFRecordDataset
from corolla.data.index import Index
from corolla.data.statistics import data_statistics
from corolla.data.transforms.eval import EvalTransform
from corolla.data.transforms.train import TrainTransform, needs_statistics
from corolla.evaluation.predict import PredictResult
from corolla.models.pretrained import DEFAULT_CROP_FRACTION
from corolla.plots.contact_sheet import contact_sheet
from corolla.plots.style import GREY, PALETTE, color, escaped
from corolla.random import sample_generator
from corolla.runs.folder import Run

WIDEST_LEGEND = 56  # letters in a line of a legend
VIEWS = ("centre", "top left", "top right", "bottom left", "bottom right")  # the order of EvalTransform


def learning_curves(runs: Sequence[Run]) -> Figure:
    """Draw macro F1 on val and both losses by epoch; runs whose names differ in their seed only share a colour."""
    figure = _figure(1000, 380)
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
            scores.plot(epochs, [row["macro_f1"] for row in rows], label=label, **style)
            losses.plot(epochs, [row["val_loss"] for row in rows], **style)
            losses.plot(epochs, [row["train_loss"] for row in rows], color=color(place), ls="--", alpha=0.75)
    _by_epoch(scores, "macro F1 on val")
    scores.set_ylim(bottom=0)
    _legend_below(scores)
    _by_epoch(losses, "loss (nats)")
    # Before batch norm's averages have settled, val loss may be in the hundreds and would flatten all the rest.
    losses.set_ylim(0, 1.3 * max((row["train_loss"] for run in runs for row in run.metrics), default=1.0))
    losses.plot([], [], color=GREY, label="val")
    losses.plot([], [], color=GREY, ls="--", label="train (augmented photos)")
    _legend_below(losses)
    return figure


def comparison_figure(comparison: Comparison) -> Figure:
    """Draw macro F1 by epoch with the range of the seeds, and the scores with their intervals; 1200 x 500 px."""
    figure = _figure(1200, 500, scale=1.15)
    curves, end = figure.subplots(1, 2, width_ratios=(1.15, 1))
    for place, recipe in enumerate(comparison.recipes):
        _draw_curve(curves, recipe, color(place))
        _draw_scores(end, recipe, -place, color(place))
    _by_epoch(curves, f"macro F1 on {comparison.split}, centre crop")
    curves.set_ylim(bottom=0)
    if curves.lines:
        _legend_below(curves)
    curves.set_title("mean of the seeds and their range", fontsize=11, loc="left")
    num_images = len(comparison.members[0].labels)
    views = "centre crop" if comparison.tta == "none" else comparison.tta
    end.set_xlabel(f"macro F1 on {num_images:,} photos of {comparison.split}, {views}, {comparison.checkpoint}.pt")
    end.set_title("seeds, mean, 95 % interval over photos", fontsize=11, loc="left")
    recipes = comparison.recipes
    end.set_yticks([-place for place in range(len(recipes))], [_label(recipe) for recipe in recipes])
    end.tick_params(axis="y", length=0)
    end.spines[["top", "right", "left"]].set_visible(False)
    end.set_ylim(0.5 - len(recipes), 0.5)
    end.grid(axis="x", color="0.92")
    return figure


def _draw_curve(axes: Axes, recipe: Recipe, hue: str) -> None:
    length = min(len(member.rows) for member in recipe.members)
    if not length:  # imported: its epochs are unknown
        return
    table = np.array([[row["macro_f1"] for row in member.rows[:length]] for member in recipe.members])
    epochs = np.arange(1, length + 1)
    axes.plot(epochs, table.mean(0), color=hue, marker=_marker(epochs), ms=4, label=escaped(recipe.name))
    if len(table) > 1:
        axes.fill_between(epochs, table.min(0), table.max(0), color=hue, alpha=0.2, lw=0)


def _draw_scores(axes: Axes, recipe: Recipe, y: float, hue: str) -> None:
    axes.plot(recipe.interval, (y, y), color=hue, lw=3, alpha=0.45, solid_capstyle="butt")
    axes.plot(recipe.mean, y, "|", color=hue, ms=22, mew=3)
    axes.plot(recipe.macro_f1, [y - 0.16] * len(recipe.members), "o", color=hue, ms=7, alpha=0.75, mec="white")


def _label(recipe: Recipe) -> str:
    seeds = "1 seed" if len(recipe.members) == 1 else f"{len(recipe.members)} seeds"
    seeds = "imported" if recipe.members[0].is_imported else seeds
    return f"{escaped(recipe.name)}\n{spread(recipe.mean, recipe.sd)}\n{seeds}"


def class_counts_figure(index: Index) -> Figure:
    """Draw the numbers of training and val photos per class, falling; the commonest and the rarest are named."""
    figure = _figure(1000, 380)
    axes = figure.subplots()
    num_classes = len(index.class_names)
    train = np.bincount(index.splits["train"].label, minlength=num_classes)
    order = np.argsort(-train, kind="stable")
    axes.bar(range(num_classes), train[order], width=0.9, color=color(0), label="train")
    if "val" in index.splits:
        val = np.bincount(index.splits["val"].label, minlength=num_classes)
        axes.bar(range(num_classes), val[order], width=0.9, color=color(1), label="val")
    axes.axhline(np.median(train), color=GREY, ls=":", label=f"median of train, {np.median(train):g}")
    commonest, rarest = (f"{escaped(index.class_names[label])}, {train[label]}" for label in order[[0, -1]])
    axes.annotate(commonest, (0, train[order[0]]), (8, 0), textcoords="offset points", va="top")
    axes.annotate(
        rarest,
        (num_classes - 1, train[order[-1]]),
        (0, 30),
        textcoords="offset points",
        ha="right",
        arrowprops={"arrowstyle": "-", "color": GREY},
    )
    axes.set_xlabel(f"{num_classes} classes, by their number of training photos")
    axes.set_ylabel("photos")
    axes.set_xticks([])
    axes.margins(x=0.01)
    axes.legend(frameon=False)
    return figure


def contact_figure(index: Index, *, split: str = "train", count: int = 24, columns: int = 8, seed: int = 0) -> Figure:
    """Draw `count` photos with the names of their classes, no class twice while there are others."""
    photos = TFRecordDataset(index, split)
    order = np.random.default_rng(seed).permutation(len(photos))
    nth = np.zeros(len(photos), np.int64)  # a photo is the n-th of its class in this order
    for label in np.unique(photos.split.label):
        of_class = order[photos.split.label[order] == label]
        nth[of_class] = np.arange(len(of_class))
    rows = order[np.argsort(nth[order], kind="stable")][:count].tolist()
    return _sheet(photos, rows, [_name(photos, row) for row in rows], columns)


def mistakes_figure(result: PredictResult, index: Index, *, split: str = "val", count: int = 12) -> Figure:
    """Draw the most confident mistakes of a network: the class it says, how confident it is, and the true class."""
    found, photos = result.predictions, TFRecordDataset(index, split)
    assert found.labels is not None, f"{split} has no labels to be wrong about"
    said, sure = found.probabilities.argmax(1), found.probabilities.max(1)
    worst = confident_mistakes(found.probabilities, found.labels)[:count]
    place = {name: row for row, name in enumerate(photos.split.id.tolist())}
    rows = [place[name] for name in found.ids[worst].tolist()]
    titles = [f"{sure[w]:.0%} {photos.class_names[said[w]]}, is: {photos.class_names[found.labels[w]]}" for w in worst]
    return _sheet(photos, rows, titles, columns=6) if rows else _figure(400, 60)


def _sheet(photos: TFRecordDataset, rows: Sequence[int], titles: Sequence[str], columns: int) -> Figure:
    cell = 120 if columns > 6 else 150
    sheet = contact_sheet([photos.image(row) for row in rows], titles, columns=columns, cell=cell)
    figure = Figure(figsize=(sheet.shape[1] / 100, sheet.shape[0] / 100), dpi=100)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))  # not figimage: notebooks cut a figure to its axes
    axes.imshow(sheet, interpolation="nearest")
    axes.set_axis_off()
    return figure


def augmentation_figure(config: Config, index: Index, *, photos: Sequence[int] = (0, 1, 2), epochs: int = 6) -> Figure:
    """Draw photos of train as stored, and the crops that the first epochs of `config` cut from them."""
    size = config.input_size or index.size
    statistics = data_statistics(index, ("train",)).color if needs_statistics(config.augment) else None
    transform = TrainTransform(config.augment, size, statistics=statistics)
    dataset = TFRecordDataset(index, "train", transform, seed=config.train.seed)
    figure = _figure(130 * (epochs + 1), 132 * len(photos) + 24)
    table = figure.subplots(len(photos), epochs + 1, squeeze=False)
    for line, photo in zip(table, photos, strict=True):
        image = dataset.image(photo)
        _show(line[0], image, "as stored, with the crops")
        for epoch in range(epochs):
            rng = sample_generator(config.train.seed, epoch, photo)  # the box is what is drawn from it first
            left, top, width, height = transform.draw(image.shape[0], image.shape[1], rng)
            edge = color(epoch)
            line[0].add_patch(Rectangle((left - 0.5, top - 0.5), width, height, fill=False, ec=edge, lw=1.5))
            _show(line[epoch + 1], dataset[epoch, photo].image, f"epoch {epoch + 1}", edge=edge)
    for axes in table[1:].flat:
        axes.set_title("")
    return figure


def tta_figure(
    index: Index, *, size: int | None = None, crop_fraction: float = DEFAULT_CROP_FRACTION, photo: int = 0
) -> Figure:
    """Draw a test photo and the ten crops whose probabilities are averaged.

    Args:
        size: of the crops, in pixels; default: of the photos.
        crop_fraction: as in the config's augment.crop_fraction.
    """
    image = TFRecordDataset(index, "test").image(photo)
    views = EvalTransform(size or index.size, crop_fraction=crop_fraction, tta="ten-crop")(image)
    figure = _figure(900, 336)
    table = figure.subplot_mosaic([["photo", *VIEWS], ["photo", *(f"{name}, mirrored" for name in VIEWS)]],
                                  width_ratios=(2.1, 1, 1, 1, 1, 1))  # fmt: skip
    _show(table["photo"], image, f"test photo {photo}")
    for view, name in zip(views, [*VIEWS, *(f"{name}, mirrored" for name in VIEWS)], strict=True):
        _show(table[name], view, name.replace(", ", ",\n"))
    return figure


def confidence_figure(result: PredictResult) -> Figure:
    """Draw a network's confidence on labelled photos, and how often it is right then (Guo et al. 2017, section 2)."""
    found = result.predictions
    assert found.labels is not None, "the split has no labels"
    figure = _figure(1000, 380)
    counts, reliability = figure.subplots(1, 2)
    sure, right = found.probabilities.max(1), found.probabilities.argmax(1) == found.labels
    bins = np.linspace(0, 1, 21).tolist()
    counts.hist([sure[right], sure[~right]], bins=bins, stacked=True, color=PALETTE[:2], label=["right", "wrong"])
    counts.set_xlabel("probability of the class it says")
    counts.set_ylabel("photos")
    counts.legend(frameon=False)
    curve = calibration(found.probabilities, found.labels, num_bins=10)
    areas = 400 * np.array(curve.count) / max(curve.count) + 8
    reliability.plot((0, 1), (0, 1), color=GREY, ls=":", label="as sure as it is right")
    reliability.plot(curve.confidence, curve.accuracy, color=color(0), lw=1)
    reliability.scatter(curve.confidence, curve.accuracy, areas.tolist(), color=color(0), alpha=0.6)
    reliability.set_xlabel("mean probability of the class it says; area: photos")
    reliability.set_ylabel("share that is right")
    reliability.set_title(f"expected calibration error {curve.ece:.3f}", fontsize=11, loc="left")
    reliability.legend(frameon=False, loc="upper left")
    return figure


def _figure(width: int, height: int, scale: float = 1.0) -> Figure:
    """Return an empty figure of so many pixels; `scale` enlarges the text."""
    dpi = 100 * scale
    figure = Figure(figsize=(width / dpi, height / dpi), dpi=dpi, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _marker(epochs: Sized) -> str | None:
    """Return the marker of a curve: few points are marked, as a line of one point can't be seen."""
    return "o" if len(epochs) < 16 else None


def _name(photos: TFRecordDataset, row: int) -> str:
    label = int(photos.split.label[row])
    return photos.class_names[label] if label >= 0 else str(photos.split.id[row])


def _by_epoch(axes: Axes, what: str) -> None:
    axes.set_xlabel("epoch")
    axes.set_ylabel(what)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="0.92")
    axes.spines[["top", "right"]].set_visible(False)


def _legend_below(axes: Axes) -> None:
    """Draw the legend outside of the curves, in as many columns as there is room for."""
    longest = max((len(str(text)) for text in axes.get_legend_handles_labels()[1]), default=0)
    columns = max(1, WIDEST_LEGEND // (longest + 6))
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, -0.16), ncols=columns)


def _show(axes: Axes, image: np.ndarray, title: str, edge: str | None = None) -> None:
    axes.imshow(image, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, fontsize=9)
    for spine in axes.spines.values():
        spine.set(color=edge or "none", linewidth=2)
