"""Figures for notebooks and the README: how runs went, what was compared, what the data and the crops look like.

Drawn without pyplot, like figures.py: every function gives a `matplotlib.figure.Figure`. All grounds are white, so that
they can be read on a dark page too; the colours are Okabe and Ito's, told apart by the colour-blind.
"""

import re
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from corolla.compare.compare import Comparison
from corolla.compare.recipes import Recipe
from corolla.compare.statistics import calibration
from corolla.config import Config
from corolla.data.dataset import TFRecordDataset
from corolla.data.index import Index
from corolla.data.statistics import data_statistics
from corolla.data.transforms.eval import EvalTransform
from corolla.data.transforms.train import TrainTransform, needs_statistics
from corolla.evaluation.predict import PredictResult
from corolla.plots.contact_sheet import contact_sheet
from corolla.random import sample_generator
from corolla.runs.folder import Run

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "0.45"
VIEWS = ("centre", "top left", "top right", "bottom left", "bottom right")  # the order of EvalTransform


def learning_curves(runs: Sequence[Run]) -> Figure:
    """Macro F1 on val and both losses by epoch; runs whose names differ in their seed only share a colour."""
    figure = _figure(1000, 380)
    scores, losses = figure.subplots(1, 2)
    names = list(dict.fromkeys(_recipe(run) for run in runs))
    seen: set[str] = set()
    for run in runs:
        name, rows = _recipe(run), run.metrics
        color, label = _color(names.index(name)), None if name in seen else name
        seen.add(name)
        epochs = [row["epoch"] for row in rows]
        marker = "o" if len(rows) < 16 else None
        scores.plot(epochs, [row["macro_f1"] for row in rows], color=color, marker=marker, ms=4, label=label)
        losses.plot(epochs, [row["val_loss"] for row in rows], color=color, marker=marker, ms=4)
        losses.plot(epochs, [row["train_loss"] for row in rows], color=color, ls="--", alpha=0.75)
    _by_epoch(scores, "macro F1 on val")
    scores.set_ylim(bottom=0)
    scores.legend(frameon=False)
    _by_epoch(losses, "loss (nats)")
    # Before batch norm's averages have settled, val loss may be in the hundreds and would flatten all the rest.
    losses.set_ylim(0, 1.3 * max(row["train_loss"] for run in runs for row in run.metrics))
    losses.plot([], [], color=GREY, label="val")
    losses.plot([], [], color=GREY, ls="--", label="train (augmented photos)")
    losses.legend(frameon=False)
    return figure


def comparison_figure(comparison: Comparison) -> Figure:
    """The way and the end, 1200 x 500 px: macro F1 by epoch with the range of the seeds, and the last epochs."""
    figure = _figure(1200, 500, scale=1.15)
    way, end = figure.subplots(1, 2, width_ratios=(1.15, 1))
    for place, recipe in enumerate(comparison.recipes):
        _draw_way(way, recipe, _color(place))
        _draw_end(end, recipe, -place, _color(place))
    _by_epoch(way, f"macro F1 on {comparison.split}, centre crop")
    way.set_ylim(bottom=0)
    way.legend(frameon=False, loc="lower right")
    way.set_title("mean of the seeds and their range", fontsize=11, loc="left")
    num_images = len(comparison.members[0].labels)
    views = "centre crop" if comparison.tta == "none" else comparison.tta
    end.set_xlabel(f"macro F1 on {num_images:,} photos of {comparison.split}, {views}, {comparison.checkpoint}.pt")
    end.set_title("seeds, mean, 95 % interval over photos", fontsize=11, loc="left")
    recipes = comparison.recipes
    end.set_yticks([-place for place in range(len(recipes))], [_end_label(recipe) for recipe in recipes])
    end.tick_params(axis="y", length=0)
    end.spines[["top", "right", "left"]].set_visible(False)
    end.set_ylim(0.5 - len(recipes), 0.5)
    end.grid(axis="x", color="0.92")
    return figure


def _draw_way(axes: Axes, recipe: Recipe, color: str) -> None:
    length = min(len(member.rows) for member in recipe.members)
    table = np.array([[row["macro_f1"] for row in member.rows[:length]] for member in recipe.members])
    epochs = np.arange(1, length + 1)
    axes.plot(epochs, table.mean(0), color=color, marker="o" if length < 16 else None, ms=4, label=recipe.name)
    if len(table) > 1:
        axes.fill_between(epochs, table.min(0), table.max(0), color=color, alpha=0.2, lw=0)


def _draw_end(axes: Axes, recipe: Recipe, y: float, color: str) -> None:
    axes.plot(recipe.interval, (y, y), color=color, lw=3, alpha=0.45, solid_capstyle="butt")
    axes.plot(recipe.mean, y, "|", color=color, ms=22, mew=3)
    axes.plot(recipe.macro_f1, [y - 0.16] * len(recipe.members), "o", color=color, ms=7, alpha=0.75, mec="white")


