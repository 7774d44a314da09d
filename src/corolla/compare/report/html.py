"""The report of a comparison: one HTML file that opens from a disk, without a network, on a phone too."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bokeh.plotting import figure
from markupsafe import Markup

from corolla.compare.compare import Comparison
from corolla.compare.convergence import FRACTIONS, lr_drops
from corolla.compare.report.classes import ClassScores, class_scores, classes_view
from corolla.compare.report.ensembles import ensembles_view
from corolla.compare.report.photos import Photos, confusions, mistakes
from corolla.compare.report.plots import (
    as_item,
    bokeh_scripts,
    class_scatter,
    curves,
    forest,
    reliability,
    styles,
)
from corolla.compare.report.tables import (
    calibration_view,
    convergence_view,
    cost_view,
    differences_view,
    environment_view,
    pairs_view,
    recipes_view,
    runs_view,
    sooner_view,
)
from corolla.files import write_atomically
from corolla.plots.html import template_environment
from corolla.plots.limits import axis_end, beyond
from corolla.plots.style import color

SECTIONS = {
    **{"recipes": "Recipes", "differences": "Differences", "curves": "Learning curves", "convergence": "Convergence"},
    **{"cost": "Cost", "classes": "Class by class", "confusions": "Most confused classes"},
    **{"mistakes": "Most confident mistakes", "calibration": "Calibration", "ensembles": "Ensembles"},
    "reproduce": "How to reproduce",
}
"""Titles by their anchors; differences and ensembles are of several runs."""
CURVES = {"macro_f1": "val macro F1", "val_loss": "val loss", "train_loss": "train loss"}
CURVES |= {"top1": "val top-1", "train_top1": "train top-1"}
LOSSES = ("val_loss", "train_loss")


def write_report(
    comparison: Comparison,
    path: Path,
    *,
    data: Path | None = None,
    reproduce: Sequence[str] = (),
    cache_dir: Path | None = None,
) -> Path:
    """Write the report of a comparison to `path`.

    Args:
        data: the data folder the photos are taken from; default: the one the best run was trained with. Where its
            photos are not there (any more), the report has none and says why.
        reproduce: the commands to print under "How to reproduce".
        cache_dir: folder for the data's index; default: the user's cache.
    """
    best = comparison.recipes[0].members[0]
    photos = Photos(best, comparison.split, data=data, cache_dir=cache_dir)
    content = _content(comparison, photos)
    write_page(
        path,
        "report.html.j2",
        sections={anchor: title for anchor, title in SECTIONS.items() if content.get(anchor, True)},
        comparison=comparison,
        best=best,
        photos=photos,
        reproduce=reproduce,
        styles=styles(comparison),
        **content,
    )
    return path


def write_page(path: Path, template: str, *, plots: Mapping[str, figure], **content: Any) -> None:
    """Write a page with plots, by the ids of the elements that they are drawn into, whole or not at all."""
    environment = template_environment("corolla.compare.report")
    # Bokeh's JSON names a model where it first stands and refers to it after that: the order must stay
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    page = environment.get_template(template).render(
        plots={target: as_item(plot, target) for target, plot in plots.items()},
        library=Markup(bokeh_scripts()),
        **content,
    )
    write_atomically(path, page.encode())


def _content(comparison: Comparison, photos: Photos) -> dict[str, Any]:
    """Return the tables, plots and photos that the template places."""
    best, names = comparison.recipes[0].members[0], comparison.class_names
    classes = class_scores(comparison, photos.num_train)
    return {
        "recipes": recipes_view(comparison),
        "differences": differences_view(comparison),
        "runs": runs_view(comparison),
        "pairs": pairs_view(comparison),
        "has_drops": any(lr_drops(member) for member in comparison.members),
        "convergence": convergence_view(comparison),
        "sooner": sooner_view(comparison),
        "fractions": [f"{fraction:.0%}" for fraction in FRACTIONS],
        "cost": cost_view(comparison),
        "classes": classes,
        "class_table": classes_view(classes),
        "confusions": confusions(best, names, photos),
        "mistakes": mistakes(best, names, photos),
        "calibration": calibration_view(comparison),
        "ensembles": ensembles_view(comparison),
        "environment": environment_view(comparison),
        "plots": _plots(comparison, classes),
    }


def _plots(comparison: Comparison, classes: ClassScores) -> dict[str, figure]:
    """Return the plots by the id of the element they are drawn into."""
    figures = _curves(comparison)
    figures["plot-reliability"] = reliability(comparison)
    if comparison.differences:
        figures["plot-forest"] = forest(comparison)
    if len(classes.sides) == 2:
        figures["plot-classes"] = class_scatter(classes, [color(0), color(1)])
    return figures


def _curves(comparison: Comparison) -> dict[str, figure]:
    """Return the learning curves of what is known; both losses have one axis, which leaves wild epochs out."""
    rows = [row for member in comparison.members for row in member.rows]
    end, _ = axis_end([row["train_loss"] for row in rows], [row["val_loss"] for row in rows])
    figures = {}
    for key, title in CURVES.items():
        values = [row[key] for row in rows if row[key] is not None]
        if not values and key == "train_top1":  # of runs of earlier versions
            continue
        note, options = "", dict[str, Any]()
        if key in LOSSES and values:
            note, options = beyond(sum(not value <= end for value in values)), {"y_range": (0, end)}
        figures[f"plot-{key}"] = curves(comparison, key, title, note=note, **options)
    return figures
