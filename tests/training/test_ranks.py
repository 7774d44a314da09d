"""Several processes: how many there are, on which devices, and what may be asked for."""

import itertools
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from support import changed
from torch._C._distributed_c10d import HashStore

import corolla
from corolla.config import Config
from corolla.data.parts import Parts
from corolla.errors import Failure, UserError
from corolla.runs.folder import Run
from corolla.started_process import raise_error_of, status_of
from corolla.training import rendezvous
from corolla.training.launch import processes_here, run_processes
from corolla.training.ranks import ALONE, PeerLostError, Ranks, join, number_of_processes, own_device, start_device
from corolla.training.rendezvous import own_part
from corolla.training.restarts import note_stop, was_stopped
from corolla.training.together import Refusal, check_number, follow

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}


def test_a_batch_systems_variables_alone_are_no_torchrun() -> None:
    assert number_of_processes(TORCHRUN) == 2
    assert number_of_processes({"WORLD_SIZE": "8", "RANK": "0"}) == 1
    assert join(0, {}) is ALONE


@pytest.mark.parametrize(
    ("name", "num_gpus", "device"),
    [("auto", 0, "cpu"), ("auto", 2, "cuda:1"), ("cuda", 2, "cuda:1"), ("cpu", 2, "cpu")],
)
def test_each_process_has_a_gpu(name: str, num_gpus: int, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: num_gpus)
    assert own_device(name, TORCHRUN) == device
    assert own_device(name, {}) == name


@pytest.mark.parametrize(("number", "current"), [(1, []), (2, ["cuda:1"])])
def test_of_several_processes_each_computes_on_its_own_gpu_alone(
    number: int, current: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corolla.training.ranks.number_of_processes", lambda: number)
    monkeypatch.setattr("corolla.device.choose_device", torch.device)
    made: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_device", made.append)
    assert start_device("cuda:1") == torch.device("cuda:1")
    assert start_device("cpu") == torch.device("cpu")
    assert made == current


@pytest.mark.parametrize(
    ("name", "line"),
    [("auto", "this machine has 1 GPU for 2 processes"), ("cuda:1", "--device cuda:1: is one device")],
)
def test_devices_that_are_not_enough(name: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=line):
        own_device(name, TORCHRUN | {"LOCAL_WORLD_SIZE": "2"})


@pytest.mark.parametrize(
    ("asked", "num_parts", "num_gpus", "number"),
    [
        (None, 1, 2, 1),
        (None, 2, 2, 2),
        (None, 4, 2, 2),
        (None, 2, 0, 1),
        (None, None, 2, 1),
        ("all", 2, 2, 2),
        (2, None, 4, 2),
    ],
)
def test_a_run_takes_as_many_gpus_as_it_has_parts(
    asked: int | None, num_parts: int | None, num_gpus: int, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: num_gpus)
    assert processes_here(Config(gpus=asked), num_parts) == number


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (
            Config(gpus="all"),
            r"--gpus all: that is 2 processes, and a batch has 1 part: begin a run with --train.accumul",
        ),
        (Config(gpus=3), r"--gpus 3: torch sees 2 GPUs here"),
        (Config(gpus=2, device="cuda:1"), r"--gpus 2: --device cuda:1 is another choice"),
    ],
)
def test_gpus_that_cannot_be_had(config: Config, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match=line):
        processes_here(config, 1)


def test_gpus_on_a_machine_without(tiny_config: Config) -> None:
    config = changed(tiny_config, "train", accumulate=2)
    with pytest.raises(UserError, match="torch sees no GPUs here"):
        corolla.train(config, gpus="all", device="auto")
    assert not list(tiny_config.runs.glob("*"))


@pytest.mark.parametrize(("accumulate", "line"), [("auto", "give several the number"), (8, "a batch has 2 parts")])
def test_parts_that_are_too_few(accumulate: int | str, line: str) -> None:
    train = changed(Config(), "train", accumulate=accumulate).train
    check_number(ALONE, train, 1)
    with pytest.raises(UserError, match=line):
        check_number(Ranks(0, 3), train, 2)


