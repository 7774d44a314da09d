"""`corolla gradients`: the size of the gradient in every layer of a network, at its start and along its training.

He et al. 2015 (section 4.1) argue that it is not vanishing gradients which hold deep plain networks back, as batch norm
keeps them healthy; Glorot and Bengio 2010 (section 4.2) and He et al. 2015, "Delving deep" (section 2.2), look at
initialisations by it.
"""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from corolla.anatomy.arguments import checked_words
from corolla.errors import UserError
from corolla.paths import AnyPath, AnyPaths, as_path
from corolla.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from corolla.anatomy.moments import Source

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LayerGradient:
    """The gradient of a layer's weights at one moment of a training."""

    run: str
    network: str
    moment: str
    """start, or the checkpoint with its epoch: epoch 3 (best)."""
    epoch: int
    """Epochs that were done; 0 at the start."""
    depth: int
    """Number of the layer, from 1, in the order in which they compute."""
    layer: str
    """Its name: layer2.0.conv1."""
    kind: Literal["convolution", "linear"]
    gradient_norm: float
    """Euclidean norm of the gradient of the training loss, the mean over the batches."""
    weight_norm: float
    """Euclidean norm of the weights."""


@dataclass(frozen=True, repr=False)
class Gradients(Result):
    """Norms of the gradients of networks, layer by layer."""

    rows: tuple[LayerGradient, ...]
    batches: int
    batch_size: int

    @property
    def sentences(self) -> list[str]:
        """A line for each network and moment: the norm in the first and in the last convolution."""
        found = dict[tuple[str, str], list[LayerGradient]]()
        for row in self.rows:
            if row.kind == "convolution" or not any(each.kind == "convolution" for each in self.rows):
                found.setdefault((row.run, row.moment), []).append(row)
        lines = []
        for (run, moment), rows in found.items():
            lines.append(
                f"{run}, {moment}: norm of the gradient {rows[0].gradient_norm:.3g} in the first {rows[0].kind} layer, "
                f"{rows[-1].gradient_norm:.3g} in the last ({rows[-1].layer})"
            )
        return lines

    @property
    def summary(self) -> str:
        """All of `sentences`."""
        return "; ".join(self.sentences)

    def to_pandas(self) -> "pd.DataFrame":
        """Return a row a layer and moment: run, network, moment, epoch, depth, layer, kind and both norms."""
        import pandas as pd

        return pd.DataFrame([asdict(row) for row in self.rows], columns=list(LayerGradient.__annotations__))

    def figure(self) -> "Figure":
        """Draw the norms on a logarithmic axis, layers in order, a panel a network, a line a moment."""
        from corolla.anatomy.figures import gradient_figure

        return gradient_figure(self.to_pandas())


def gradients(
    runs: AnyPaths,
    *,
    batches: int = 4,
    batch_size: int = 64,
    data: AnyPath | None = None,
    size: int | None = None,
    input_size: int | None = None,
    cache_dir: AnyPath | None = None,
    device: str = "auto",
    workers: int | None = None,
) -> Gradients:
    """Measure the norm of the loss's gradient in each convolution and linear layer, in the order in which they compute.

    Of a run at its start (the weights that its settings and seed give) and at every checkpoint in its folder: best.pt,
    last.pt and those of --train.keep-every. Of an experiment at its start. The loss is that of training on the first
    photos that the run was shown, augmented as there, with batch norms in training mode, in fp32; images are not mixed
    and no teacher is asked. Nothing is changed or kept.

    Args:
        runs: folders of runs, and names or TOML files of experiments.
        batches: over which the norms are averaged.
        batch_size: images of each.
        data: the data folder; default: the one each run was trained with, data/ for experiments.
        size: for experiments: which tfrecords-jpeg-SxS.
        input_size: for experiments: side of what the network sees; default: its own, or the photos'.
        cache_dir: folder for the index; default: the user's cache.
        device: auto, cpu, cuda, cuda:1, mps.
        workers: decoding processes; default: by the number of cores.

    Raises:
        UserError: no such run, one of them twice, no experiment or data, or a network without such layers.
    """
    what = "run's folder, or an experiment"
    words = checked_words(runs, what, workers=workers, batches=(batches, 1), batch_size=(batch_size, 2))

    from corolla.anatomy.layer_norms import norms_of_moments

    where = {"data": as_path(data), "cache_dir": as_path(cache_dir)}
    sources = [_source(word, size=size, input_size=input_size, **where) for word in words]
    rows = list[LayerGradient]()
    names = [source.name for source in sources]
    for source, word in zip(sources, words, strict=True):
        for note in source.notes:
            log.info("%s", note)
        name = source.name if names.count(source.name) == 1 else str(word)
        measured = norms_of_moments(source, batches=batches, batch_size=batch_size, device=device, workers=workers)
        for moment, layers in measured:
            for depth, found in enumerate(layers, 1):
                rows.append(
                    LayerGradient(
                        run=name,
                        network=source.meta.config.model.name,
                        moment=moment.label,
                        epoch=moment.epoch,
                        depth=depth,
                        layer=found.layer,
                        kind="linear" if found.is_linear else "convolution",
                        gradient_norm=found.gradient_norm,
                        weight_norm=found.weight_norm,
                    )
                )
    return Gradients(tuple(rows), batches, batch_size)


def _source(
    word: Path, *, data: Path | None, size: int | None, input_size: int | None, cache_dir: Path | None
) -> "Source":
    """Return the training that a word stands for: a run, or an experiment.

    Raises:
        UserError: there is neither, or sizes are given for a run.
    """
    from corolla.anatomy.moments import experiment_source, run_source
    from corolla.runs.folder import is_run

    if not is_run(word):
        return experiment_source(str(word), data=data, size=size, input_size=input_size, cache_dir=cache_dir)
    for option, value in (("--size", size), ("--input-size", input_size)):
        if value is not None:
            raise UserError(f"{word}: {option} is for experiments, a run has its own: leave it out")
    return run_source(word, data=data, cache_dir=cache_dir)
