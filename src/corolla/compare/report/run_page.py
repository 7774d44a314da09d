"""`corolla report`: one run as an HTML file in its own folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corolla.compare.compare import Comparison, compare
from corolla.compare.readme_table import command_of
from corolla.compare.report.first_batch import first_batch
from corolla.compare.report.html import write_page
from corolla.compare.report.photos import Photos, confusions, mistakes
from corolla.compare.report.plots import curve
from corolla.compare.report.run_tables import class_view, epochs_view, scores_view, settings_view
from corolla.compare.report.tables import cost_view, environment_view
from corolla.compare.statistics import confident_mistakes
from corolla.paths import AnyPath, as_path
from corolla.plots.limits import axis_end
from corolla.plots.style import GREY, PALETTE
from corolla.results import Result
from corolla.runs.folder import CheckpointName, Run, data_of, open_run
from corolla.text_files import shell_words

if TYPE_CHECKING:
    import pandas as pd
    from bokeh.plotting import figure

SECTIONS = {
    **{"scores": "Scores", "curves": "Learning curves", "confusions": "Most confused classes"},
    **{"mistakes": "Most confident mistakes", "classes": "Class by class", "batch": "The first batch"},
    **{"settings": "Settings", "cost": "Cost", "reproduce": "How to reproduce"},
}
STYLES = {"val": (PALETTE[0], ()), "training (augmented photos)": (PALETTE[1], (6, 3))}
Rows = list[dict[str, Any]]
"""Rows of metrics.jsonl."""


@dataclass(frozen=True, repr=False)
class RunReport(Result):
    """The report of a run, and what it tells of: predictions of val by its last or its best epoch's weights."""

    path: Path
    comparison: Comparison
    """The comparison that has this run alone."""

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def summary(self) -> str:
        """The file and the score."""
        (recipe,) = self.comparison.recipes
        return f"{self.path}: {recipe.name}, macro F1 on val {recipe.mean:.4f}"

    def to_pandas(self) -> "pd.DataFrame":
        """Return the scores, as `compare` gives them."""
        return self.comparison.to_pandas()


def report(
    run: AnyPath,
    *,
    out: AnyPath | None = None,
    data: AnyPath | None = None,
    size: int | None = None,
    checkpoint: CheckpointName = "last",
    cache_dir: AnyPath | None = None,
    device: str = "auto",
    workers: int | None = None,
) -> RunReport:
    """Write one HTML file about a run: scores, curves, confusions and confident mistakes with photos, class by class.

    It is of the last epoch's weights on val, or of the best one's, which is predicted where it was not yet.

    Args:
        run: the run's folder, or the `Run`.
        out: default: report.html in the run's folder.
        data: the data folder; default: the one that the run was trained with.
        size: which tfrecords-jpeg-SxS; default: the one that the run was trained with.
        checkpoint: last, or best: chosen on val, so its scores there are optimistic.
        cache_dir: folder for the index; default: the user's cache.
        device: auto, cpu, cuda, cuda:1, mps.
        workers: decoding processes; default: by the number of cores.

    Raises:
        UserError: no such run, no epoch is finished, or its data are not there.
    """
    opened, data, cache_dir = open_run(run), as_path(data), as_path(cache_dir)
    places: dict[str, Any] = {"data": data, "size": size, "cache_dir": cache_dir}
    comparison = compare(opened, tta="none", checkpoint=checkpoint, device=device, workers=workers, **places)
    path = as_path(out) or opened.folder / "report.html"
    (member,) = comparison.members
    photos = Photos(member, comparison.split, **places)
    write_page(
        path,
        "run.html.j2",
        sections={anchor: title for anchor, title in SECTIONS.items() if member.rows or anchor != "curves"},
        run=opened,
        member=member,
        checkpoint=checkpoint,
        cautions=comparison.recipes[0].cautions,
        styles=STYLES,
        photos=photos,
        scores=scores_view(comparison),
        epochs=epochs_view(member),
        is_cut=_loss_end(member.rows) is not None,
        knows_train=any(row["train_top1"] is not None for row in member.rows),
        confusions=confusions(member, comparison.class_names, photos),
        mistakes=mistakes(member, comparison.class_names, photos),
        num_mistakes=len(confident_mistakes(member.probabilities, member.labels)),
        classes=class_view(member, comparison.class_names, photos.num_train),
        batch=first_batch(opened, data=data, cache_dir=cache_dir),
        settings=settings_view(opened),
        cost=cost_view(comparison),
        environment=environment_view(comparison),
        reproduce=[_command(opened, data)],
        plots=_plots(member.rows),
    )
    return RunReport(path, comparison)


def _loss_end(rows: Rows) -> float | None:
    """Return where the loss's axis ends, if a point is beyond it."""
    end, num_beyond = axis_end([row["train_loss"] for row in rows], [row["val_loss"] for row in rows])
    return end if num_beyond else None


def _plots(rows: Rows) -> "dict[str, figure]":
    if not rows:
        return {}
    val, training = STYLES.values()
    end, highest, best = _loss_end(rows), max(row["lr"] for row in rows), max(row["macro_f1"] for row in rows)
    cut: dict[str, Any] = {} if end is None else {"y_range": (0, end)}
    return {
        "plot-macro_f1": curve("macro F1 on val", [("val", rows, "macro_f1", val)], y_range=(0, 1.05 * best or 1.0)),
        "plot-loss": curve("loss", [("val", rows, "val_loss", val), ("training", rows, "train_loss", training)], **cut),
        "plot-accuracy": curve(
            "top-1 accuracy", [("val", rows, "top1", val), ("training", rows, "train_top1", training)]
        ),
        "plot-lr": curve(
            "learning rate", [("", rows, "lr", (GREY, ()))], form="0.[000000]", y_range=(0, 1.05 * highest or 1.0)
        ),
    }


def _command(run: Run, data: Path | None) -> str:
    """Return the command that trains this very run again, into another folder."""
    if run.imported:
        return command_of(run)
    again = ["--train.seed", run.config.train.seed, "--data", data or data_of(run), "--runs", "again"]
    return f"{command_of(run)} {shell_words(*again)}"
