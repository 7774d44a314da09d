"""One run trained by several real processes, started by torchrun: the same bits as by one; killed, stopped, resumed."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from support import break_first_jpeg, same_content, write_data

from corolla.runs.checkpoint import load_checkpoint
from corolla.runs.folder import Run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="the ranks of processes are read in /proc"),
]

EXPERIMENT = """
[model]
name = "timm:test_efficientnet"
dropout = 0.3
drop_path = 0.1
[augment]
color = true
[optim]
lr = 0.01
schedule = "plateau"
patience = 0
clip_norm = 1.0
agc = 0.1
[train]
epochs = 2
batch_size = 12
accumulate = 2
ema = 0.9
mixup = 0.2
cutmix = 1.0
label_smoothing = 0.1
checkpoint_minutes = 1e-6  # a checkpoint after every step
[pipeline]
workers = 0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, of which val is no multiple of a batch, and an experiment."""
    place = tmp_path_factory.mktemp("processes")
    write_data(place / "data", train=60, val=70)
    (place / "everything.toml").write_text(EXPERIMENT)
    return place


@contextmanager
def started(
    place: Path, *words: str | Path, torchrun: Sequence[str] = (), python: Sequence[str] = (), **environ: str
) -> Iterator[subprocess.Popen[str]]:
    """Start a training in `place`, by torchrun or by words of Python's where there are some."""
    by = ["-m", "torch.distributed.run", *torchrun, "-m", "corolla"] if torchrun else python or ["-m", "corolla"]
    experiment, data = place.parent / "everything.toml", place.parent / "data"
    process = subprocess.Popen(
        [sys.executable, *by, "train", experiment, "--data", data, "--device", "cpu", *words],
        cwd=place,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": str(int("--nnodes" in torchrun)),
            **environ,
        },
    )
    try:
        yield process
    finally:
        process.terminate()  # torchrun ends its processes
        process.communicate()


def processes(number: int, restarts: int = 0) -> list[str]:
    return ["--standalone", "--nproc-per-node", str(number), "--max-restarts", str(restarts)]


def machines(number: str, restarts: int = 0) -> list[str]:
    """Return what torchrun is told on each of several machines, with a process each."""
    words = ["--nnodes", number, "--nproc-per-node", "1", "--max-restarts", str(restarts), "--rdzv-backend", "c10d"]
    words += ["--rdzv-conf", "last_call_timeout=2,keep_alive_interval=1", "--rdzv-id", "a run"]
    return [*words, "--rdzv-endpoint", f"localhost:{free_port()}"]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def place_for(folder: Path, name: str) -> Path:
    place = folder / name
    place.mkdir()
    return place


def trained(place: Path, *words: str, torchrun: Sequence[str] = (), status: int = 0) -> str:
    with started(place, "--run-name", "run", *words, torchrun=torchrun) as process:
        said = process.communicate(timeout=300)[0]
    assert process.returncode == status, said
    return said


@pytest.fixture(scope="module")
def alone(folder: Path) -> Path:
    """The run of one process."""
    place = place_for(folder, "alone")
    trained(place)
    return place / "runs" / "run"


