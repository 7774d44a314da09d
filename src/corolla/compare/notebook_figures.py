"""Figures for notebooks and the README: photos, crops and confidence; and those of curves, to be had from here too.

They are drawn without pyplot, as in plots/: every function returns a `matplotlib.figure.Figure`. All grounds are white,
so that they can be read on a dark page too.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from corolla.compare.curve_figures import blank_figure
from corolla.compare.curve_figures import comparison_figure as comparison_figure
from corolla.compare.curve_figures import learning_curves as learning_curves
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

VIEWS = ("centre", "top left", "top right", "bottom left", "bottom right")  # the order of EvalTransform


def class_counts_figure(index: Index) -> Figure:
    """Draw the numbers of training and val photos per class, falling; the commonest and the rarest are named."""
    figure = blank_figure(1000, 380)
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
    return _sheet(photos, rows, titles, columns=6) if rows else blank_figure(400, 60)


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
    figure = blank_figure(130 * (epochs + 1), 132 * len(photos) + 24)
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
    figure = blank_figure(900, 336)
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
    figure = blank_figure(1000, 380)
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


def _name(photos: TFRecordDataset, row: int) -> str:
    label = int(photos.split.label[row])
    return photos.class_names[label] if label >= 0 else str(photos.split.id[row])


def _show(axes: Axes, image: np.ndarray, title: str, edge: str | None = None) -> None:
    axes.imshow(image, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, fontsize=9)
    for spine in axes.spines.values():
        spine.set(color=edge or "none", linewidth=2)
