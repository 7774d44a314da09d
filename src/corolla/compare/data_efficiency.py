"""Data efficiency: experiments trained on fractions of the training photos, a curve each."""

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from corolla.config import Config
from corolla.config.experiments import find_experiment
from corolla.data.corrections import training_index
from corolla.data.index import Index, load_index
from corolla.errors import Failure, UserError
from corolla.plots.style import color, escaped
from corolla.runs.folder import Run
from corolla.runs.imported import check_has_training
from corolla.runs.without_torch import read_without_tensors
from corolla.training.train import train


def data_efficiency(
    experiments: Sequence[str],
    fractions: Sequence[float],
    *,
    seeds: Sequence[int] = (0,),
    changes: Config | None = None,
    epochs: int | None = None,
) -> pd.DataFrame:
    """Train every experiment on every fraction of the data with every seed; score the last epochs on the whole of val.

    Runs that are there already are not trained again, so a call that was broken off goes on.

    Args:
        experiments: names or files, as `corolla train` takes them.
        fractions: of each class's training photos, above 0 and up to 1.
        changes: where data, runs, device and the other runtime_only fields are taken from.
        epochs: in place of the experiments' own; each is a pass over the fraction.

    Returns:
        A row per run: experiment, share, seed, photos, macro_f1, top1.

    Raises:
        UserError: a fraction out of range, a run that is there was trained with other data, or what `train` refuses.
        Failure: a training was stopped.
    """
    if not experiments:
        raise UserError("--fractions: name the experiments to train, such as lite0_scratch lite0_pretrained")
    if not all(0 < fraction <= 1 for fraction in fractions):
        raise UserError(f"--fractions {' '.join(map(str, fractions))}: fractions above 0 and up to 1 are expected")
    places = changes or Config()
    rows, wanted = [], list(itertools.product(experiments, sorted(fractions), seeds))
    for name, fraction, seed in wanted:  # before the first one is trained, which may take hours
        config = _config(name, fraction, seed, places, epochs)
        _check_data(Run(config.runs / f"{_label(name, fraction)}-seed{seed}"), _index(config))
    for name, fraction, seed in wanted:
        config = _config(name, fraction, seed, places, epochs)
        run = train(config, experiment=_label(name, fraction))
        if run.state != "done":
            raise Failure(f"{run.folder}: was stopped; the same command goes on")
        last, photos = run.metrics[-1], len(_index(config).splits["train"])
        rows.append((Path(name).stem, fraction, seed, photos, last["macro_f1"], last["top1"]))
    return pd.DataFrame(rows, columns=["experiment", "share", "seed", "photos", "macro_f1", "top1"])


def _label(name: str, fraction: float) -> str:
    """Return what the runs of an experiment on a fraction of the photos are called, but for their seed."""
    return f"{Path(name).stem}-share{fraction:g}"


def _index(config: Config) -> Index:
    """Return the photos that a run is trained with."""
    return training_index(
        load_index(config.data, config.size, config.cache_dir), config.train, cache_dir=config.cache_dir
    )


def _check_data(run: Run, index: Index) -> None:
    """Check that a run that is there already was trained with the photos and classes that the data folder holds now.

    Raises:
        UserError: it was not; the scores of one curve would be of several data sets.
    """
    check_has_training(run)
    if not run.last.exists():
        return
    trained = read_without_tensors(run.last)
    now = {split: fingerprint for split, fingerprint in index.fingerprint.items() if split != "test"}
    if trained["fingerprint"] != now or tuple(trained["class_names"]) != index.class_names:
        raise UserError(
            f"{run.folder}: was trained with other data than {index.folder} holds now: move this folder away, and the "
            "same command trains it again"
        )


def _config(name: str, fraction: float, seed: int, places: Config, epochs: int | None) -> Config:
    base = find_experiment(name)
    if base.train.on != "train":
        raise UserError(f"{name}: learns from val as well (train.on), so it has no scores that would make a curve")
    settings = dataclasses.replace(base.train, share=fraction, seed=seed, epochs=epochs or base.train.epochs)
    return dataclasses.replace(
        base,
        data=places.data,
        size=places.size or base.size,
        input_size=places.input_size or base.input_size,
        runs=places.runs,
        device=places.device,
        cache_dir=places.cache_dir,
        train=settings,
        pipeline=dataclasses.replace(base.pipeline, workers=places.pipeline.workers),
    )


def data_efficiency_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row per fraction: mean (and, of several seeds, sd) of macro F1 of each experiment."""
    grouped = table.groupby(["share", "experiment"])["macro_f1"]
    summary = pd.DataFrame({"mean": grouped.mean(), "sd": grouped.std()}).unstack("experiment")
    summary.columns = [f"{experiment} {what}".removesuffix(" mean") for what, experiment in summary.columns]
    return summary.dropna(axis=1, how="all").reset_index()


def data_efficiency_figure(table: pd.DataFrame) -> Figure:
    """Draw macro F1 over the number of training photos (log scale): a curve per experiment, a point per seed."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for place, (name, rows) in enumerate(table.groupby("experiment", sort=False)):
        photos, scores = rows["photos"].to_numpy(), rows["macro_f1"].to_numpy()
        counts = np.unique(photos)
        axes.plot(
            counts,
            [scores[photos == count].mean() for count in counts],
            "-",
            color=color(place),
            label=escaped(str(name)),
        )
        axes.plot(photos, scores, "o", color=color(place), markersize=4, alpha=0.7)
    axes.set_xscale("log")
    axes.set_xlabel("training photos")
    axes.set_ylabel("macro F1 on val, last epoch")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure
