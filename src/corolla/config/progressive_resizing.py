"""Progressive resizing: how large the training images of an epoch are."""

from corolla.config import AugmentConfig
from corolla.errors import UserError


def size_of_epoch(config: AugmentConfig, size: int, epoch: int, epochs: int) -> int:
    """Side in pixels of the images of epoch e (from 0) of a run of `epochs` at input size `size`.

    From `config.start_size` by whole steps of 32 (16 where `size` is below 128), never above a straight line to `size`.
    """
    growing = config.grow_epochs * epochs
    if config.start_size is None or epoch >= growing:
        return size
    step = 32 if size >= 128 else 16
    return config.start_size + int((size - config.start_size) * epoch / growing) // step * step


def sizes_of_run(config: AugmentConfig, size: int, epochs: int) -> list[int]:
    """All sizes of a run's training images, ascending; the last is the input size, where evaluation always is."""
    return sorted({size_of_epoch(config, size, epoch, epochs) for epoch in range(epochs)} | {size})


def refuse_shrinking(config: AugmentConfig, size: int) -> None:
    """UserError if the images would not grow."""
    if config.start_size is not None and config.start_size > size:
        raise UserError(
            f"--augment.start-size {config.start_size} is above the input size, {size}: give a smaller one, "
            "or a larger --input-size"
        )
