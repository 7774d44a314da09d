"""The data sets of a run: train as it is augmented, and val as it is looked at."""

from corolla.config import Config
from corolla.data.flowers import Flowers
from corolla.data.index import Index
from corolla.data.stats import ColorStatistics, data_statistics
from corolla.data.transforms import EvalTransform, TrainTransform, needs_statistics, stored_as
from corolla.training.learner import Learner


def data_sets(learner: Learner, config: Config, index: Index) -> tuple[Flowers, Flowers]:
    """train as training sees it, and val as evaluation does."""
    preprocessing, size = learner.description.preprocessing, learner.description.input_size
    train_transform = TrainTransform(
        config.augment,
        size,
        statistics=train_color(config, index) if needs_statistics(config.augment) else None,
        interpolation=preprocessing.interpolation,
        epochs=config.train.epochs,
    )
    val_transform = EvalTransform(
        size, crop_fraction=preprocessing.crop_fraction, interpolation=preprocessing.interpolation
    )
    options = {"bad_images": config.pipeline.bad_images, "stored": stored_as(config.pipeline)}
    return (
        Flowers(index, "train", train_transform, seed=config.train.seed, **options),
        Flowers(index, "val", val_transform, **options),
    )


def train_color(config: Config, index: Index) -> ColorStatistics:
    """Mean and standard deviation of the colors of train's photos."""
    return data_statistics(index, ("train",), cache=config.index, bad_images=config.pipeline.bad_images).color
