"""The tables of a study, as Markdown and CSV, and the numbers of its figures."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from corolla.compare.compare import Difference
from corolla.compare.formatting import p_value, spread
from corolla.study.file import BY_VIEWS
from corolla.study.records import Measured
from corolla.study.results import RowResult, StudyResults
from corolla.text_files import shell_words

TITLES = {
    **{"macro_f1": "macro F1", "top1": "top-1", "top5": "top-5", "train_top1": "train top-1"},
    **{"train_loss": "train loss", "val_loss": "val loss"},
    **{"epochs_to_plateau": "epochs to 95 % of own plateau", "lowest_loss": "epoch of lowest val loss"},
}
FIGURE_TITLES = {
    "scores": "Scores",
    "curves": "Learning curves",
    "lesions": "Lesions",
    "gradients": "Gradients by layer",
}
EPOCHS = ("epochs_to_plateau", "lowest_loss")


def markdown(results: StudyResults, figures: Sequence[str], heading: str = "#") -> str:
    """Return the page of a study: question, table, what may be said and what is not shown, and how it is made again.

    Args:
        figures: addresses of its figures, as seen from the page.
    """
    study = results.study
    titles, rows = as_text(results)
    lines = [f"{heading} {study.name}", "", study.question, ""]
    lines += [cells_line(titles), cells_line(["---"] * len(titles)), *map(cells_line, rows), ""]
    lines += [f"- {sentence}" for sentence in results.sentences]
    lines += [""] * bool(results.sentences)
    lines += [f"Not shown: {results.limits}", ""] if results.limits else []
    lines += [f"In the source: {study.source}", ""] if study.source else []
    lines += [line for each in figures for line in (f"![{FIGURE_TITLES[PurePosixPath(each).stem]}]({each})", "")]
    return "\n".join([*lines, f"    {results.command}", *_not_run(results), ""])


def _not_run(results: StudyResults) -> list[str]:
    """Return the command that makes the rows that were not run, where some were."""
    missing = [row.name for row in results.rows if not row.records and not row.is_vote]
    if not missing or len(missing) == len(results.rows) or results.study.made_by:
        return []
    return ["", "Not run, of it:", "", f"    {results.command} {shell_words('--only', *missing)}"]


def as_text(results: StudyResults) -> tuple[list[str], list[list[str]]]:
    """Return the table as people read it: its titles, and a row of cells per row."""
    titles = ["row", "seeds", *(_title(column, views) for column, views in _columns(results))]
    titles += ["against", "difference", "95 %", "p (Holm)"] if _has_one_each(results) else []
    return titles, [_cells(row, results) for row in results.rows]


def as_csv(results: StudyResults) -> bytes:
    """Return the table with its numbers to four digits: a line per row."""
    lines: list[dict[str, Any]] = []
    for row in results.rows:
        line: dict[str, Any] = {"row": row.name, "seeds": " ".join(map(str, row.seeds))}
        for column, views in _columns(results):
            scores = row.scores(column, views)
            title = _title(column, views)
            line |= {title: _digits(np.mean(scores)) if scores else "", f"{title} sd": _digits(_sd(scores))}
        if (difference := _of(results, row)) is not None:
            effect = difference.effect
            line |= {"against": difference.second, "difference": _digits(effect.value)}
            line |= {"95 % low": _digits(effect.low), "95 % high": _digits(effect.high)}
            line["p (Holm)"] = _digits(difference.p_adjusted)
        lines.append(line)
    return _csv(pd.DataFrame(lines))


def differences_csv(results: StudyResults) -> bytes:
    """Return every difference, with the first kind of views: a line each."""
    lines = [
        {
            "row": each.first,
            "against": each.second,
            "score": each.score,
            "difference": _digits(each.effect.value),
            "95 % low": _digits(each.effect.low),
            "95 % high": _digits(each.effect.high),
            "p": _digits(each.effect.p),
            "p (Holm)": _digits(each.p_adjusted),
            "seeds": min(each.num_seeds),
        }
        for each in (*results.differences, *results.train_differences)
    ]
    return _csv(pd.DataFrame(lines))


def scores_csv(results: StudyResults) -> bytes:
    """Return the scores of every run, by views: the numbers of the figure of scores."""
    lines = [
        {
            "row": row.name,
            "seed": record.seed,
            "views": views,
            **{column: _digits(row.score(record, column, views)) for column in BY_VIEWS},
        }
        for row in results.rows
        for record in row.records
        for views in results.study.views
    ]
    return _csv(pd.DataFrame(lines))


def curves_csv(results: StudyResults) -> bytes:
    """Return the epochs of every run: the numbers of the figure of curves."""
    lines = [
        {"row": row.name, "seed": record.seed, **epoch}
        for row in results.rows
        for record in row.records
        for epoch in record.epochs
    ]
    return _csv(pd.DataFrame(lines))


def measured_csv(measured: Measured) -> bytes:
    """Return a table that was measured of the networks: the numbers of its figure."""
    return _csv(pd.DataFrame(measured.rows))


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n").encode() if len(table.columns) else b""


def _columns(results: StudyResults) -> list[tuple[str, str]]:
    """Return the columns of scores, each with its views: those of training have none of their own."""
    study = results.study
    by_views = [(column, views) for views in study.views for column in study.table if column in BY_VIEWS]
    return by_views + [(column, study.views[0]) for column in study.table if column not in BY_VIEWS]


def _title(column: str, views: str) -> str:
    return TITLES[column] if views == "none" or column not in BY_VIEWS else f"{TITLES[column]}, {views}"


def _cells(row: RowResult, results: StudyResults) -> list[str]:
    cells = [row.name, ", ".join(map(str, row.seeds)) or "not run"]
    for column, views in _columns(results):
        scores = row.scores(column, views)
        cells.append(_spread(scores, column))
    if not _has_one_each(results):
        return cells
    difference = _of(results, row)
    if difference is None:
        return [*cells, *[""] * 4]
    effect = difference.effect
    interval = f"{effect.low:+.3f} to {effect.high:+.3f}"
    p = p_value(difference.p_adjusted).removeprefix("= ")
    return [*cells, difference.second, f"{effect.value:+.3f}", interval, p]


def _spread(scores: Sequence[float], column: str) -> str:
    """Return the mean of scores with their standard deviation; of epochs to a tenth."""
    if not scores:
        return ""
    mean, sd = float(np.mean(scores)), _sd(scores)
    if column not in EPOCHS:
        return spread(mean, sd)
    return f"{mean:.1f}" if sd is None else f"{mean:.1f} ± {sd:.1f}"


def _has_one_each(results: StudyResults) -> bool:
    """Return whether a row has one difference at most, which then stands in its line."""
    names = {row.name for row in results.rows}
    firsts = [each.first for each in results.differences if each.first in names]  # others are of other views
    return bool(firsts) and results.study.compare != "all" and len({*firsts}) == len(firsts)


def _of(results: StudyResults, row: RowResult) -> Difference | None:
    """Return the difference of a row to the one it is compared with; None where there is none, or are several."""
    own = [each for each in results.differences if each.first == row.name] if _has_one_each(results) else []
    return own[0] if own else None


def _sd(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _digits(value: float | np.floating | None) -> str:
    return "" if value is None else f"{value:.4f}"


def cells_line(cells: Sequence[str]) -> str:
    """Return a line of a table in Markdown."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
