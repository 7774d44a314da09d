"""`corolla download` through the real client, against a server that does to it what networks and servers do."""

import base64
import json
import shutil
import subprocess
import sys
import threading
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from standin import StandIn

from corolla.data.tfrecord import encode_example, write_tfrecord
from corolla.errors import Failure, UserError
from corolla.kaggle.download import download
from corolla.kaggle.fetch import STAGING

MIB = 1 << 20
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def server(in_process: StandIn, competition_files: Callable[..., dict[str, bytes]], no_sleep: list[float]) -> StandIn:
    in_process.files = competition_files(big=True)
    return in_process


def big(server: StandIn) -> str:
    return max(server.files, key=lambda name: len(server.files[name]))


def base(server: StandIn) -> str:
    return big(server).rsplit("/", 1)[-1]


def wanted(server: StandIn, size: int = 224) -> dict[str, bytes]:
    return {name: body for name, body in server.files.items() if f"jpeg-{size}x" in name or "/" not in name}


def get(to: Path, **options: Any) -> Any:
    return download(to=to, progress=False, **options)


def assert_whole(server: StandIn, to: Path, size: int = 224) -> None:
    there = {
        path.relative_to(to).as_posix(): path.read_bytes()
        for path in to.rglob("*")
        if path.is_file() and STAGING not in path.parts and path.name != "competition.json"
    }
    assert there == wanted(server, size)


def published(to: Path) -> list[str]:
    return sorted(path.name for path in to.rglob("*.tfrec*") if STAGING not in path.parts)


def test_only_one_size_is_fetched_file_by_file(server: StandIn, tmp_path: Path) -> None:
    done = get(tmp_path / "data")
    assert_whole(server, tmp_path / "data")
    assert (done.num_files, done.num_fetched) == (7, 7)
    asked = {request.body["fileName"] for request in server.requests("DownloadDataFile")}
    assert asked == set(wanted(server))
    assert server.count("DownloadDataFiles") == 0
    assert not any("Authorization" in request.headers for request in server.requests("storage"))
    assert json.loads((tmp_path / "data/competition.json").read_text())["competition"] == "tpu-getting-started"


def test_what_is_verified_is_never_asked_for_again(server: StandIn, tmp_path: Path) -> None:
    get(tmp_path)
    server.journal.clear()
    assert get(tmp_path).num_fetched == 0
    assert server.journal == []
    name = big(server)
    (tmp_path / name).unlink()
    assert get(tmp_path).num_fetched == 1
    assert [request.body["fileName"] for request in server.requests("DownloadDataFile")] == [name]
    assert_whole(server, tmp_path)


def test_a_second_size_goes_beside_the_first(server: StandIn, tmp_path: Path) -> None:
    get(tmp_path)
    assert get(tmp_path, size=192).num_fetched == 6
    assert get(tmp_path).num_fetched == 0


def test_requests_are_paced(server: StandIn, tmp_path: Path, no_sleep: list[float]) -> None:
    get(tmp_path)
    assert sum(no_sleep) >= 0.25 * 5  # four a second


@pytest.mark.parametrize("page_cap", [1, 3])
def test_short_and_empty_pages(page_cap: int, server: StandIn, tmp_path: Path) -> None:
    server.page_cap = page_cap
    server.add_fault("ListDataFiles", "raw", body={"files": [], "nextPageToken": "0"}, times=1)
    get(tmp_path)
    assert_whole(server, tmp_path)


# Operation, fault, its options. Every one of these must end in the right files.
OVERCOME: dict[str, tuple[str, str, dict[str, Any]]] = {
    "reset at a byte": ("storage", "drop", {"at": 1_500_000}),
    "end at a byte": ("storage", "drop", {"at": 1_500_000, "rst": False}),
    "address expires": ("storage", "expire", {"after": 2}),
    "storage 403 once": ("storage", "status", {"code": 403, "plain": True}),
    "storage 429": ("storage", "status", {"code": 429, "retry_after": 3}),
    "storage 503": ("storage", "status", {"code": 503}),
    "short once": ("storage", "short", {"at": 2_000_000}),
    "claims more": ("storage", "claim_more", {"at": 1000}),
    "claims less": ("storage", "claim_less", {"at": 1000}),
    "no length": ("storage", "no_length", {}),
    "gzip": ("storage", "gzip", {"times": None}),
    "a byte differs": ("storage", "corrupt", {"at": 1_700_000}),
    "range ignored": ("storage", "ignore_range", {"times": None}),
    "trickle": ("storage", "trickle", {"at": 400_000, "pause_s": 0.01}),
    "stall at the start": ("storage", "stall", {}),
    "stall at a byte": ("storage", "stall_at", {"at": 1_500_000}),
    "storage html once": ("storage", "html", {}),
    "reset before an answer": ("DownloadDataFile", "reset", {}),
    "closed before an answer": ("DownloadDataFile", "close", {}),
    "429": ("DownloadDataFile", "status", {"code": 429, "retry_after": 7}),
    "429, nested": ("DownloadDataFile", "status", {"code": 429, "nested": True, "times": 3}),
    "500": ("DownloadDataFile", "status", {"code": 500, "times": 2}),
    "stalled answer": ("DownloadDataFile", "stall", {}),
    "listing reset": ("ListDataFiles", "reset", {"times": 2}),
    "listing 503": ("ListDataFiles", "status", {"code": 503, "times": 2}),
    "listing 429": ("ListDataFiles", "status", {"code": 429, "retry_after": 20}),
    "listing stalls": ("ListDataFiles", "stall", {}),
}


@pytest.mark.parametrize("name", OVERCOME)
def test_faults_are_overcome(name: str, server: StandIn, tmp_path: Path) -> None:
    operation, kind, options = OVERCOME[name]
    if operation != "ListDataFiles":
        options = {**options, "match": base(server)}
    server.add_fault(operation, kind, **options)
    get(tmp_path, timeout_s=0.5)
    assert_whole(server, tmp_path)


def test_a_drop_resumes_at_the_last_whole_chunk(server: StandIn, tmp_path: Path) -> None:
    server.add_fault("storage", "drop", at=1_500_000, match=base(server))
    get(tmp_path)
    ranges = [request.headers["Range"] for request in server.requests("storage") if "Range" in request.headers]
    assert ranges == [f"bytes={MIB}-"]
    assert_whole(server, tmp_path)


@pytest.mark.parametrize("code", [403, 429, 500])
def test_an_error_page_is_never_part_of_a_file(code: int, server: StandIn, tmp_path: Path) -> None:
    name = base(server)
    server.add_fault("storage", "drop", at=1_500_000, match=name)
    server.add_fault("storage", "status", code=code, plain=True, after=1, times=5, match=name)
    get(tmp_path)
    assert_whole(server, tmp_path)
    assert len({request.target for request in server.requests("storage") if name in request.target}) > 1


def test_retry_after_is_waited_for(server: StandIn, tmp_path: Path, no_sleep: list[float]) -> None:
    server.add_fault("DownloadDataFile", "status", code=429, retry_after=42)
    get(tmp_path)
    assert max(no_sleep) >= 42


def test_a_wait_longer_than_ones_patience_is_not_begun(server: StandIn, tmp_path: Path, no_sleep: list[float]) -> None:
    server.add_fault("DownloadDataFile", "status", code=429, retry_after=1800, times=None)
    with pytest.raises(Failure, match=r"too many requests .* asks to wait 1800 s"):
        get(tmp_path)
    assert sum(no_sleep) < 120