def assert_same(run: Path, other: Path) -> None:
    assert same_content(run / "last.pt", other / "last.pt")
    assert (run / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()


def children_of(parent: int) -> list[int]:
    """Return the ids of the processes that torchrun has started."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"\nPPid:\t{parent}\n" in (place / "status").read_text():
                found.append(int(place.name))
    return found


def process_of(rank: int, parent: int) -> int:
    """Return the id of the process of a rank, a child of torchrun."""
    for process in children_of(parent):
        with suppress(OSError):
            if f"\0RANK={rank}\0" in Path(f"/proc/{process}/environ").read_text():
                return process
    raise AssertionError(f"there is no process of rank {rank}")


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def step_of(run: Path) -> int:
    return load_checkpoint(run / "last.pt")["progress"]["step"] if (run / "last.pt").exists() else -1


def test_two_are_one(folder: Path, alone: Path) -> None:
    place = place_for(folder, "two")
    said = trained(place, "--cache-dir", "cache", torchrun=processes(2))  # which both of them find empty
    assert_same(place / "runs" / "run", alone)
    assert Run(place / "runs" / "run").environment["processes"] == 2
    assert said.count("epoch   2/2") == 1, said  # the leader alone speaks


def test_two_are_one_with_photos_on_the_device(folder: Path) -> None:
    """Each has all of them, and makes its own parts of a batch."""
    words = ("--pipeline.cache", "device", "--train.epochs", "1")
    one, two = (place_for(folder, f"device-{number}") for number in (1, 2))
    trained(one, *words)
    trained(two, *words, torchrun=processes(2))
    assert_same(two / "runs" / "run", one / "runs" / "run")


@pytest.mark.parametrize("workers", ["0", "2"])
def test_two_are_one_in_fp32(workers: str, folder: Path) -> None:
    words = ("--train.precision", "fp32", "--pipeline.workers", workers, "--optim.name", "adamw", "--train.epochs", "1")
    one, two = (place_for(folder, f"fp32-{workers}-{number}") for number in (1, 2))
    trained(one, *words)
    trained(two, *words, torchrun=processes(2))
    assert_same(two / "runs" / "run", one / "runs" / "run")


def test_three_are_one_but_for_rounding(folder: Path) -> None:
    words = ("--train.precision", "fp32", "--train.accumulate", "4", "--train.epochs", "1", "--optim.lr", "1e-4")
    places = [place_for(folder, f"rounding-{number}") for number in (1, 3)]
    trained(places[0], *words)
    trained(places[1], *words, torchrun=processes(3))
    one, three = (Run(place / "runs" / "run").metrics[0] for place in places)
    assert three["train_loss"] == pytest.approx(one["train_loss"], rel=1e-4)
    assert three["val_loss"] == pytest.approx(one["val_loss"], rel=1e-2)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_is_replaced(rank: int, folder: Path, alone: Path) -> None:
    place = place_for(folder, f"killed-{rank}")
    run = place / "runs" / "run"
    with started(place, "--run-name", "run", torchrun=processes(2, restarts=3)) as process:
        wait_for(lambda: step_of(run) >= 2)
        os.kill(process_of(rank, process.pid), signal.SIGKILL)
        said = process.communicate(timeout=300)[0]
    assert process.returncode == 0, said
    assert "resuming" in said
    assert_same(run, alone)


def test_all_stop_where_one_was_asked_and_are_not_started_again(folder: Path, alone: Path) -> None:
    place = place_for(folder, "stopped")
    run = place / "runs" / "run"
    with started(place, "--run-name", "run", torchrun=processes(2, restarts=2)) as process:
        wait_for(lambda: step_of(run) >= 2)
        os.kill(process_of(1, process.pid), signal.SIGTERM)
        said = process.communicate(timeout=300)[0]
    assert process.returncode == 1, said  # torchrun knows no 75
    assert "stopped: another process of this training was asked to stop" in said
    assert "was asked to stop before torchrun started its processes again" in said
    assert 2 <= step_of(run) < 10
    trained(place)  # by one process now
    assert_same(run, alone)


@pytest.mark.parametrize("signalled", [True, False])
def test_a_process_that_waits_for_one_which_does_not_answer_ends(signalled: bool, folder: Path) -> None:
    """Soon where it gets a signal; else after a quarter of an hour, which is shorter here."""
    place = place_for(folder, f"frozen-{signalled}")
    run, common = (
        place / "runs" / "run",
        {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port())},
    )
    name = "EVALUATION_S" if signalled else "SILENCE_S"  # it may be a step or an evaluation that it waits in
    impatient = f"import runpy; from corolla.training import agreed_stop, validation; agreed_stop.{name} = 3.0; "
    impatient += "validation.EVALUATION_S = 3.0; runpy.run_module('corolla', run_name='__main__')"
    python = ("-c", impatient)
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(
                started(place, "--run-name", "run", python=python, **common, RANK=rank, LOCAL_RANK=rank)
            )
            for rank in ("0", "1")
        )
        wait_for(lambda: step_of(run) >= 2)
        second.send_signal(signal.SIGSTOP)
        stack.callback(second.kill)
        if signalled:
            first.send_signal(signal.SIGTERM)
        stack.callback(first.kill)
        said = first.communicate(timeout=120)[0]
    assert first.returncode == 1, said
    assert "the others do not answer; it ends" in said
    trained(place)
    assert Run(run).state == "done"


def test_machines_without_a_common_disk(folder: Path, alone: Path) -> None:
    """Two agents with one rendezvous, each with a runs folder of its own; one of them holds the run's beginning."""
    places = [place_for(folder, f"machine-{number}") for number in range(2)]
    with started(places[1], "--run-name", "run") as process:
        wait_for(lambda: step_of(places[1] / "runs" / "run") >= 2)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    torchrun = machines("2")
    with ExitStack() as stack:
        both = [stack.enter_context(started(place, "--run-name", "run", torchrun=torchrun)) for place in places]
        said = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert_same(places[1] / "runs" / "run", alone)
    assert not (places[0] / "runs" / "run" / "last.pt").exists()


def test_machines_die_and_come_in_the_course_of_a_run(folder: Path) -> None:
    """A process is killed, then a machine, without which the other one goes on until there are two again."""
    words = ("--run-name", "run", "--train.epochs", "16")
    alone, place = place_for(folder, "alone-for-long"), place_for(folder, "elastic")
    trained(alone, *words)
    run, torchrun = place / "runs" / "run", machines("1:2", restarts=3)
    with ExitStack() as stack:
        first = stack.enter_context(started(place, *words, torchrun=torchrun))
        wait_for(lambda: len(children_of(first.pid)) == 1)  # it keeps the keys of the meetings
        second = stack.enter_context(started(place, *words, torchrun=torchrun))
        wait_for(lambda: step_of(run) >= 2 and Run(run).environment["processes"] == 2)
        os.kill(children_of(second.pid)[0], signal.SIGKILL)
        wait_for(lambda: len(Run(run).environment["started"]) == 2)
        for process in (second.pid, *children_of(second.pid)):
            os.kill(process, signal.SIGKILL)
        wait_for(lambda: Run(run).environment["processes"] == 1)
        third = stack.enter_context(started(place, *words, torchrun=torchrun))
        wait_for(lambda: Run(run).environment["processes"] == 2)
        said = [process.communicate(timeout=300)[0] for process in (first, third)]
    assert [first.returncode, third.returncode] == [0, 0], said
    assert_same(run, alone / "runs" / "run")


def test_the_readme_trains_in_two_processes(tmp_path: Path) -> None:
    """Its very line, for one epoch on fewer photos."""
    root = Path(__file__).parents[2]
    line = re.search(r"torchrun (--nproc-per-node .*?\S)\n\n", (root / "README.md").read_text(), re.DOTALL)
    assert line is not None
    words = shlex.split(line[1].replace("\\\n", "").replace("--train.epochs 5", "--train.epochs 1"))
    (tmp_path / "configs").symlink_to(root / "configs")
    write_data(tmp_path / "data" / "synthetic", train=130, val=20, size=64)
    command = [sys.executable, "-m", "torch.distributed.run", *words, "--run-name", "run", "--device", "cpu"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=200, env={**os.environ, "OMP_NUM_THREADS": "1"})
    run = Run(tmp_path / "runs" / "run")
    assert run.state == "done"
    assert run.environment["processes"] == 2


def test_numbers_that_are_not_finite_end_all_with_one_line(folder: Path) -> None:
    said = trained(place_for(folder, "diverged"), "--optim.lr", "1e30", torchrun=processes(2), status=1)
    assert said.count("nothing was updated and") == 1, said
    assert "corolla/training" not in said  # a traceback of torchrun's own is there, none of ours


def test_a_fault_before_the_first_step_ends_all_with_its_line(tmp_path: Path) -> None:
    """The leader's last word to the others comes right before its end."""
    break_first_jpeg(tmp_path / "data")
    (tmp_path / "everything.toml").write_text(EXPERIMENT)
    said = trained(place_for(tmp_path, "broken"), torchrun=processes(2), status=1)
    assert said.count("JPEG does not decode") == 1, said
    assert "exitcode  : 2 " in said  # torchrun's own report: no SIGABRT


def test_more_processes_than_parts_are_refused(folder: Path) -> None:
    place = place_for(folder, "refused")
    said = trained(place, "--train.accumulate", "1", torchrun=processes(2), status=1)
    assert said.count("that is 2 processes, and a batch has 1 part (--train.accumulate 1)") == 1, said
    assert not list((place / "runs").glob("*"))
