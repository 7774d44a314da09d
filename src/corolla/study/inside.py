"""Sentences on what was measured inside the networks of a study: lesions and gradients.

Of three seeds or more they have an interval over seeds, by Student's t; of fewer they claim nothing beyond
these networks.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from corolla.study.records import Measured

LEAST_SEEDS = 3
"""Seeds of each side from which on something is claimed."""


def measured_sentences(measured: Mapping[str, Measured]) -> dict[str, list[str]]:
    """Return, by what was measured, a sentence for each network."""
    says = {"lesions": _of_lesions, "gradients": _of_gradients}
    return {
        name: [
            f"{run}, {num_seeds(len(set(of['seed'])))}: {says[name](of)}."
            for run, of in pd.DataFrame(each.rows).groupby("run", sort=False)
        ]
        for name, each in measured.items()
    }


def mean_gradients(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the gradients of each network at the moments that all its seeds have: geometric means over seeds."""
    found: list[dict[str, Any]] = []
    for _, network in rows.groupby("run", sort=False):
        for name, moment in _moments(network):
            for _, layer in moment.groupby("depth"):
                norms = layer["gradient_norm"].to_numpy(np.float64, na_value=np.nan)
                mean = float(np.exp(np.log(norms).mean())) if (norms > 0).all() else 0.0
                found.append({**layer.iloc[0].to_dict(), "moment": name, "gradient_norm": mean})
    return pd.DataFrame(found)


def _moments(network: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the moments that all seeds of a network have; "last epoch", where each has another one."""
    seeds = {*network["seed"]}
    by_epoch = [(epoch, of) for epoch, of in network.groupby("epoch") if {*of["seed"]} == seeds]  # best.pt's differ
    found = [(f"epoch {epoch}" if epoch else "start", of) for epoch, of in by_epoch]
    last = [of.loc[of["epoch"] == max(of["epoch"])] for _, of in network.groupby("seed")]
    if len({*pd.concat(last)["epoch"]}) > 1:
        found.append(("last epoch", pd.concat(last)))
    return found


def _of_lesions(rows: pd.DataFrame) -> str:
    whole, left = rows.query("kind == 'whole'"), rows.query("kind == 'one'")
    score = np.mean(whole["macro_f1"].tolist())
    if not len(left):
        return f"macro F1 {score:.3f}, no block can be left out"
    means = [float(np.mean(of["macro_f1"].tolist())) for _, of in left.groupby("block")]
    kept = f"between {min(means):.3f} and {max(means):.3f}" if len(means) > 1 else f"{means[0]:.3f}"
    said = f"a macro F1 of {score:.3f}; {kept} without one block (each of {len(means)} in turn)"
    kept_of = {seed: np.mean(of["macro_f1"].tolist()) for seed, of in left.groupby("seed")}
    falls = [float(of["macro_f1"].tolist()[0] - kept_of[seed]) for seed, of in whole.groupby("seed") if seed in kept_of]
    if len(falls) < LEAST_SEEDS:
        return said
    low, high = _interval(falls)
    return f"{said}, on average over blocks less by {np.mean(falls):.3f} (95 % from {low:+.3f} to {high:+.3f})"


def _of_gradients(rows: pd.DataFrame) -> str:
    moments = _moments(rows)
    said = [
        f"{_steepness(of)} at {'the ' * (not name.startswith('epoch'))}{name}"
        for name, of in (moments[0], *moments[1:][-1:])
    ]
    return f"the norm of the first convolution's gradient, divided by the last one's, is {' and '.join(said)}"


def _steepness(rows: pd.DataFrame) -> str:
    """Return the norm of the first convolution's gradient divided by that of the last one: geometric mean, interval."""
    logs: list[float] = []
    for _, of in rows.query("kind == 'convolution'").groupby("seed"):
        norms: list[float] = of.sort_values("depth", kind="mergesort")["gradient_norm"].tolist()
        if len(norms) < 2 or not norms[0] > 0 or not norms[-1] > 0:
            return "unknown"
        logs.append(math.log(norms[0] / norms[-1]))
    if len(logs) < LEAST_SEEDS:
        return f"{np.exp(np.mean(logs)):.2g}" if logs else "unknown"
    low, high = np.exp(_interval(logs))
    return f"{np.exp(np.mean(logs)):.2g} (95 % from {low:.2g} to {high:.2g})"


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of a mean (Student's t)."""
    mean, half = float(np.mean(values)), float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return mean - half, mean + half


def num_seeds(number: int) -> str:
    """Return a number of seeds in words."""
    return "one seed" if number == 1 else f"{number} seeds"
