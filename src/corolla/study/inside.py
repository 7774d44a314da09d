"""Sentences on what was measured inside the networks of a study's first seed: lesions and gradients.

They claim nothing beyond that seed: their ranges are over the blocks of one network, or its moments.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from corolla.study.records import Measured

Rows = Sequence[Mapping[str, Any]]


def measured_sentences(measured: Mapping[str, Measured]) -> dict[str, list[str]]:
    """Return, by what was measured, a sentence for each network."""
    says = {"lesions": _of_lesions, "gradients": _of_gradients}
    return {
        name: [f"{run}, one seed: {says[name](rows)}." for run, rows in _by(each.rows, "run").items()]
        for name, each in measured.items()
    }


def _of_lesions(rows: Rows) -> str:
    kinds = _by(rows, "kind")
    whole = kinds["whole"][0]["macro_f1"]
    left = [row["macro_f1"] for row in kinds.get("one", ())]
    if not left:
        return f"macro F1 {whole:.3f}, no block can be left out"
    kept = f"between {min(left):.3f} and {max(left):.3f}" if len(left) > 1 else f"{left[0]:.3f}"
    return f"a macro F1 of {whole:.3f} falls to {kept} without one block (each of {len(left)} in turn)"


def _of_gradients(rows: Rows) -> str:
    moments = list(_by(rows, "moment").items())
    said = [f"{_steepness(of)} at {'the ' * (name == 'start')}{name}" for name, of in (moments[0], *moments[1:][-1:])]
    return f"the norm of the first convolution's gradient, divided by the last one's, is {' and '.join(said)}"


def _steepness(rows: Rows) -> str:
    """Return the norm of the first convolution's gradient divided by that of the last one."""
    norms = [row["gradient_norm"] for row in sorted(rows, key=lambda row: row["depth"]) if row["kind"] == "convolution"]
    if len(norms) < 2 or not norms[0] or not norms[-1]:
        return "unknown"
    return f"{norms[0] / norms[-1]:.2g}"


def _by(rows: Rows, column: str) -> dict[Any, list[Mapping[str, Any]]]:
    found = dict[Any, list[Mapping[str, Any]]]()
    for row in rows:
        found.setdefault(row[column], []).append(row)
    return found
