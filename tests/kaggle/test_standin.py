"""The real kaggle client against the stand-in: that what the other tests build upon holds."""

import json
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from standin import StandIn

SLUG = "tpu-getting-started"


@pytest.fixture
def api(in_process: StandIn) -> Any:
    from kaggle.api.kaggle_api_extended import KaggleApi

    api = KaggleApi()
    api.authenticate()
    return api


@pytest.fixture
def csv(tmp_path: Path) -> str:
    path = tmp_path / "submission.csv"
    path.write_text("id,label\n0,1\n")
    return str(path)


def list_names(api: Any) -> list[str]:
    names, token = [], ""
    while True:
        page = api.competition_list_files(SLUG, page_token=token, page_size=200)
        names += [file.name for file in page.files]
        token = page.next_page_token
        if not token:
            return names


def test_listing_goes_through_every_page(standin: StandIn, api: Any):
    standin.page_cap = 4
    assert list_names(api) == list(standin.files)
    assert standin.count("ListDataFiles") == 4  # 13 files
    first = standin.requests("ListDataFiles")[0]
    assert (first.target, first.headers["Authorization"]) == (
        "/v1/competitions.CompetitionApiService/ListDataFiles",
        "Basic ***",
    )


@pytest.mark.parametrize("rst", [True, False])
def test_a_dropped_download_is_resumed(
    standin: StandIn,
    api: Any,
    no_sleep: list[float],
    tmp_path: Path,
    competition_files: Callable[..., dict[str, bytes]],
    rst: bool,
):
    standin.files = competition_files(big=True)
    name = max(standin.files, key=lambda name: len(standin.files[name]))
    assert len(standin.files[name]) > 3 << 20
    standin.add_fault("storage", "drop", at=1_500_000, rst=rst)
    api.competition_download_file(SLUG, name, path=str(tmp_path), quiet=True)
    (path,) = tmp_path.rglob(Path(name).name)  # 2.2.5 makes its folders
    assert path.read_bytes() == standin.files[name]
    first, second = standin.requests("storage")
    assert (first.status, first.sent, second.status) == (200, 1_500_000, 206)
    assert second.headers["Range"] == "bytes=1048576-"
    assert "Authorization" not in first.headers
    assert [2 <= wait <= 3.5 for wait in no_sleep] == [True]


def test_a_submission_is_scored(standin: StandIn, api: Any, csv: str):
    standin.score_after_polls = 2
    answer = api.competition_submit(csv, "first try", SLUG, quiet=True)
    statuses = [api.competition_submissions(SLUG)[0].status.name for _ in range(3)]
    assert statuses == ["PENDING", "PENDING", "COMPLETE"]
    (row,) = api.competition_submissions(SLUG)
    assert (row.ref, row.description, row.public_score) == (answer.ref, "first try", "0.98765")
    assert standin.submitted[answer.ref] == Path(csv).read_bytes()
    limits = api.competition_get_submission_limits(SLUG)
    assert (limits.num_today, limits.num_allowed_now) == (1, 4)
    assert "Authorization" not in standin.requests("upload")[0].headers


def test_a_lost_answer_leaves_a_submission_and_a_lost_request_none(standin: StandIn, api: Any, csv: str):
    standin.add_fault("CreateSubmission", "lost_request")
    standin.add_fault("CreateSubmission", "lost_answer")
    with pytest.raises(requests.ConnectionError):
        api.competition_submit(csv, "lost", SLUG, quiet=True)
    assert standin.submissions == []
    with pytest.raises(requests.ConnectionError):
        api.competition_submit(csv, "lost", SLUG, quiet=True)
    assert [row["description"] for row in standin.submissions] == ["lost"]


def test_a_dropped_upload_is_repeated(standin: StandIn, api: Any, no_sleep: list[float], tmp_path: Path):
    path = tmp_path / "submission.csv"
    path.write_bytes(b"id,label\n" * 100_000)
    standin.add_fault("upload", "drop_upload", at=300_000)
    answer = api.competition_submit(str(path), "again", SLUG, quiet=True)
    assert standin.submitted[answer.ref] == path.read_bytes()
    assert [request.body for request in standin.requests("upload")] == [300_000, 900_000]


def test_an_interrupted_upload_goes_on_where_it_stopped(standin: StandIn, api: Any, tmp_path: Path):
    path = tmp_path / "weights.bin"
    path.write_bytes(bytes(range(256)) * 4000)
    folder = tmp_path / "dataset"
    folder.mkdir()
    token = api.build_kaggle_client().blobs.blob_api_client.start_blob_upload(_blob_request(path))
    standin.add_fault("upload", "drop_upload", at=400_000)
    with pytest.raises(requests.ConnectionError), path.open("rb") as file:
        requests.put(token.create_url, data=file, timeout=10)
    api.upload_complete(str(path), token.create_url, True, resume=True)
    question, rest = standin.requests("upload")[1:]
    assert (question.headers["Content-Range"], question.status) == ("bytes */1024000", 308)
    assert rest.headers["Content-Range"] == "bytes 400000-1023999/1024000"
    assert standin.blobs == {"weights.bin": path.read_bytes()}


