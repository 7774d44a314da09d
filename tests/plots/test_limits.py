"""The end of an axis: wild values are left out and counted, ordinary ones never are."""

import math

import numpy as np
import pytest

from corolla.plots.limits import axis_end, beyond


@pytest.mark.parametrize("num_epochs", [3, 10, 100])
@pytest.mark.parametrize("num_runs", [1, 3])
def test_a_wild_epoch_a_run_is_left_out(num_epochs: int, num_runs: int) -> None:
    train = np.linspace(4.6, 1.2, num_epochs).tolist() * num_runs
    val = [1e6, *np.linspace(4.2, 1.4, num_epochs - 1).tolist()] * num_runs
    end, num_beyond = axis_end(train + val)
    assert (end, num_beyond) == (pytest.approx(1.05 * 4.6), num_runs)


def test_a_falling_loss_is_shown_whole() -> None:
    losses = (4.6 * np.exp(-np.linspace(0, 2.5, 80))).tolist()
    assert axis_end(losses) == (pytest.approx(1.05 * 4.6), 0)


@pytest.mark.parametrize("values", [[], [0.0, 0.0], [math.nan]])
def test_an_axis_has_a_length_whatever_there_is(values: list[float]) -> None:
    assert axis_end(values)[0] == 1.0


def test_what_is_not_finite_is_beyond() -> None:
    assert axis_end([1.0, math.inf, 2.0, math.nan]) == (2.1, 2)


def test_it_is_said_in_a_word() -> None:
    assert [beyond(n) for n in (0, 1, 2)] == ["", "1 point beyond the axis", "2 points beyond the axis"]
