"""Real processes, really killed: what is left is whole, and the same command goes on as if nothing had happened."""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import pytest
import torch
from support import corolla_process, one_thread, same_content, write_data

from corolla.cli import run_command
from corolla.device import choose_precision
from corolla.errors import UserError
from corolla.runs.checkpoint import load_checkpoint
from corolla.runs.folder import Run, exclusive

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="workers are found through /proc")

STEPS = 12  # an epoch
EXPERIMENT = """
[model]
name = "timm:test_efficientnet"
dropout = 0.3
drop_path = 0.1
[augment]
color = true
pca_noise = 0.1
[optim]
lr = 0.01
schedule = "plateau"
patience = 0
[train]
epochs = 3
batch_size = 8
accumulate = 2
ema = 0.9
label_smoothing = 0.1
checkpoint_minutes = 1e-6  # a checkpoint after every step
[pipeline]
workers = 2
"""


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The words after `corolla`, but for where the runs go."""
    folder = tmp_path_factory.mktemp("kill")
    precision = choose_precision("auto", torch.device("cpu"))  # also in processes of their own
    (folder / "everything.toml").write_text(EXPERIMENT.replace("[train]", f'[train]\nprecision = "{precision}"'))
    data = write_data(folder / "data", train=8 * STEPS, val=40)
    return ["train", str(folder / "everything.toml"), "--data", str(data), "--device", "cpu"]


@pytest.fixture(scope="module")
def undisturbed(arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    runs = tmp_path_factory.mktemp("undisturbed")
    assert in_this_process(arguments, runs) == 0
    return run_in(runs)


def in_this_process(arguments: list[str], runs: Path) -> int:
    with one_thread():
        return run_command([*arguments, "--runs", str(runs)])


def command(arguments: list[str], runs: Path) -> list[str]:
    return [sys.executable, "-m", "corolla", *arguments, "--runs", str(runs)]


def run_in(runs: Path) -> Run:
    return Run(runs / "everything-seed0")


def wait_for(what: Callable[[], object], process: "Popen[str] | None" = None, seconds: float = 120) -> None:
    """Until `what` holds; a failure if `process` ends first."""
    deadline = time.monotonic() + seconds
    while not what():
        if process is not None and process.poll() is not None:
            pytest.fail(f"it has ended with {process.returncode}: {process.communicate()[0]}")
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.005)


def step_of(run: Run) -> int:
    return load_checkpoint(run.last)["progress"]["step"] if run.last.exists() else 0


def workers_of(pid: int) -> list[int]:
    """The children of a process that runs, and theirs."""
    children = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[1]) == pid:
            children.append(int(path.parent.name))
    return children + [below for child in children for below in workers_of(child)]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def assert_whole(run: Run) -> None:
    """Whatever has a name that somebody reads is complete."""
    for path in run.folder.glob("*.pt"):
        load_checkpoint(path)
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [STEPS * (n + 1) for n in range(len(rows))]
    assert run.environment["started"]


def assert_equal(run: Run, undisturbed: Run) -> None:
    assert run.state == "done"
    assert (run.folder / "metrics.jsonl").read_bytes() == (undisturbed.folder / "metrics.jsonl").read_bytes()
    assert same_content(run.last, undisturbed.last)
    assert same_content(run.best, undisturbed.best)


@pytest.mark.slow
def test_killed_in_mid_epoch_it_goes_on_as_if_never_stopped(
    arguments: list[str], undisturbed: Run, tmp_path: Path
) -> None:
    run = run_in(tmp_path)
    with corolla_process(command(arguments, tmp_path)) as process:
        wait_for(lambda: step_of(run) >= 1, process)
        workers = workers_of(process.pid)
        with pytest.raises(UserError, match="another process is training into this folder"), exclusive(run.folder):
            pass
        wait_for(lambda: step_of(run) % STEPS in range(2, 6), process)
        process.kill()
        process.wait()
        with exclusive(run.folder):
            pass  # free at once, whether its workers have noticed or not
    assert step_of(run) % STEPS
    assert_whole(run)
    assert len(workers) >= 2
    wait_for(lambda: not any(map(is_alive, workers)), seconds=20)
    assert in_this_process(arguments, tmp_path) == 0
    assert len(run.environment["started"]) == 2
    assert_equal(run, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_a_checkpoint_and_75(
    number: signal.Signals, arguments: list[str], tmp_path: Path
) -> None:
    """Sent to the whole process group, as a terminal's Ctrl-C and `timeout` do."""
    run = run_in(tmp_path)
    with corolla_process(command(arguments, tmp_path), own_group=True) as process:
        wait_for(lambda: step_of(run) >= 3, process)
        workers = workers_of(process.pid)
        os.killpg(process.pid, number)
        for worker in workers if number == signal.SIGTERM else ():  # as systemd and batch systems send it to all
            os.kill(worker, number)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 75, output
    assert f"stopped: {number.name} received; {run.last} holds step {step_of(run)}" in output
    assert "Traceback" not in output
    assert 3 <= step_of(run) < 3 * STEPS
    assert_whole(run)
    assert not any(map(is_alive, workers))