def _blob_request(path: Path) -> Any:
    from kagglesdk.blobs.types.blob_api_service import ApiBlobType, ApiStartBlobUploadRequest

    request = ApiStartBlobUploadRequest()
    request.type, request.name, request.content_length = ApiBlobType.DATASET, path.name, path.stat().st_size
    return request


def test_a_notebook_is_pushed_with_its_data_set_and_submitted(standin: StandIn, api: Any, tmp_path: Path):
    folder = tmp_path / "dataset"
    folder.mkdir()
    ref = "fake-user/corolla-weights"
    metadata = {"id": ref, "title": "corolla weights", "licenses": [{"name": "Apache 2.0"}]}
    (folder / "dataset-metadata.json").write_text(json.dumps(metadata))
    (folder / "model.bin").write_bytes(b"one")
    assert api.dataset_create_new(str(folder), quiet=True).status == "ok"
    (folder / "model.bin").write_bytes(b"three")
    standin.dataset_polls = ["NOT_YET_PERSISTED"]
    api.dataset_create_version(str(folder), "second", quiet=True)
    assert standin.datasets[ref].versions == [[("model.bin", b"one")], [("model.bin", b"three")]]
    assert standin.datasets[ref].is_private
    assert [api.dataset_status(ref) for _ in range(2)] == ["not_yet_persisted", "ready"]

    notebook = tmp_path / "notebook"
    notebook.mkdir()
    (notebook / "predict.py").write_text("print(1)")
    kernel = {"id": "fake-user/petals", "title": "petals", "code_file": "predict.py", "language": "python"}
    kernel |= {"kernel_type": "script", "competition_sources": [SLUG, "wrong"], "dataset_sources": [ref]}
    (notebook / "kernel-metadata.json").write_text(json.dumps(kernel))
    api.kernels_push(str(notebook))
    pushed = api.kernels_push(str(notebook))
    assert (pushed.version_number, pushed.error) == (2, "")
    assert (pushed.invalid_competition_sources, pushed.invalid_dataset_sources) == (["wrong"], [])
    assert standin.kernels[0]["text"] == "print(1)"
    standin.kernel_error, standin.kernel_log = "out of memory", "line of the log"
    statuses = [api.kernels_status("fake-user/petals") for _ in range(3)]
    assert [status.status.name for status in statuses] == ["QUEUED", "RUNNING", "ERROR"]
    assert statuses[-1].failure_message == "out of memory"
    standin.kernel_output = {"submission.csv": b"id,label\n"}
    written, _ = api.kernels_output("fake-user/petals", str(tmp_path / "output"))
    assert [Path(path).read_bytes() for path in written] == [b"id,label\n", b"line of the log"]

    standin.notebooks_only = True
    answer = api.competition_submit_code("submission.csv", "by notebook", SLUG, "fake-user/petals", 2)
    assert standin.submissions[-1]["ref"] == answer.ref
    with pytest.raises(requests.HTTPError, match="Notebooks"):
        api.competition_submit(str(notebook / "predict.py"), "by file", SLUG, quiet=True)


def test_a_wrong_key_and_an_unknown_token_are_refused(standin: StandIn, api: Any, monkeypatch: pytest.MonkeyPatch):
    standin.key = "another"
    with pytest.raises(requests.HTTPError, match="Unauthenticated") as caught:
        list_names(api)
    assert caught.value.response is not None
    assert caught.value.response.status_code == 401
    monkeypatch.setenv("KAGGLE_API_TOKEN", "fake-token")
    api.authenticate()
    list_names(api)
    assert standin.requests("ListDataFiles")[-1].headers["Authorization"] == "Bearer ***"


def test_faults_come_in_turn(standin: StandIn, api: Any):
    standin.add_fault("ListDataFiles", "status", code=429, retry_after=3, after=1)
    standin.add_fault("ListDataFiles", "status", code=429, nested=True, after=1)
    standin.add_fault("ListDataFiles", "html", after=1)
    standin.add_fault("ListDataFiles", "raw", body={}, after=1)
    list_names(api)
    with pytest.raises(requests.HTTPError, match="Too many requests") as caught:
        list_names(api)
    assert caught.value.response is not None
    assert caught.value.response.headers["Retry-After"] == "3"
    with pytest.raises(requests.HTTPError, match="429 Client Error"):
        list_names(api)
    with pytest.raises(json.JSONDecodeError):
        list_names(api)
    assert list_names(api) == []
    assert len(list_names(api)) == 13
    with pytest.raises(ValueError, match="no fault"):
        standin.add_fault("ListDataFiles", "drop")


