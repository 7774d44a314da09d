"""Figures of notebooks and the README: they are drawn, whatever names contain, and show what they say."""

from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from support import changed, write_data

from corolla.compare.notebook_figures import (
    augmentation_figure,
    class_counts_figure,
    confidence_figure,
    contact_figure,
    mistakes_figure,
    tta_figure,
)
from corolla.config import Config
from corolla.data.index import Index, load_index
from corolla.evaluation.predict import predict
from corolla.plots.confusion import pixels


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
