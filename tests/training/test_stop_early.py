"""Training that ends early: the run is done, and goes on where it is told to."""

import dataclasses
import logging
import shutil
from pathlib import Path

import pytest
from support import changed, same_content, smallest_config, stop_at

import corolla
from corolla.commands.runs import runs as list_runs
from corolla.compare.run_table import list_runs as table_of
from corolla.config import Config
from corolla.runs.folder import Run
from corolla.training.train import train


@pytest.fixture(scope="module")
def config(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Settings with which nothing is learned, so that the first epoch stays the best one."""
    base = smallest_config(tiny_data, tmp_path_factory.mktemp("early") / "runs")
    base = changed(base, "optim", lr=1e-9)
    return changed(base, "train", epochs=3, stop_early=1, ema=0.9)


@pytest.fixture(scope="module")
def early(config: Config) -> Run:
    return train(dataclasses.replace(config, run_name="early"))


def test_it_is_done_and_says_at_which_epoch(early: Run, config: Config, caplog: pytest.LogCaptureFixture) -> None:
    best = max(early.metrics, key=lambda row: row["macro_f1"])["epoch"]
    assert early.state == "done"
    assert early.stopped_early == len(early.metrics) == best + 1 < 3
    assert f"done, {best + 1} of 3 epochs (stopped early)" in repr(early)
    before = early.last.read_bytes()
    with caplog.at_level(logging.INFO):
        assert train(dataclasses.replace(config, run_name="early")).state == "done"
    assert f"is finished (stopped early after epoch {best + 1} of 3: val was best at epoch {best}" in caplog.text
    assert f"--resume {early.folder} --run-name early-longer --train.stop-early 0); nothing to do" in caplog.text
    assert early.last.read_bytes() == before


def test_the_tables_say_so(early: Run, capsys: pytest.CaptureFixture[str]) -> None:
    row = table_of(early.folder.parent).query("name == 'early'").iloc[0]
    assert (row["state"], row["stopped early"]) == ("done", early.stopped_early)
    list_runs(early.folder.parent)
    assert "stopped early" in capsys.readouterr().out.splitlines()[0]
    comparison = corolla.compare(early, device="cpu", workers=0, num_resamples=20)
    cautions = " ".join(comparison.recipes[0].cautions)
    assert f"early stopped early, after epoch {early.stopped_early} of 3" in cautions
    assert "not finished" not in cautions


def test_a_run_that_was_stopped_in_between_ends_at_the_same_epoch(early: Run, config: Config) -> None:
    again = dataclasses.replace(config, run_name="twice")
    assert train(again, on_step=stop_at(7)).state == "stopped"
    run = train(again)
    assert run.state == "done"
    assert run.metrics == early.metrics
    assert same_content(run.last, early.last)


def test_with_more_epochs_a_copy_goes_on_and_waits_anew(early: Run, config: Config) -> None:
    longer = changed(dataclasses.replace(config, run_name="longer", resume=early.folder), "train", epochs=5)
    stopped = train(longer, on_step=stop_at(early.metrics[-1]["step"] + 3))
    assert (stopped.state, len(stopped.metrics)) == ("stopped", len(early.metrics))
    run = train(longer)
    assert run.state == "done"
    assert len(run.metrics) >= len(early.metrics) + 1
    assert run.environment["lengthened_from"] == [3]


def test_without_the_wait_a_copy_is_the_run_that_never_had_it(early: Run, config: Config) -> None:
    for_ever = changed(config, "train", stop_early=0)
    copy = train(dataclasses.replace(for_ever, run_name="copy", resume=early.folder))
    whole = train(dataclasses.replace(for_ever, run_name="whole"))
    assert copy.metrics == whole.metrics
    assert len(whole.metrics) == 3
    assert whole.stopped_early is None
    shutil.rmtree(whole.folder)
