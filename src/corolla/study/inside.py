"""Sentences on what was measured inside the networks of a study's first seed: lesions and gradients.

They claim nothing beyond that seed: their ranges are over the blocks of one network, or its moments.
"""

from collections.abc import Mapping

import pandas as pd

from corolla.study.records import Measured


def measured_sentences(measured: Mapping[str, Measured]) -> dict[str, list[str]]:
    """Return, by what was measured, a sentence for each network."""
    says = {"lesions": _of_lesions, "gradients": _of_gradients}
    return {
        name: [f"{run}, one seed: {says[name](of)}." for run, of in pd.DataFrame(each.rows).groupby("run", sort=False)]
        for name, each in measured.items()
    }


def _of_lesions(rows: pd.DataFrame) -> str:
    scores = {kind: of["macro_f1"] for kind, of in rows.groupby("kind")}
    whole, left = scores["whole"].iloc[0], scores.get("one")
    if left is None:
        return f"macro F1 {whole:.3f}, no block can be left out"
    kept = f"between {left.min():.3f} and {left.max():.3f}" if len(left) > 1 else f"{left.iloc[0]:.3f}"
    return f"a macro F1 of {whole:.3f} falls to {kept} without one block (each of {len(left)} in turn)"


def _of_gradients(rows: pd.DataFrame) -> str:
    moments = list(rows.groupby("moment", sort=False))
    said = [f"{_steepness(of)} at {'the ' * (name == 'start')}{name}" for name, of in (moments[0], *moments[1:][-1:])]
    return f"the norm of the first convolution's gradient, divided by the last one's, is {' and '.join(said)}"


def _steepness(rows: pd.DataFrame) -> str:
    """Return the norm of the first convolution's gradient divided by that of the last one."""
    norms = rows.query("kind == 'convolution'").sort_values("depth", kind="mergesort")["gradient_norm"].tolist()
    if len(norms) < 2 or not norms[0] or not norms[-1]:
        return "unknown"
    return f"{norms[0] / norms[-1]:.2g}"
