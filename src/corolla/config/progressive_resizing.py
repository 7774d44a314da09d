"""Progressive resizing: the size of an epoch's training images, a function of the settings."""

from corolla.config.fields import AugmentConfig


def epoch_size(config: AugmentConfig, size: int, epoch: int, epochs: int) -> int:
    """Return the side in pixels of the images of epoch e (from 0) of a run of `epochs` at input size `size`.

    It grows from `config.start_size` by whole steps of 32 (16 where `size` is below 128), never above a straight line
    to `size`. A start that is not below `size` has no effect.
    """
    growing = config.grow_epochs * epochs
    if config.start_size is None or config.start_size >= size or epoch >= growing:
        return size
    step = 32 if size >= 128 else 16
    return config.start_size + int((size - config.start_size) * epoch / growing) // step * step


def run_sizes(config: AugmentConfig, size: int, epochs: int) -> list[int]:
    """Return all sizes of a run's training images, ascending; the last is the input size, as in every evaluation."""
    return sorted({epoch_size(config, size, epoch, epochs) for epoch in range(epochs)} | {size})