def test_a_dead_server_is_given_up_and_the_next_call_goes_on(
    server: StandIn, tmp_path: Path, no_sleep: list[float]
) -> None:
    server.add_fault("storage", "drop", at=1_500_000, match=base(server))
    server.add_fault("storage", "reset", after=1, times=None, match=base(server))
    with pytest.raises(Failure, match="the connection to Kaggle failed"):
        get(tmp_path)
    assert sum(no_sleep) < 300
    assert base(server) not in published(tmp_path)
    server.clear_faults()
    server.journal.clear()
    get(tmp_path)
    assert f"bytes={MIB}-" in [request.headers.get("Range") for request in server.requests("storage")]
    assert_whole(server, tmp_path)


def test_many_drops_with_progress_between_them_are_borne(server: StandIn, tmp_path: Path) -> None:
    server.add_fault("storage", "drop", at=1_100_000, times=2, match=base(server))
    get(tmp_path, patience_s=5)
    assert_whole(server, tmp_path)


def test_the_object_is_replaced_between_drop_and_retry(server: StandIn, tmp_path: Path) -> None:
    name = big(server)
    body = bytearray(server.files[name])
    # Another object of the same size and as valid: the last two records change places would do, but a file of the same
    # records in another order is what is at hand.
    half = _swap_first_records(bytes(body))
    server.add_fault("storage", "drop", at=1_500_000, match=base(server))
    server.add_fault("storage", "new_version", after=1, match=base(server), body=half)
    get(tmp_path)
    assert (tmp_path / name).read_bytes() == half


def _swap_first_records(body: bytes) -> bytes:
    ends = [0]
    for _ in range(2):
        ends.append(ends[-1] + 16 + int.from_bytes(body[ends[-1] : ends[-1] + 8], "little"))
    return body[ends[1] : ends[2]] + body[: ends[1]] + body[ends[2] :]


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        ("short", {"at": 2_000_000}, "has 2000000 bytes instead of"),
        ("corrupt", {"at": 1_700_000}, "data CRC differs"),
        ("claim_less", {"at": 100}, "bytes instead of"),
        ("html", {}, "looks like a web page"),
    ],
)
def test_what_stays_damaged_is_never_put_in_place(
    kind: str, options: dict[str, Any], reason: str, server: StandIn, tmp_path: Path
) -> None:
    name = big(server)
    server.add_fault("storage", kind, times=None, match=name.rsplit("/", 1)[-1], **options)
    with pytest.raises(Failure, match=rf"{name}: was sent damaged 3 times \(.*{reason}"):
        get(tmp_path)
    assert not (tmp_path / name).exists()
    assert len(published(tmp_path)) == 5, "the others are there"
    server.clear_faults()
    assert get(tmp_path).num_fetched == 1
    assert_whole(server, tmp_path)


def test_a_file_with_another_count_than_its_name_says_is_refused(server: StandIn, tmp_path: Path) -> None:
    name = "tfrecords-jpeg-224x224/val/01-224x224-4.tfrec"
    server.files[name] = server.files.pop("tfrecords-jpeg-224x224/val/01-224x224-3.tfrec")
    with pytest.raises(Failure, match="holds 3 records, its name says 4"):
        get(tmp_path)


def test_a_test_record_that_is_no_example_is_refused(server: StandIn, tmp_path: Path) -> None:
    name = "tfrecords-jpeg-224x224/test/00-224x224-3.tfrec"
    good = encode_example(image=b"no photo, but an image", label=None, id="0000007d0")
    write_tfrecord(tmp_path / "foreign.tfrec", [good, b"\xff" * 40, good])
    server.files[name] = (tmp_path / "foreign.tfrec").read_bytes()
    second = 16 + len(good)
    reason = rf"{name}: was sent damaged 3 times \(record 1 at byte {second}: malformed protobuf: [^()]*\)"
    with pytest.raises(Failure, match=reason) as caught:
        get(tmp_path / "data")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "data" / name).exists()
    assert len(published(tmp_path / "data")) == 5, "the others are there"


