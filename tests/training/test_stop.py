"""Signals, and the time budget inside a Kaggle notebook."""

import os
import signal
from pathlib import Path

import pytest

from corolla.training import stop
from corolla.training.stop import LEAST_HOURS, session_hours, time_budget

KAGGLE = {"KAGGLE_KERNEL_RUN_TYPE": "Interactive"}


@pytest.mark.parametrize("environ", [{}, {"KAGGLE_KERNEL_RUN_TYPE": ""}, {"TPU_NAME": "local"}])
def test_outside_kaggle_there_is_no_limit(environ: dict[str, str]) -> None:
    assert time_budget(None, environ=environ) == (None, None)
    assert time_budget(3.0, environ=environ) == (3.0, None)


def test_what_was_asked_for_counts() -> None:
    assert time_budget(100.0, environ=KAGGLE, used=lambda: 11.0) == (100.0, None)


@pytest.mark.parametrize(
    ("tpu", "used", "hours"), [({}, 0.0, 11.5), ({}, 2.25, 9.25), ({"TPU_NAME": "local"}, 0.5, 8.0)]
)
def test_a_session_is_used_up_to_its_margin(tpu: dict[str, str], used: float, hours: float) -> None:
    budget = time_budget(None, environ={**KAGGLE, **tpu}, used=lambda: used)
    assert budget.hours == pytest.approx(hours)
    assert budget.note is not None
    assert f"training stops after {hours:.1f} h" in budget.note
    assert "--train.max-hours changes it" in budget.note
    assert "\n" not in budget.note


@pytest.mark.parametrize("used", [11.5, 11.9, 400.0])
def test_a_session_that_is_over_leaves_a_little(used: float) -> None:
    budget = time_budget(None, environ=KAGGLE, used=lambda: used)
    assert budget.hours == LEAST_HOURS
    assert budget.note is not None
    assert "training stops after 3 min" in budget.note
    assert "--train.max-hours" in budget.note


def test_the_sessions_age_is_that_of_process_1(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "uptime").write_text("9000.50 100.00\n")
    started = round(1800.5 * os.sysconf("SC_CLK_TCK"))
    (tmp_path / "1" / "stat").write_text(f"1 (a (b) c) S {' '.join(['0'] * 18)} {started} 0 0\n")
    assert session_hours(tmp_path) == pytest.approx(2.0)
    (tmp_path / "uptime").write_text("60.00 1.00\n")  # a container's own, while process 1 counts from the host's start
    assert session_hours(tmp_path) == 0


def test_an_age_that_cannot_be_read_is_0(tmp_path: Path) -> None:
    assert session_hours(tmp_path) == 0
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "stat").write_text("1 (init) S\n")
    (tmp_path / "uptime").write_text("9000.50 100.00\n")
    assert session_hours(tmp_path) == 0


@pytest.mark.skipif(not Path("/proc/1/stat").exists(), reason="this system has no /proc")
def test_the_age_on_this_machine_is_not_negative() -> None:
    assert 0 <= session_hours() < 24 * 365 * 10


def test_a_signal_that_comes_twice_at_once_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchrun sends on to its processes what a batch system sends to all of them."""
    raised = list[int]()
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    with stop.stopping(None) as request:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        assert request.reason == "SIGTERM received"
        assert not raised
        monkeypatch.setattr(stop, "ECHO_S", 0.0)
        os.kill(os.getpid(), signal.SIGTERM)
        assert raised == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
