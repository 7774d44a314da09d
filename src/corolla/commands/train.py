"""corolla train: a run folder from TFRecords."""

import inspect
import re
import sys
from collections.abc import Sequence

import tyro

from corolla.commands.common import next_command
from corolla.config import Config, keys
from corolla.config.experiments import EXPERIMENTS, experiment_name, find_experiment
from corolla.errors import DONE, STOPPED, USER_ERROR


def train(arguments: Sequence[str]) -> int:
    """Train an experiment, a TOML file or a run's config.json; the same command again goes on where it stopped."""
    listing = "\n".join(f"  {name:20} {inspect.getdoc(make)}".partition("\n")[0] for name, make in EXPERIMENTS.items())
    if not arguments or arguments[0].startswith("-"):
        asked = bool({"-h", "--help"} & set(arguments))
        print(f"usage: corolla train EXPERIMENT [OPTIONS]\n\nexperiments, or a .toml or .json file:\n{listing}\n")
        if asked:
            tyro.cli(Config, prog="corolla train EXPERIMENT", args=["--help"])
        print("corolla train EXPERIMENT --help lists the options with that experiment's values", file=sys.stderr)
        return USER_ERROR
    name, *options = arguments
    base = find_experiment(name)
    description = EXPERIMENTS[name].__doc__ if name in EXPERIMENTS else f"The settings of {name}."
    config = tyro.cli(Config, prog=f"corolla train {name}", default=base, description=description, args=options)

    from corolla.training.train import train as train_run

    run = train_run(config, experiment=experiment_name(name), explicit=_typed(options))
    if run.state != "done":
        return STOPPED
    print(f"{run.folder}: best.pt, last.pt, metrics.jsonl; curves: tensorboard --logdir {run.folder.parent}")
    print(next_command("predict", run.folder, "--split", "test", "--tta", "ten-crop"))
    return DONE


run = train
"""It parses its arguments by itself: the experiment decides the defaults of the options."""


def _typed(options: Sequence[str]) -> set[str]:
    """Return the keys of the settings among the words of the command line."""
    names = {word.partition("=")[0].removeprefix("--").replace("-", "_") for word in options if word.startswith("--")}
    names |= {re.sub(r"(^|\.)no_", r"\1", name) for name in names}
    return names & set(keys())