def test_zipped_files_and_encoded_names(server: StandIn, tmp_path: Path) -> None:
    server.zip_wrap = {big(server), "sample_submission.csv"}
    server.encode_slashes = True
    get(tmp_path)
    assert_whole(server, tmp_path)


REFUSED: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    ("status", {"code": 401}, UserError, r"does not accept the legacy key .*\(401\).*kaggle\.com/settings"),
    ("status", {"code": 404, "message": "Not found"}, UserError, "does not know it .*slug"),
    ("html", {}, Failure, "not Kaggle's API but a web page"),
    ("raw", {"body": {"files": None}}, Failure, "does not understand"),
    ("status", {"code": 500, "times": None}, Failure, "answered 500, a fault on its side"),
    ("reset", {"times": None}, Failure, r"the connection to Kaggle failed \(Connection reset by peer\)"),
]


@pytest.mark.parametrize(("kind", "options", "error", "message"), REFUSED)
def test_refusals_are_one_line_and_leave_nothing(
    kind: str, options: dict[str, Any], error: type[Exception], message: str, server: StandIn, tmp_path: Path
) -> None:
    server.add_fault("ListDataFiles", kind, **options)
    with pytest.raises(error, match=message) as caught:
        get(tmp_path)
    assert "\n" not in str(caught.value)
    assert server.key not in str(caught.value)
    assert server.count("ListDataFiles") == 1 or options.get("times", 1) is None
    assert published(tmp_path) == []


def test_html_in_place_of_the_redirect(server: StandIn, tmp_path: Path) -> None:
    server.add_fault("DownloadDataFile", "html", times=None)
    with pytest.raises(Failure, match="a web page instead of the file"):
        get(tmp_path)
    assert published(tmp_path) == []


def test_html_once_does_not_stay(server: StandIn, tmp_path: Path) -> None:
    server.add_fault("DownloadDataFile", "html")
    with pytest.raises(Failure, match="a web page instead of the file"):
        get(tmp_path)
    get(tmp_path)
    assert_whole(server, tmp_path)


@pytest.mark.parametrize("at", [30, 60, 100_000, 2_000_000])
def test_a_damaged_zip_is_asked_for_again(at: int, server: StandIn, tmp_path: Path) -> None:
    server.zip_wrap = {big(server)}
    server.add_fault("storage", "corrupt", at=at + len(base(server)), match=base(server))
    get(tmp_path)
    assert_whole(server, tmp_path)


def test_a_sample_with_other_ids_is_asked_for_again(server: StandIn, tmp_path: Path) -> None:
    server.add_fault("storage", "corrupt", at=12, match="sample_submission")
    get(tmp_path)
    assert (tmp_path / "sample_submission.csv").read_bytes() == server.files["sample_submission.csv"]


def test_a_sample_that_got_other_ids_in_a_complete_folder_is_mended(server: StandIn, tmp_path: Path) -> None:
    get(tmp_path)
    sample, body = tmp_path / "sample_submission.csv", server.files["sample_submission.csv"]
    other = body.replace(b"0000007d0", b"0000007dx")
    assert (len(other), other != body) == (len(body), True)
    sample.write_bytes(other)
    server.journal.clear()
    get(tmp_path)
    assert sample.read_bytes() == body
    assert sample.with_name("sample_submission.csv.replaced").read_bytes() == other
    assert [request.body["fileName"] for request in server.requests("DownloadDataFile")] == ["sample_submission.csv"]
    server.journal.clear()
    get(tmp_path)
    assert server.journal == []


def test_a_size_of_staged_bytes_of_another_does_not_count(server: StandIn, tmp_path: Path) -> None:
    server.add_fault("storage", "drop", at=1_500_000, match=base(server))
    server.add_fault("storage", "reset", after=1, times=None, match=base(server))
    with pytest.raises(Failure):
        get(tmp_path)
    assert get(tmp_path, size=192).num_fetched == 6


