"""`corolla submit --notebook` through the real client: dataset, notebook, submission, each once, whatever fails."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from standin import StandIn

from corolla.config import Config, ModelConfig, PipelineConfig, TrainConfig
from corolla.errors import Failure, UserError
from corolla.kaggle.ledger import Ledger
from corolla.kaggle.submit_notebook import submit_notebook
from corolla.training.train import train

pytestmark = pytest.mark.timeout(180)
SLUG = "tpu-getting-started"


@pytest.fixture(scope="module")
def trained(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two small runs."""
    runs = tmp_path_factory.mktemp("runs")
    config = Config(
        data=tiny_data,
        runs=runs,
        device="cpu",
        model=ModelConfig(name="timm:test_efficientnet"),
        train=TrainConfig(epochs=1, batch_size=8),
        pipeline=PipelineConfig(workers=0),
    )
    return [train(config, experiment=name).folder for name in ("first", "second")]


@pytest.fixture
def server(in_process: StandIn, no_sleep: list[float], no_wheels: None) -> StandIn:
    assert (no_sleep, no_wheels) == ([], None)
    in_process.notebooks_only = True
    return in_process


@pytest.fixture
def send(trained: list[Path], tmp_path: Path) -> Callable[..., Any]:
    def call(num_runs: int = 1, **options: Any) -> Any:
        return submit_notebook(
            trained[:num_runs], "by notebook", competition=SLUG, ledger=tmp_path / "ledger.csv", **options
        )

    return call


def test_the_whole_way(
    in_process: StandIn, no_sleep: list[float], send: Callable[..., Any], tmp_path: Path, kaggle_home: Path
) -> None:
    server = in_process  # with wheels
    server.notebooks_only, server.public_score = True, "0.91"
    done = send(2, tta="flip", method="mean")
    (dataset,) = server.datasets.values()
    assert dataset.is_private
    names = [name for name, _ in dataset.versions[0]]
    assert {"corolla-bundle.json", "first-seed0--best.pt", "second-seed0--best.pt"} < set(names)
    assert any(name.startswith("corolla-") and name.endswith(".whl") for name in names)
    (kernel,) = server.kernels
    assert (kernel["isPrivate"], kernel["enableGpu"], kernel.get("enableInternet", False)) == (True, True, False)
    assert kernel["competitionDataSources"] == [SLUG]
    assert kernel["datasetDataSources"] == [f"{server.user}/corolla-{SLUG}"]
    notebook = json.loads(kernel["text"])
    assert "--no-index" in "".join(cell["source"] for cell in notebook["cells"])
    (asked,) = server.requests("CreateCodeSubmission")
    assert (asked.body["kernelVersion"], asked.body["fileName"]) == (1, "submission.csv")
    assert done.entry.status == "complete"
    assert no_sleep
    assert Ledger(tmp_path / "ledger.csv").read() == [done.entry]
    assert len([*kaggle_home.glob(".cache/corolla/submit/*.lock")]) == 1
    assert (done.entry.public_score, done.entry.runs) == ("0.91", "first-seed0 second-seed0")


@pytest.mark.slow
def test_two_ledgers_at_once_make_one_submission(
    server: StandIn, trained: list[Path], tmp_path: Path, kaggle_home: Path
) -> None:
    states, has_waited = server.routes["GetKernelSessionStatus"], threading.Event()

    def slow(ask: Any) -> Any:
        has_waited.wait(2)  # the second one comes to the lock meanwhile
        return states(ask)

    server.routes["GetKernelSessionStatus"] = slow
    calls = [
        lambda name=name: submit_notebook(
            trained[:1], "by notebook", competition=SLUG, ledger=tmp_path / name / "ledger.csv"
        )
        for name in ("a", "b")
    ]
    with ThreadPoolExecutor(2) as pool:
        done = [future.result() for future in [pool.submit(call) for call in calls]]
    assert sorted(each.sent for each in done) == [False, True]
    assert (len(server.submissions), len(server.kernels)) == (1, 1)
    assert len([*kaggle_home.glob(".cache/corolla/submit/*.lock")]) == 1


def test_again_the_same_is_not_sent_and_another_run_is_a_new_version(server: StandIn, send: Callable[..., Any]) -> None:
    send()
    assert not send().sent
    assert (len(server.submissions), len(server.kernels)) == (1, 1)
    send(2)
    (dataset,) = server.datasets.values()
    assert [len(server.submissions), len(server.kernels), len(dataset.versions)] == [2, 2, 2]
    send(2, again=True)  # the version that has run is submitted once more
    assert [len(server.submissions), len(server.kernels), len(dataset.versions)] == [3, 2, 2]