def _end_label(recipe: Recipe) -> str:
    seeds = "1 seed" if len(recipe.members) == 1 else f"{len(recipe.members)} seeds"
    spread = f" ± {recipe.sd:.3f}" if recipe.sd is not None else ""
    return f"{recipe.name}\n{recipe.mean:.3f}{spread}\n{seeds}"


def class_counts_figure(index: Index) -> Figure:
    """Training and val photos per class, by falling number; the commonest and the rarest are named."""
    figure = _figure(1000, 380)
    axes = figure.subplots()
    num_classes = len(index.class_names)
    train = np.bincount(index.splits["train"].label, minlength=num_classes)
    order = np.argsort(-train, kind="stable")
    axes.bar(range(num_classes), train[order], width=0.9, color=_color(0), label="train")
    if "val" in index.splits:
        val = np.bincount(index.splits["val"].label, minlength=num_classes)
        axes.bar(range(num_classes), val[order], width=0.9, color=_color(1), label="val")
    axes.axhline(np.median(train), color=GREY, ls=":", label=f"median of train, {np.median(train):g}")
    ends = [(place, f"{index.class_names[order[place]]}, {train[order[place]]}") for place in (0, num_classes - 1)]
    axes.annotate(ends[0][1], (0, train[order[0]]), (8, 0), textcoords="offset points", va="top")
    axes.annotate(
        ends[1][1],
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
    """`count` photos with the names of their classes, no class twice while there are others."""
    photos = TFRecordDataset(index, split)
    order = np.random.default_rng(seed).permutation(len(photos))
    nth = np.zeros(len(photos), np.int64)  # a photo is the n-th of its class in this order
    for label in np.unique(photos.split.label):
        of_class = order[photos.split.label[order] == label]
        nth[of_class] = np.arange(len(of_class))
    rows = order[np.argsort(nth[order], kind="stable")][:count].tolist()
    return _sheet(photos, rows, [_name(photos, row) for row in rows], columns)


def mistakes_figure(result: PredictResult, index: Index, *, split: str = "val", count: int = 12) -> Figure:
    """The photos that a network is surest about and wrong: what it says, how sure it is, and what it is."""
    found, photos = result.predictions, TFRecordDataset(index, split)
    assert found.labels is not None, f"{split} has no labels to be wrong about"
    said, sure = found.probabilities.argmax(1), found.probabilities.max(1)
    wrong = np.flatnonzero(said != found.labels)
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:count]
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
    """Photos of train as stored, with the crops that the first epochs of `config` cut from them, and these crops."""
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
            color = _color(epoch)
            line[0].add_patch(Rectangle((left - 0.5, top - 0.5), width, height, fill=False, ec=color, lw=1.5))
            _show(line[epoch + 1], dataset[epoch, photo].image, f"epoch {epoch + 1}", edge=color)
    for axes in table[1:].flat:
        axes.set_title("")
    return figure


def tta_figure(index: Index, *, size: int | None = None, crop_fraction: float = 0.875, photo: int = 0) -> Figure:
    """A test photo and the ten crops of which the probabilities are averaged.

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
    """How sure a network is of labelled photos, and how often it is right then (Guo et al. 2017, section 2)."""
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
    reliability.plot(curve.confidence, curve.accuracy, color=_color(0), lw=1)
    reliability.scatter(curve.confidence, curve.accuracy, areas.tolist(), color=_color(0), alpha=0.6)
    reliability.set_xlabel("mean probability of the class it says; area: photos")
    reliability.set_ylabel("share that is right")
    reliability.set_title(f"expected calibration error {curve.ece:.3f}", fontsize=11, loc="left")
    reliability.legend(frameon=False, loc="upper left")
    return figure


def _figure(width: int, height: int, scale: float = 1.0) -> Figure:
    """Of so many pixels; `scale` enlarges the text."""
    dpi = 100 * scale
    figure = Figure(figsize=(width / dpi, height / dpi), dpi=dpi, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _color(place: int) -> str:
    return PALETTE[place % len(PALETTE)]


def _recipe(run: Run) -> str:
    return re.sub(r"[-_]?seed[-_]?\d+", "", run.name) or run.name


def _name(photos: TFRecordDataset, row: int) -> str:
    label = int(photos.split.label[row])
    return photos.class_names[label] if label >= 0 else str(photos.split.id[row])


def _by_epoch(axes: Axes, what: str) -> None:
    axes.set_xlabel("epoch")
    axes.set_ylabel(what)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="0.92")
    axes.spines[["top", "right"]].set_visible(False)


def _show(axes: Axes, image: np.ndarray, title: str, edge: str | None = None) -> None:
    axes.imshow(image, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, fontsize=9)
    for spine in axes.spines.values():
        spine.set(color=edge or "none", linewidth=2)