def test_rules_that_are_not_accepted(server: StandIn, tmp_path: Path) -> None:
    server.rules_accepted = False
    with pytest.raises(UserError, match=r"accept the rules at \S+/competitions/tpu-getting-started/rules"):
        get(tmp_path)


def test_a_wrong_slug_and_a_wrong_size(server: StandIn, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="petals"):
        get(tmp_path, competition="petals")
    with pytest.raises(UserError, match=r"no TFRecords of size 225; the sizes there are 192, 224"):
        get(tmp_path, size=225)


def test_data_of_another_competition_is_not_mixed_in(server: StandIn, tmp_path: Path) -> None:
    get(tmp_path)
    with pytest.raises(UserError, match="holds data of tpu-getting-started; choose another folder"):
        get(tmp_path, competition="petals")


def test_too_little_space_is_found_before_anything_is_asked_for(
    server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 10**6, 10**6))
    with pytest.raises(UserError, match=r"7\d MB are needed and 1 MB free"):
        get(tmp_path)
    assert server.count("DownloadDataFile") == 0


def test_a_file_of_ones_own_is_kept(server: StandIn, tmp_path: Path) -> None:
    (tmp_path / "sample_submission.csv").write_text("id,label\nmine,3\n")
    get(tmp_path)
    assert (tmp_path / "sample_submission.csv.replaced").read_text() == "id,label\nmine,3\n"
    assert (tmp_path / "sample_submission.csv").read_bytes() == server.files["sample_submission.csv"]


def test_two_downloads_at_once_share_the_work(server: StandIn, tmp_path: Path) -> None:
    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(get(tmp_path).num_fetched)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [0, 7]
    assert_whole(server, tmp_path)


@pytest.mark.parametrize(
    "middle", ["tpu-getting-started", "competitions/tpu-getting-started", "flower-classification-with-tpus"]
)
def test_mounted_data_is_linked_not_downloaded(
    middle: str, server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    get(tmp_path / "from")
    mount = tmp_path / "input" / middle
    mount.parent.mkdir(parents=True)
    (tmp_path / "from").rename(mount)
    (mount / "competition.json").unlink()
    monkeypatch.setenv("COROLLA_KAGGLE_INPUT", str(tmp_path / "input"))
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    server.journal.clear()
    done = get(tmp_path / "data")
    assert done.mounted == mount
    assert (tmp_path / "data/sample_submission.csv").resolve() == mount / "sample_submission.csv"
    assert len(list((tmp_path / "data").glob("tfrecords-jpeg-224x224/*/*.tfrec"))) == 6
    assert get(tmp_path / "data") == done
    assert server.journal == []


@pytest.mark.slow
def test_as_a_process_by_a_proxy(standin: StandIn, kaggle_home: Path, tmp_path: Path) -> None:
    standin.add_fault("ListDataFiles", "status", code=429, retry_after=30)
    command = [sys.executable, "-m", "corolla", "download", "--to", str(tmp_path / "data")]
    environment = standin.environment(kaggle_home)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, f"next: corolla check {tmp_path}/data --size 224")
    assert "too many requests" in done.stderr
    assert_whole(standin, tmp_path / "data")
    standin.rules_accepted = False
    (tmp_path / "data/sample_submission.csv").unlink()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "accept the rules" in done.stderr.splitlines()[-1]


def test_the_key_is_never_printed(standin: StandIn, kaggle_home: Path, tmp_path: Path) -> None:
    environment = standin.environment(kaggle_home) | {"VERBOSE": "1", "VERBOSE_OUTPUT": "true"}
    command = [sys.executable, "-m", "corolla", "download", "--to", str(tmp_path / "data")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    secrets = [standin.key, base64.b64encode(f"{standin.user}:{standin.key}".encode()).decode()]
    assert done.returncode == 0
    assert not [secret for secret in secrets if secret in done.stdout + done.stderr]