@pytest.mark.parametrize("kind", ["lost_answer", "lost_request"])
def test_exactly_one_submission(kind: str, server: StandIn, send: Callable[..., Any]) -> None:
    server.add_fault("CreateCodeSubmission", kind)
    assert send().entry.status == "complete"
    assert len(server.submissions) == 1


def test_a_notebook_that_fails_shows_its_log(server: StandIn, send: Callable[..., Any], tmp_path: Path) -> None:
    server.kernel_error = "notebook failed"
    pieces = [{"stream_name": "stderr", "time": 1.0, "data": f"line {n}\n"} for n in range(50)]
    pieces.append({"stream_name": "stderr", "time": 1.0, "data": f"\x1b[31m{9000 * 'x'}\nValueError: ü, lost"})
    server.kernel_log = json.dumps(pieces).removesuffix('lost"}]') + "\\u00"  # cut short
    with pytest.raises(Failure, match=r"version 1 ended with error, nothing was submitted(.|\n)*line 49") as failure:
        send()
    assert str(failure.value).splitlines()[-3:-1] == [f"{300 * 'x'}...", "ValueError: ü,"]
    assert "line 0\n" in (tmp_path / f"notebook-{SLUG}/notebook.log").read_text()
    assert server.submissions == []
    server.kernel_error = ""
    assert send().sent
    (dataset,) = server.datasets.values()
    assert (len(dataset.versions), len(server.kernels)) == (1, 2), "the dataset was there already"


def test_a_notebook_that_takes_long_is_waited_for_by_the_next_call(server: StandIn, send: Callable[..., Any]) -> None:
    server.kernel_polls = ["RUNNING"] * 20
    with pytest.raises(Failure, match="has not ended within 1 min"):
        send(wait_s=60)
    assert server.submissions == []
    assert send().sent
    assert len(server.kernels) == 1


def test_answers_that_tell_nothing_are_no_end_of_a_notebook(server: StandIn, send: Callable[..., Any]) -> None:
    server.add_fault("CreateDataset", "lost_answer")
    server.add_fault("GetKernelSessionStatus", "status", code=403)
    server.add_fault("GetKernelSessionStatus", "html")
    with pytest.raises(Failure, match=r"a web page or the like.* how version 1 ends is not known, .* goes on waiting"):
        send()
    server.add_fault("GetKernelSessionStatus", "status", code=401, after=1)
    with pytest.raises(Failure, match=r"Kaggle does not accept .* the same command goes on waiting"):
        send()
    assert send().sent
    (dataset,) = server.datasets.values()
    assert (len(dataset.versions), len(server.kernels)) == (1, 1)


def test_a_dataset_that_needs_time(server: StandIn, send: Callable[..., Any]) -> None:
    server.dataset_polls = ["NOT_YET_PERSISTED", "BLOBS_RECEIVED", "BLOBS_DECOMPRESSED"]
    assert send().sent


def test_a_dataset_that_fails(server: StandIn, send: Callable[..., Any]) -> None:
    server.dataset_polls = ["FAILED"]
    with pytest.raises(Failure, match=r"has not made it ready \(failed\)"):
        send()
    assert server.kernels == []


def test_a_file_that_does_not_arrive_makes_no_dataset(server: StandIn, send: Callable[..., Any]) -> None:
    server.add_fault("upload", "status", code=403, times=None, match="best.pt")
    with pytest.raises(Failure, match=r"files were uploaded|Upload unsuccessful"):
        send()
    assert (server.datasets, server.kernels) == ({}, [])
    server.clear_faults()
    assert send().sent


def test_one_upload_that_fails_once_is_repeated(server: StandIn, send: Callable[..., Any]) -> None:
    server.add_fault("upload", "status", code=500, match="best.pt")
    assert send().sent
    (dataset,) = server.datasets.values()
    assert any(name.endswith("best.pt") for name, _ in dataset.versions[0])


def test_a_notebook_that_kaggle_refuses(server: StandIn, send: Callable[..., Any]) -> None:
    server.kernel_push_error = "Maximum weekly GPU quota of 30.00 hours reached."
    with pytest.raises(Failure, match="refuses the notebook: Maximum weekly GPU quota"):
        send()
    assert server.submissions == []


def test_nothing_is_uploaded_when_the_day_is_used_up(server: StandIn, send: Callable[..., Any]) -> None:
    server.max_daily = server.num_today = 5
    with pytest.raises(UserError, match="today's limit is used up"):
        send()
    assert server.datasets == {}
