"""The settings of a run that tell it from others."""

from typing import Any

from corolla.config import flatten
from corolla.config.experiments import EXPERIMENTS
from corolla.runs.folder import Run

MAIN = {"model": "model.name", "weights": "model.weights", "lr": "optim.lr", "epochs": "train.epochs"}
MAIN |= {"batch": "train.batch_size"}
"""Settings that everybody asks for first, under their short names."""


def telling_settings(run: Run) -> dict[str, Any]:
    """Return model, weights, lr, epochs and batch of a run, then what differs from its experiment's own settings.

    Of a run that no named experiment began all is compared with the defaults. Of an imported one little is known.
    """
    settings, experiment = flatten(run.config), run.environment.get("experiment", "")
    usual = flatten(EXPERIMENTS[experiment]()) if experiment in EXPERIMENTS else flatten(type(run.config)())
    found: dict[str, Any] = {"experiment": experiment} if experiment else {}
    found |= {short: settings[key] for short, key in MAIN.items()}
    if run.imported:  # what its config gives beside the network are defaults
        found |= {"weights": "imported", **dict.fromkeys(("lr", "epochs", "batch"), "unknown")}
    left_out = {*MAIN.values(), "size"} | ({"input_size"} if settings["input_size"] == settings["size"] else set())
    found["px"] = settings["input_size"] or settings["size"]
    return found | {key: value for key, value in settings.items() if value != usual[key] and key not in left_out}
