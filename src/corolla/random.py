"""Every stream of random numbers, by name.

Each is a function of the run's seed and of a position (an epoch and a sample, a class, a step), never of a state: so
nothing has to be saved, and neither workers, nor processes, nor where a run was resumed change what is drawn. The keys
of two streams never meet: no epoch has the numbers that `SUBSET` and `MIXING` stand for, no sample the one of `ORDER`.
"""

import threading

import numpy as np
from numpy.typing import NDArray

SUBSET = 2**32 - 1
MIXING = 2**32 - 2
ORDER = 2**64 - 1


def sample_generator(seed: int, epoch: int, sample: int) -> np.random.Generator:
    """Return the generator of a sample in an epoch: counter-based, so it shares no state (Salmon et al. 2011)."""
    return np.random.Generator(np.random.Philox(key=np.array([seed << 32 | epoch, sample], np.uint64)))


class SampleGenerators(threading.local):
    """The generators of samples, one after the other: setting one anew takes an eighth of the time of making it."""

    def __init__(self) -> None:
        self._philox = np.random.Philox(key=np.zeros(2, np.uint64))
        self._state = self._philox.state
        self._generator = np.random.Generator(self._philox)

    def at(self, seed: int, epoch: int, sample: int) -> np.random.Generator:
        """Return what `sample_generator` returns; from this thread's next call on it is another sample's."""
        self._state["state"]["key"][:] = seed << 32 | epoch, sample
        self._philox.state = self._state
        return self._generator


def order_generator(seed: int, epoch: int) -> np.random.Generator:
    """Return the generator that draws the order of an epoch."""
    return sample_generator(seed, epoch, ORDER)


def subset_generator(seed: int, label: int) -> np.random.Generator:
    """Return the generator that chooses which training images of a class are kept (--train.share)."""
    return sample_generator(seed, SUBSET, label)


def mixing_generator(seed: int, step: int) -> np.random.Generator:
    """Return the generator that draws how the images of a step are mixed (mixup, CutMix)."""
    return sample_generator(seed, MIXING, step)


def torch_seed(seed: int, step: int, part: int = 0) -> int:
    """Return the seed of torch's own generator for a part of a step's batch.

    So dropout depends neither on where a run resumed nor on which process computes the part. Part 0 has the seed that
    whole batches have: a sequence of seeds is as if filled up with zeros.
    """
    return int(np.random.SeedSequence([seed, step, part]).generate_state(1, np.uint64)[0] >> 1)


def epoch_order(num_samples: int, seed: int, epoch: int, repeat: int = 1) -> NDArray[np.int64]:
    """Return the order of the samples in an epoch, a permutation; the same wherever the run was stopped and resumed.

    With `repeat` each sample comes that often: one permutation of all of them after the other, so that the first is the
    order without repeats. `i + r * num_samples` is the r-th repeat of sample i.
    """
    rng = order_generator(seed, epoch)
    return np.concatenate([rng.permutation(num_samples) + r * num_samples for r in range(repeat)])
