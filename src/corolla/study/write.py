"""Write what a study shows: tables, figures and the page, into a folder of its own."""

import base64
from pathlib import Path

from corolla.files import write_atomically
from corolla.plots.html import template_environment
from corolla.study.figures import figure_png, figures_of
from corolla.study.results import StudyResults
from corolla.study.tables import (
    FIGURE_TITLES,
    as_csv,
    as_text,
    curves_csv,
    differences_csv,
    markdown,
    measured_csv,
    scores_csv,
)


def write_study(results: StudyResults, folder: Path) -> list[Path]:
    """Write the tables, figures and page of a study into `folder`, and return their paths."""
    drawn = {name: figure_png(results, name) for name in figures_of(results)}
    content = {
        "table.md": markdown(results, [f"{name}.png" for name in drawn]).encode(),
        "table.csv": as_csv(results),
        "differences.csv": differences_csv(results),
        "scores.csv": scores_csv(results),
        "curves.csv": curves_csv(results),
        **{f"{name}.csv": measured_csv(each) for name, each in results.measured.items()},
        **{f"{name}.png": png for name, png in drawn.items()},
        "study.html": _page(results, drawn).encode(),
    }
    for name, each in content.items():
        write_atomically(folder / name, each)
    return [folder / name for name in content]


def _page(results: StudyResults, drawn: dict[str, bytes]) -> str:
    titles, rows = as_text(results)
    return (
        template_environment("corolla.study")
        .get_template("study.html.j2")
        .render(
            study=results.study,
            limits=results.limits,
            titles=titles,
            rows=rows,
            sentences=results.sentences,
            figures={name: f"data:image/png;base64,{base64.b64encode(png).decode()}" for name, png in drawn.items()},
            sections={
                "table": "Table",
                **{name: FIGURE_TITLES[name] for name in drawn},
                "reproduce": "How to make it again",
            },
            reproduce=[results.command],
        )
    )
