"""Every stream of random numbers has the values that it always had, and none meets another."""

import itertools

import numpy as np
import pytest

from corolla.random import (
    ORDER,
    SampleGenerators,
    epoch_order,
    mixing_generator,
    order_generator,
    sample_generator,
    subset_generator,
    torch_seed,
)


@pytest.mark.parametrize(
    ("key", "integers", "uniform"),
    [
        ((0, 0, 0), [34, 11, 611, 241, 365], "0x1.20faf40a5fab6p-1"),
        ((3, 5, 7), [434, 451, 370, 105, 307], "0x1.ac01f45a486c0p-4"),
        ((2**32 - 1, 2, 12752), [960, 212, 756, 422, 732], "0x1.6047e97d5bee4p-2"),
    ],
)
def test_samples(key: tuple[int, int, int], integers: list[int], uniform: str) -> None:
    """Runs of earlier versions are resumed and made again: these numbers never change."""
    used = SampleGenerators()
    used.at(1, 2, ORDER).integers(0, 7)  # which leaves half of a number behind
    for make in (sample_generator, used.at, used.at):
        rng = make(*key)
        assert rng.integers(0, 1000, 5).tolist() == integers
        assert rng.random().hex() == uniform


@pytest.mark.parametrize(
    ("seed", "epoch", "order"),
    [
        (0, 0, [1, 6, 0, 7, 3, 5, 2, 9, 4, 8]),
        (0, 1, [5, 7, 0, 9, 8, 2, 4, 3, 6, 1]),
        (1, 0, [2, 6, 9, 1, 3, 4, 8, 5, 7, 0]),
    ],
)
def test_orders(seed: int, epoch: int, order: list[int]) -> None:
    assert epoch_order(10, seed, epoch).tolist() == order
    assert order_generator(seed, epoch).permutation(10).tolist() == order


@pytest.mark.parametrize(
    ("seed", "label", "order"),
    [(0, 0, [1, 6, 5, 7, 4, 3, 9, 2, 0, 8]), (2, 103, [6, 0, 2, 1, 5, 7, 4, 3, 9, 8])],
)
def test_subsets(seed: int, label: int, order: list[int]) -> None:
    assert subset_generator(seed, label).permutation(10).tolist() == order


@pytest.mark.parametrize(
    ("seed", "step", "uniform", "integers"),
    [
        (0, 0, ["0x1.9b0f2c1ca6423p-1", "0x1.f345bcf4ffcdap-2"], [939, 893, 172]),
        (2, 103, ["0x1.71172929d8850p-4", "0x1.4d90ba9dee9fap-2"], [96, 450, 458]),
    ],
)
def test_mixing(seed: int, step: int, uniform: list[str], integers: list[int]) -> None:
    rng = mixing_generator(seed, step)
    assert [value.hex() for value in rng.random(2).tolist()] == uniform
    assert rng.integers(0, 1000, 3).tolist() == integers


@pytest.mark.parametrize(
    ("seed", "step", "value"),
    [(0, 0, 7896617691693857887), (0, 1, 2918264622725855778), (3, 12345, 5867325104233578981)],
)
def test_torchs_seeds(seed: int, step: int, value: int) -> None:
    assert torch_seed(seed, step) == value


def test_no_stream_meets_another() -> None:
    """Also not across seeds, epochs and numbers that look alike."""
    streams = [
        *(sample_generator(seed, epoch, i) for seed, epoch, i in itertools.product((0, 1, 2), repeat=3)),
        *(sample_generator(0, 2**32 - 3, i) for i in (0, 1)),
        *(
            make(seed, number)
            for make in (order_generator, subset_generator, mixing_generator)
            for seed, number in itertools.product((0, 1, 2), repeat=2)
        ),
    ]
    drawn = {rng.bytes(16) for rng in streams}
    assert len(drawn) == len(streams)


def test_a_generator_has_no_state_that_is_shared() -> None:
    first, second = sample_generator(1, 2, 3), sample_generator(1, 2, 3)
    first.random(100)
    assert np.array_equal(second.random(3), sample_generator(1, 2, 3).random(3))
