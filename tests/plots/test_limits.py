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
    assert axis_end(train, val) == (pytest.approx(1.05 * 4.6), num_runs)
    if num_epochs > 3:
        assert axis_end(val, train) == (pytest.approx(1.05 * 4.6), num_runs), "on train, too"


def test_one_of_two_epochs_is_left_out() -> None:
    assert axis_end([1.5, 1.0], [1e6, 2.0]) == (2.1, 1)


def test_one_that_is_five_times_the_rest_is_left_out() -> None:
    assert axis_end([4.7, 4.4, 4.3, 4.2], [22.0, 5.6, 4.3, 4.2]) == (pytest.approx(1.05 * 5.6), 1)


@pytest.mark.parametrize("decay", [0.5, 2.5, 8.0])
def test_a_training_loss_is_shown_from_its_start(decay: float) -> None:
    train = (4.6 * np.exp(-np.linspace(0, decay, 80))).tolist()
    assert axis_end(train, train) == (pytest.approx(1.05 * 4.6), 0)


def test_a_val_loss_that_rises_while_photos_are_learned_by_heart_is_shown() -> None:
    train = (4.6 * np.exp(-np.linspace(0, 8, 80))).tolist()
    assert axis_end(train, np.linspace(4.0, 12.0, 80).tolist()) == (pytest.approx(1.05 * 12), 0)


@pytest.mark.parametrize("values", [[], [0.0, 0.0], [math.nan]])
def test_an_axis_has_a_length_whatever_there_is(values: list[float]) -> None:
    assert axis_end(values, values)[0] == 1.0
    assert axis_end([], values)[0] == 1.0


def test_what_is_not_finite_is_beyond() -> None:
    assert axis_end([1.0, math.inf], [2.0, math.nan]) == (2.1, 2)


def test_it_is_said_in_a_word() -> None:
    assert [beyond(n) for n in (0, 1, 2)] == ["", "1 point beyond the axis", "2 points beyond the axis"]