def moments(run: Run, pid: int) -> list[Callable[[], bool]]:
    """The point to wait for before a kill: another step, a checkpoint being written, an evaluation, an epoch's end.

    None holds before the process of `pid` has trained a step: if one did, its kill would come before its start.
    """
    step = step_of(run)
    last_of_epoch = (step + 1) // STEPS * STEPS + STEPS - 1
    return [
        lambda: step_of(run) > step,
        lambda: any(run.folder.glob(f".last.pt.*.{pid}.*.tmp")),
        lambda: step_of(run) >= last_of_epoch,
        lambda: any(run.folder.glob(f".epoch-*.pt.*.{pid}.*.tmp")),
    ]


@pytest.mark.slow
def test_many_kills_leave_no_trace(arguments: list[str], tmp_path: Path) -> None:
    """At random moments too, but chance alone would seldom hit the short ones."""
    arguments = [*arguments, "--train.epochs", "8", "--train.keep-every", "1"]
    assert in_this_process(arguments, tmp_path / "undisturbed") == 0
    run, chance, torn = run_in(tmp_path), random.Random(0), []
    for number in range(6):
        with corolla_process(command(arguments, tmp_path)) as process:
            wait_for(moments(run, process.pid)[number % 4], process)
            if number % 2 == 0:
                time.sleep(chance.uniform(0, 0.3))
            process.kill()
            process.wait()
        assert run.state != "done"
        assert_whole(run)
        torn += run.folder.glob(".*.tmp")  # at once: the next start removes them
    assert torn  # some kills did fall into the writing of a checkpoint
    assert in_this_process(arguments, tmp_path) == 0
    assert len(run.environment["started"]) == 7
    assert not list(run.folder.rglob(".*.tmp"))
    assert_equal(run, run_in(tmp_path / "undisturbed"))


@pytest.mark.slow
def test_the_number_of_epochs_that_fits_outlives_a_kill(arguments: list[str], tmp_path: Path) -> None:
    """A number that was measured once is not measured again, by which the rest would have another schedule."""
    fitting = [*arguments, "--train.fit-hours", "0.006", "--train.stop-early", "1000"]
    run = run_in(tmp_path)
    with corolla_process(command(fitting, tmp_path)) as process:
        wait_for(lambda: step_of(run) >= STEPS + 2, process)
        process.kill()
        process.wait()
    epochs = run.config.train.epochs
    assert in_this_process(fitting, tmp_path) == 0
    given = [*arguments, "--train.epochs", str(epochs), "--train.stop-early", "1000"]
    assert in_this_process(given, tmp_path / "given") == 0
    assert_equal(run, run_in(tmp_path / "given"))
