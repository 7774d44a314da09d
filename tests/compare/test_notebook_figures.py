"""Figures of notebooks and the README: they are drawn, whatever names contain, and show what they say."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from support import changed, write_data

from corolla.compare.compare import compare
from corolla.compare.notebook_figures import (
    augmentation_figure,
    class_counts_figure,
    comparison_figure,
    confidence_figure,
    contact_figure,
    learning_curves,
    mistakes_figure,
    tta_figure,
)
from corolla.config import Config
from corolla.data.index import Index, load_index
from corolla.evaluation.predict import predict
from corolla.plots.confusion import pixels
from corolla.plots.style import color
from corolla.runs.folder import Run


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    data = write_data(tmp_path_factory.mktemp("data") / "data", train=41)
    (data / "classes.txt").write_text("".join(f"$x^2$ {n} $$\n" for n in range(5)))
    return load_index(data, 32)


def drawn(figure: Figure) -> tuple[int, ...]:
    """The size in pixels, of a figure that is not blank."""
    image = pixels(figure)
    assert image.std() > 1
    return image.shape[:2]


def test_learning_curves_have_a_colour_a_recipe(make_run: Callable[..., Run]) -> None:
    runs = [make_run(f"{name}-seed{seed}", [0.1, 0.4], seed=seed) for name in ("plain", "$$res$") for seed in (0, 1)]
    figure = learning_curves(runs)
    assert drawn(figure) == (380, 1000)
    scores = figure.axes[0]
    assert [to_hex(line.get_color()).upper() for line in scores.lines] == [color(0), color(0), color(1), color(1)]
    assert [np.asarray(line.get_ydata()).tolist() for line in scores.lines] == [[0.1, 0.4]] * 4
    legend = scores.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["plain", r"\$\$res\$"]


def test_comparison_figure(copy_run: Callable[..., Path]) -> None:
    runs = [copy_run("$good$", right=right, seed=seed) for seed, right in enumerate((16, 15))]
    comparison = compare([*runs, copy_run("poor", right=2, lr=0.1)], workers=0, num_resamples=50)
    figure = comparison_figure(comparison)
    assert drawn(figure) == (500, 1200)
    first, second = (label.get_text().splitlines() for label in figure.axes[1].get_yticklabels())
    assert first[1:] == [f"{comparison.recipes[0].mean:.3f} ± {comparison.recipes[0].sd:.3f}", "2 seeds"]
    assert second == ["poor", f"{comparison.recipes[1].mean:.3f}", "1 seed"]


def test_class_counts(index: Index) -> None:
    figure = class_counts_figure(index)
    drawn(figure)
    heights = [bar.get_height() for bar in figure.axes[0].containers[0].patches]  # pyright: ignore[reportAttributeAccessIssue]
    assert heights == [9, 8, 8, 8, 8]


def test_photos_and_crops(index: Index, tiny_config: Config) -> None:
    assert drawn(contact_figure(index, count=6, columns=3))
    config = changed(tiny_config, "augment", crop="resnet", pca_noise=0.1)
    assert drawn(augmentation_figure(config, index, photos=(0, 3), epochs=2)) == (288, 390)
    assert drawn(tta_figure(index)) == (336, 900)


def test_predictions(copy_run: Callable[..., Path], tiny_data: Path) -> None:
    result = predict(copy_run("run", right=12), split="val", checkpoint="last", workers=0)
    assert drawn(confidence_figure(result)) == (380, 1000)
    index = load_index(tiny_data, 32)
    four = drawn(mistakes_figure(result, index))
    assert drawn(mistakes_figure(result, index, count=2))[1] < four[1]
    perfect = predict(copy_run("perfect", right=16), split="val", checkpoint="last", workers=0)
    assert pixels(mistakes_figure(perfect, index)).min() == 255, "a blank figure"
