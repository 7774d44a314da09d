"""The learning-rate range test: which learning rates a network learns at, and from which on its loss diverges.

Smith 2017 ("Cyclical Learning Rates for Training Neural Networks", section 3.3) lets the learning rate rise linearly
over some epochs and looks at the accuracy; as in fastai's lr_find (Gugger 2018, "How Do You Find A Good Learning Rate")
it rises exponentially here, over two hundred steps, and the training loss is looked at.
"""

import dataclasses
import logging
import math
import statistics
from collections.abc import Collection, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from corolla.config import Config, validate
from corolla.config.checks import check_settings
from corolla.config.experiments import experiment_name, find_experiment
from corolla.config.keywords import with_keywords
from corolla.data.corrections import training_index
from corolla.data.index import Index, load_index
from corolla.errors import UserError
from corolla.files import write_atomically
from corolla.paths import AnyPath, as_path
from corolla.results import Result
from corolla.runs.data import check_is_here, own_settings
from corolla.runs.folder import Run
from corolla.training.ranks import number_of_processes
from corolla.training.schedule import scale_lr
from corolla.training.start import check_one_length, completed, first_point

if TYPE_CHECKING:
    import pandas as pd

    from corolla.training.state import TrainState

log = logging.getLogger(__name__)

STEPS = 200
LOWEST, HIGHEST = 1e-6, 10.0
"""Learning rates of the first and the last step."""
SMOOTHING = 0.9
"""Weight of the losses before in the moving average of the losses."""
DIVERGED = 4.0
"""Times the lowest smoothed loss, and above the first one: the test ends there."""
LEAST_FALL = 0.03
"""The fraction of the first losses by which the smoothed loss has to fall for a proposal."""
BELOW_LOWEST = 0.1
"""The proposal as a fraction of the learning rate at which the smoothed loss is lowest: an order of magnitude before it
(Gugger 2018), since there the loss is about to rise."""


@dataclass(frozen=True, repr=False)
class LearningRates(Result):
    """The losses of a learning-rate range test, a step each; the rates are values of --optim.lr."""

    name: str
    """Name of the run that would be trained."""
    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    """Moving averages of the losses up to each step."""

    @property
    def lowest(self) -> int:
        """The step, from 0, at which the smoothed loss is lowest, once the first ones are over."""
        first = min(_first_steps(), len(self.smoothed)) - 1
        return min(range(first, len(self.smoothed)), key=lambda step: self.smoothed[step])

    @property
    def before(self) -> float:
        """The mean loss of the first steps, which change nothing."""
        return statistics.fmean(self.losses[: _first_steps()])

    @property
    def proposed(self) -> float | None:
        """The learning rate that is proposed, of two digits; None where the loss hardly fell, or varies by more."""
        varies = statistics.pstdev(self.losses[: _first_steps()])
        if self.smoothed[self.lowest] > self.before - max(LEAST_FALL * self.before, varies):
            return None
        return float(f"{BELOW_LOWEST * self.rates[self.lowest]:.1e}")

    @property
    def diverged(self) -> bool:
        """True where the test ended early, because the loss diverged."""
        return len(self.rates) < STEPS

    @property
    def summary(self) -> str:
        """The proposal with the rule by which it was chosen."""
        low, last = self.smoothed[self.lowest], self.rates[-1]
        end = f"it diverged at {last:.2g}" if self.diverged else f"it did not diverge up to {last:g}"
        if self.proposed is None:
            fell = f"{self.before:.3g}, at best {low:.3g}"
            return f"{self.name}: no learning rate to propose, as the loss hardly fell ({fell}; {end})"
        return (
            f"{self.name}: --optim.lr {self.proposed:g}, a tenth of {self.rates[self.lowest]:.2g}, where the smoothed "
            f"loss was lowest ({self.before:.3g}, then {low:.3g}; {end})"
        )

    def to_pandas(self) -> "pd.DataFrame":
        """Return a row a step: step, lr, loss, smoothed."""
        import pandas as pd

        columns = {"lr": self.rates, "loss": self.losses, "smoothed": self.smoothed}
        return pd.DataFrame({"step": range(1, len(self.rates) + 1), **columns})

    def csv(self) -> bytes:
        """Return the table as a CSV."""
        return self.to_pandas().to_csv(index=False).encode()

    def save(self, folder: AnyPath) -> list[Path]:
        """Write curve.csv and curve.png into a folder, and return their paths."""
        from corolla.plots.learning_rates import learning_rate_png

        title = f"{self.name}: learning-rate range test"
        png = learning_rate_png(self.rates, self.losses, self.smoothed, chosen=self.proposed, title=title)
        paths = [as_path(folder) / "curve.csv", as_path(folder) / "curve.png"]
        for path, content in zip(paths, (self.csv(), png), strict=True):
            write_atomically(path, content)
        return paths