@pytest.mark.parametrize("kind", ["reset", "close", "stall", "lost_request", "lost_answer"])
@pytest.mark.parametrize("operation", ["GetCompetition", "upload"])
def test_requests_without_an_answer(standin: StandIn, operation: str, kind: str):
    if operation == "upload" and kind == "lost_request":
        kind = "drop_upload"
    method, path = ("PUT", "/upload/token") if operation == "upload" else ("POST", f"/v1/a.B/{operation}")
    standin.add_fault(operation, kind)
    with pytest.raises((requests.ConnectionError, requests.Timeout)):
        requests.request(method, standin.url + path, data="{}", timeout=0.2)
    assert requests.request(method, standin.url + path, data="{}", timeout=5).status_code in (401, 404)
    assert standin.requests(operation)[0].status is None


def test_a_refused_upload_is_no_submission(standin: StandIn, api: Any, csv: str):
    standin.add_fault("upload", "status", code=403)
    assert api.competition_submit(csv, "refused", SLUG, quiet=True).message == "Could not submit to competition"
    assert standin.submissions == []
    standin.num_today = standin.max_daily
    with pytest.raises(requests.HTTPError, match="daily Submission allowance"):
        api.competition_submit(csv, "too many", SLUG, quiet=True)


def test_rules_zip_slashes_and_leaderboard(standin: StandIn, api: Any, tmp_path: Path):
    name = next(iter(standin.files))
    standin.rules_accepted = False
    with pytest.raises(requests.HTTPError, match="accept this competition's rules"):
        api.competition_download_file(SLUG, name, path=str(tmp_path), quiet=True)
    standin.rules_accepted, standin.zip_wrap, standin.encode_slashes = True, {name}, True
    api.competition_download_file(SLUG, name, path=str(tmp_path), quiet=True)
    (path,) = tmp_path.rglob("*.zip")
    with zipfile.ZipFile(path) as archive:
        assert archive.read(Path(name).name) == standin.files[name]
    assert "train%2F" in standin.requests("storage")[0].target
    standin.leaderboard = [
        {"teamId": n, "teamName": f"team {n}", "submissionDate": "2026-01-01T00:00:00Z", "score": f"{1 - n / 100:.5f}"}
        for n in range(25)
    ]
    assert [row.team_id for row in api.competition_leaderboard_view(SLUG, 20, "20")] == [20, 21, 22, 23, 24]


STORAGE = {  # kind: what a plain GET gets: status, whether the right bytes, or an error
    "status": (500, False),
    "html": (200, False),
    "short": (200, False),
    "claim_less": (200, False),
    "corrupt": (200, False),
    "no_length": (200, True),
    "gzip": (200, True),
    "ignore_range": (200, True),
    "new_version": (200, True),
    "trickle": (200, True),
    "expire": (403, False),
    "claim_more": None,
    "drop": None,
    "reset": None,
    "close": None,
    "stall": None,
    "stall_at": None,
}


@pytest.mark.parametrize("kind", STORAGE)
def test_every_fault_of_storage(standin: StandIn, kind: str):
    expected, content = STORAGE[kind], standin.files["sample_submission.csv"] * 100
    standin.files["other.csv"] = content
    address = f"{standin.url}/storage/competition/other.csv?Signature=1"
    standin.add_fault("storage", kind, match="other", pause_s=0.001)
    assert requests.get(f"{standin.url}/storage/competition/sample_submission.csv", timeout=5).ok
    if expected is None:
        with pytest.raises((requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)):
            requests.get(address, timeout=0.2)
    else:
        answer = requests.get(address, timeout=5)
        assert (answer.status_code, answer.content == content) == expected
    again = requests.get(address, headers={"Range": "bytes=10-"}, timeout=5)
    assert again.status_code == 403 if kind == "expire" else again.content == content[10:]
    assert [request.fault for request in standin.requests("storage")] == ["", kind, ""]


def test_a_process_finds_only_the_stand_in(standin: StandIn, kaggle_home: Path):
    program = """
import socket, time
from kaggle import api
start = time.monotonic()
time.sleep(3600)
assert time.monotonic() - start >= 3600
print(*(file.name for file in api.competition_list_files("tpu-getting-started", page_size=200).files))
api.competition_download_file("tpu-getting-started", "sample_submission.csv", path=".")
socket.create_connection(("example.com", 80))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=standin.environment(kaggle_home),
        cwd=kaggle_home,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[0].split() == list(standin.files), done.stderr
    assert done.stderr.rstrip().endswith("RuntimeError: test tried to reach example.com")
    assert (kaggle_home / "sample_submission.csv").read_bytes() == standin.files["sample_submission.csv"]
    assert standin.requests("ListDataFiles")[0].target.startswith("http://localhost/api/v1/")
    assert "Authorization" not in standin.requests("storage")[0].headers


def test_no_other_host_is_reached(strangers: list[str]):
    with pytest.raises(RuntimeError, match="reach example"):
        socket.create_connection(("example.com", 80))
    with socket.socket() as own, pytest.raises(RuntimeError, match="reach 10"):
        own.connect(("10.0.0.1", 80))
    assert strangers == ["example.com", "10.0.0.1"]
    strangers.clear()