def test_a_stop_counts_for_the_restarts_of_one_torchrun(tmp_path: Path) -> None:
    run = Run(tmp_path)
    first = {"TORCHELASTIC_RUN_ID": "a", "TORCHELASTIC_RESTART_COUNT": "0"}
    note_stop(run, {})
    assert not run.environment
    note_stop(run, first)
    assert was_stopped(run, first | {"TORCHELASTIC_RESTART_COUNT": "1"})
    assert not was_stopped(run, first)  # another torchrun of this name
    assert not was_stopped(run, {"TORCHELASTIC_RUN_ID": "b", "TORCHELASTIC_RESTART_COUNT": "1"})
    assert not was_stopped(run, {})


@pytest.mark.parametrize("num_ranks", [1, 2, 3])
@pytest.mark.parametrize(("number", "num_images"), [(1, 5), (3, 10), (4, 3)])
def test_every_image_is_in_one_part(num_ranks: int, number: int, num_images: int) -> None:
    all_parts = [Parts(number, rank, num_ranks) for rank in range(num_ranks)]
    samples = torch.arange(num_images).numpy()
    sizes = {}
    for parts in all_parts:
        own = parts.sizes(num_images)
        sizes |= own
        if own:
            assert len(parts.take(samples)) == sum(own.values())
    assert list(dict(sorted(sizes.items())).values()) == [
        len(part) for part in torch.arange(num_images).tensor_split(len(sizes))
    ]
    assert len(sizes) == min(number, num_images)


def test_the_processes_of_a_restart_meet_though_they_come_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that die leave their names; the first call has one of them, who comes last."""
    monkeypatch.setattr(rendezvous, "ANSWER_S", 0.2)
    store = HashStore()
    for rank in range(3):
        store.set(f"corolla/names/{rank}", "dead")
    met = list[int]()

    def come(rank: int) -> threading.Thread:
        thread = threading.Thread(target=lambda: met.append(own_part(store, rank, 3).add("met", 1)), daemon=True)
        thread.start()
        return thread

    threads = [come(1)]
    while store.get("corolla/names/1") == b"dead":
        time.sleep(0.01)
    threads.append(come(0))
    while not store.check(["corolla/call"]):
        time.sleep(0.01)
    time.sleep(0.1)
    threads.append(come(2))
    for thread in threads:
        thread.join(5)
    assert sorted(met) == [1, 2, 3]  # in one part of the store


def test_processes_can_be_started_from_any_thread(tmp_path: Path) -> None:
    """As a server or a notebook's widget would do; only the main thread may set the handlers of signals."""
    path = tmp_path / "numbers.json"
    path.write_text("[1, 2]")
    with ThreadPoolExecutor(1) as pool:
        pool.submit(run_processes, 1, "json.tool", path).result(timeout=60)


def test_the_error_that_counts_is_told(tmp_path: Path) -> None:
    """Not that of a process which was left alone by the one that failed, whichever of them comes first."""
    said = tmp_path / "said"

    def failing(error: Exception) -> Callable[[], int]:
        def work() -> int:
            raise error

        return work

    for errors in itertools.permutations([PeerLostError("left alone"), UserError("no such photo")]):
        statuses = [status_of(failing(error), said) for error in errors]
        assert sorted(statuses) == [1, 2]
        with pytest.raises(UserError, match="no such photo"):
            raise_error_of("one of them", said)
        said.unlink()
    assert status_of(failing(PeerLostError("left alone")), said) == 1
    with pytest.raises(Failure, match="left alone"):
        raise_error_of("one of them", said)
    assert status_of(lambda: None, said) == 0


@pytest.mark.parametrize("host", ["another-machine", socket.gethostname()])
def test_what_refuses_a_start_is_told_on_every_machine(
    host: str, tiny_config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Told(Ranks):
        def tell(self, value: Any) -> Any:
            return Refusal(host, "runs/teacher: there is no such run", 2)

    with pytest.raises(SystemExit) as ended:
        follow(tiny_config, Run(tmp_path), Told(1, 2), None)
    assert ended.value.code == 2
    said = "process 0 on another-machine: runs/teacher: there is no such run"
    assert (said in caplog.text) == (host == "another-machine")