def find_lr(
    config: Config | AnyPath, *, experiment: str | None = None, explicit: Collection[str] = (), **settings: Any
) -> LearningRates:
    """Train some two hundred steps at ever higher learning rates, and propose one: `find_lr("transfer_best")`.

    It begins as training would, with the same weights and the batches of the first epochs, and keeps nothing. The whole
    network learns, also where --train.head-epochs begin with the classifier alone, which stands higher rates. It ends
    where the loss diverges. On a CPU the same settings give the same numbers.

    Args:
        config: an experiment by its name, a TOML or JSON file, a `Config`, or a run, whose settings are taken.
        experiment: names the run that would be trained; default: as `config` is called.
        explicit: keys (dotted) of the settings that the user gave, as in `train`.
        settings: what differs from `config`, by the names of the command line's options: data="photos".

    Raises:
        UserError: the data or a setting is not fit for it.
    """
    begun = None
    if not isinstance(config, Config):
        if (as_path(config) / "config.json").is_file():
            begun = Run(as_path(config))
            experiment, config = experiment or begun.name, own_settings(begun)
        else:
            experiment, config = experiment or experiment_name(config), find_experiment(config)
    config, given = with_keywords(config, settings)
    if begun is not None:
        check_is_here(begun, config.data)
    return _find(validate(config), experiment or "custom", {*explicit, *given})


def _find(config: Config, experiment: str, explicit: Collection[str]) -> LearningRates:
    if config.resume is not None or config.resume_from is not None:
        raise UserError("--find-lr tests the learning rates of a new run, --resume goes on with one: leave it out")
    if config.gpus is not None or number_of_processes() > 1:
        raise UserError("--find-lr measures in one process: leave --gpus, or torchrun, out")
    check_one_length(config, explicit)
    index = training_index(
        load_index(config.data, config.size, config.cache_dir), config.train, cache_dir=config.cache_dir
    )
    run = Run(config.runs / (config.run_name or f"{experiment}-seed{config.train.seed}"))
    start = first_point(config, config.init_from)
    config = completed(config, run, start, index)
    notes = check_settings(config, explicit=explicit)

    from corolla.device_errors import faults_told
    from corolla.training.begin import build_state

    state = build_state(start, config, index, run=None, explicit=explicit)
    for line in (*notes, *state.notes):
        log.info(line)
    if config.train.head_epochs:
        log.info("the whole network learns, as it does after --train.head-epochs %d", config.train.head_epochs)
    rates = [LOWEST * (HIGHEST / LOWEST) ** (step / (STEPS - 1)) for step in range(STEPS)]
    losses: list[float] = []
    smoothed: list[float] = []
    with (
        faults_told(
            state.device, "in the range test", memory="a smaller --train.batch-size or --train.accumulate auto"
        ),
        closing(_losses(state, index, rates)) as measured,
    ):
        for loss in tqdm(measured, total=STEPS, unit="step", desc="find-lr", disable=None):
            if not math.isfinite(loss):
                break
            losses.append(loss)
            smoothed.append(_smooth(losses, smoothed))
            first = _first_steps()  # on few photos a loss varies much, whatever the rate
            if len(losses) > first and smoothed[-1] > max(DIVERGED * min(smoothed[first - 1 :]), smoothed[first - 1]):
                break
    if not losses:
        raise UserError(f"the loss of the first step is not finite, at a learning rate of {LOWEST:g}: nothing to test")
    return LearningRates(run.name, tuple(rates[: len(losses)]), tuple(losses), tuple(smoothed))


def _losses(state: "TrainState", index: Index, rates: Sequence[float]) -> Generator[float, None, None]:
    """Yield the loss of each step, at the rates one after the other; on few photos epochs follow each other."""
    from corolla.data.cache import use_cache
    from corolla.data.loader import load_batches
    from corolla.data.sampler import TrainBatchSampler
    from corolla.device import num_workers
    from corolla.training.datasets import build_datasets
    from corolla.training.failures import update
    from corolla.training.photos import photos_for_batches

    config = state.config
    full_size = dataclasses.replace(config, augment=dataclasses.replace(config.augment, start_size=None))
    photos, _ = build_datasets(dataclasses.replace(state.meta, config=full_size), index)
    if state.photos is None:
        log.info(use_cache([photos], config.pipeline.cache, config.cache_dir))
    train = config.train
    sampler = TrainBatchSampler(
        len(photos),
        train.batch_size,
        train.seed,
        0,
        len(rates),
        balance=train.balance,
        labels=photos.split.label,
        repeat=train.repeat,
    )
    state.progress.history = [{}] * min(train.head_epochs, train.epochs - 1)
    workers = num_workers(config.pipeline.workers, state.device)
    batched = photos_for_batches(state, photos)
    with closing(load_batches(batched, sampler, workers=workers, device=state.device)) as batches:
        for batch, rate in zip(batches, rates, strict=True):
            optim = scale_lr(dataclasses.replace(config.optim, lr=rate), train.batch_size)
            yield update(state, batch, optim.lr).item()


def _first_steps() -> int:
    """Return the number of steps at the start whose learning rates change nothing."""
    return max(1, STEPS // 20)


def _smooth(losses: Sequence[float], smoothed: Sequence[float]) -> float:
    """Return the next moving average, without the bias of its beginning (Kingma and Ba 2015, section 3)."""
    before = len(smoothed)
    biased = smoothed[-1] * (1 - SMOOTHING**before) if smoothed else 0.0
    return (SMOOTHING * biased + (1 - SMOOTHING) * losses[-1]) / (1 - SMOOTHING ** (before + 1))
