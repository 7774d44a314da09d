"""A run as a notebook shows it: its curve as an SVG, its last and its best epoch as a table."""

import html
from typing import Any

from corolla.plots.style import GREY, PALETTE
from corolla.runs.length import best_score

WIDTH, HEIGHT, MARGIN = 420, 140, 28
"""Size of the curve in pixels, and the room that its labels take."""
SCORES = ("train_loss", "val_loss", "train_top1", "top1", "top5", "macro_f1")
COLUMNS = {"epoch": "d", **dict.fromkeys(SCORES, ".4f")}


def run_html(title: str, rows: list[dict[str, Any]]) -> str:
    """Return a title, the curve of macro F1 on val by epoch, and the scores of the last and the best epoch."""
    heading = f"<p>{html.escape(title)}</p>"
    if not rows:
        return heading
    best = best_score(rows)
    if best is None:  # nothing was validated
        return heading + _scores({"last": rows[-1]})
    return (
        heading
        + _curve([row for row in rows if row["macro_f1"] is not None])
        + _scores({"last": rows[-1], "best": best})
    )


def _curve(rows: list[dict[str, Any]]) -> str:
    """Return the curve; its axes are drawn from 0 to 1 and from the first epoch to the last."""
    right, bottom = WIDTH - MARGIN, HEIGHT - MARGIN
    first, last = rows[0]["epoch"], rows[-1]["epoch"]
    across = (right - MARGIN) / max(1, last - first)
    places = [
        (MARGIN + across * (row["epoch"] - first), bottom - (bottom - 8) * min(1.0, max(0.0, row["macro_f1"])))
        for row in rows
    ]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    x, y = places[-1]
    label = f"macro F1 on val by epoch, {rows[0]['macro_f1']:.3f} to {rows[-1]['macro_f1']:.3f}"
    text = f'<text font-size="11" fill="{GREY}"'
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{label}" xmlns="http://www.w3.org/2000/svg">'
        f'<path d="M{MARGIN},8V{bottom}H{right}" fill="none" stroke="{GREY}"/>'
        f'<polyline points="{points}" fill="none" stroke="{PALETTE[0]}" stroke-width="2"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{PALETTE[0]}"/>'
        f'{text} x="{MARGIN - 4}" y="14" text-anchor="end">1</text>'
        f'{text} x="{MARGIN - 4}" y="{bottom}" text-anchor="end">0</text>'
        f'{text} x="{MARGIN}" y="{HEIGHT - 10}">{first}</text>'
        f'{text} x="{right}" y="{HEIGHT - 10}" text-anchor="end">{last}</text>'
        f'{text} x="{MARGIN + 6}" y="18">macro F1 on val, by epoch</text></svg>'
    )


def _scores(rows: dict[str, dict[str, Any]]) -> str:
    head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in COLUMNS)
    body = "".join(
        f"<tr><th>{which}</th>{''.join(_cell(row.get(name), form) for name, form in COLUMNS.items())}</tr>"
        for which, row in rows.items()
    )
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: float | None, form: str) -> str:
    return f"<td>{'–' if value is None else format(value, form)}</td>"
