"""The moments of a training at which a network is looked at: its start, and every checkpoint that is there."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from corolla.config import Config
from corolla.config.experiments import experiment_name, find_experiment
from corolla.config.keywords import with_keywords
from corolla.data.corrections import training_index
from corolla.data.index import Index, load_index
from corolla.errors import UserError
from corolla.models.factory import build_model
from corolla.models.pretrained import DEFAULT_CROP_FRACTION, Preprocessing, load_weights
from corolla.runs.checkpoint import ModelMeta, load_checkpoint, read_meta
from corolla.runs.corrections import trained_index
from corolla.runs.data import index_for
from corolla.runs.folder import open_run
from corolla.runs.imported import check_has_training
from corolla.runs.without_torch import read_without_tensors
from corolla.training.datasets import train_color


@dataclass(frozen=True, eq=False)
class Moment:
    """A moment of a training."""

    label: str
    epoch: int
    """Epochs that were done."""
    network: Callable[[], nn.Module]
    """Builds the network as it was."""


@dataclass(frozen=True, eq=False)
class Source:
    """A training, begun or not, and its moments in order."""

    name: str
    meta: ModelMeta
    index: Index
    """With the photos that are trained on."""
    moments: tuple[Moment, ...]
    notes: tuple[str, ...] = ()
    """Moments that are left out, a line each."""


def run_source(folder: Path, *, data: Path | None, cache_dir: Path | None) -> Source:
    """Return the start and the checkpoints of a run.

    Raises:
        UserError: it is imported, has no checkpoint yet, or its data are not there.
    """
    run = open_run(folder)
    check_has_training(run)
    found = dict[tuple[int, int], tuple[Path, list[str]]]()
    for path in (run.best, run.last, *sorted(run.folder.glob("epoch-*.pt"))):
        if path.exists():
            progress = read_without_tensors(path)["progress"]
            kept = found.setdefault((len(progress["rows"]), progress.get("step", 0)), (path, []))
            kept[1].extend([path.stem] * (path.stem in ("best", "last")))
    if not found:
        raise UserError(f"{run.folder}: there is no checkpoint yet; train the run's first epoch to its end")
    index = trained_index(run, index_for(run, data, cache_dir=cache_dir))
    meta = read_meta(load_checkpoint(min(found.values(), key=lambda kept: kept[0])[0]))
    if index.class_names != meta.class_names:
        raise UserError(f"{index.folder}: its classes are not those that {run.folder} was trained for")
    settings = replace(meta.config, cache_dir=cache_dir)
    meta = replace(meta, config=settings)
    start, note = _start(run.name, meta)
    later = [
        Moment(f"epoch {epoch} ({', '.join(names)})".removesuffix(" ()"), epoch, lambda path=path: _trained(path))
        for (epoch, _), (path, names) in sorted(found.items())
    ]
    return Source(run.name, meta, index, (*start, *later), note)


def experiment_source(
    name: str, *, data: Path | None, size: int | None, input_size: int | None, cache_dir: Path | None
) -> Source:
    """Return the start of an experiment.

    Raises:
        UserError: there is no such experiment, or no such data.
    """
    given = {"data": data, "size": size, "input_size": input_size, "cache_dir": cache_dir}
    config, _ = with_keywords(find_experiment(name), {key: value for key, value in given.items() if value is not None})
    index = load_index(config.data, config.size, config.cache_dir)
    config = replace(config, size=index.size, input_size=config.input_size or index.size)
    trained = training_index(index, config.train)
    colors = train_color(config, trained)
    own = Preprocessing(mean=colors.mean, std=colors.std, interpolation="bilinear", crop_fraction=DEFAULT_CROP_FRACTION)
    assert config.input_size is not None
    meta = ModelMeta(
        config=config,
        input_size=config.input_size,
        class_names=index.class_names,
        preprocessing=own,
        fingerprint={},
    )
    if config.model.weights != "none":
        meta = replace(meta, preprocessing=_fresh(meta)[1] or own)
    start, _ = _start(experiment_name(name), meta)
    return Source(experiment_name(name), meta, trained, start)


def _start(name: str, meta: ModelMeta) -> tuple[tuple[Moment, ...], tuple[str, ...]]:
    """Return the start of a training, or why it is left out: another run's checkpoint, or weights that are gone."""
    if meta.config.init_sha256:
        return (), (f"{name}: its start is left out, as it began with another run's checkpoint",)
    if meta.config.model.weights != "none":
        try:
            _fresh(meta)
        except UserError as error:
            return (), (f"{name}: its start is left out: {error}",)
    return (Moment("start", 0, lambda: _fresh(meta)[0]),), ()


def _fresh(meta: ModelMeta) -> tuple[nn.Module, Preprocessing | None]:
    """Return the network with which training begins, and the preprocessing that its weights bring."""
    config: Config = meta.config
    torch.manual_seed(config.train.seed)
    num_classes = len(meta.class_names)
    model = build_model(config.model, num_classes, meta.input_size)
    return model, load_weights(model, config.model, num_classes, meta.input_size, quiet=True)


def _trained(path: Path) -> nn.Module:
    """Return the network of a checkpoint with the weights that were trained, not their moving average."""
    content = load_checkpoint(path)
    meta = read_meta(content)
    model = build_model(meta.config.model, len(meta.class_names), meta.input_size)
    model.load_state_dict(content["model"])
    return model
