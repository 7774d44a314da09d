"""One submission of a content, also where two are asked for at once with two ledgers: a lock in the user's cache."""

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from standin import StandIn

from corolla.errors import Failure, UserError
from corolla.files import is_locked
from corolla.kaggle.ledger import Ledger
from corolla.kaggle.manifest import DataManifest
from corolla.kaggle.sending import sending_alone
from corolla.kaggle.submit import Submitted, submit

pytestmark = pytest.mark.timeout(120)
SLUG = "tpu-getting-started"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A CSV, with the data folder that it is checked by beside it."""
    path, data = tmp_path / "mine.csv", tmp_path / "data"
    data.mkdir()
    (data / "sample_submission.csv").write_text("id,label\na,0\nb,0\n")
    DataManifest(SLUG).save(data)
    path.write_text("id,label\na,1\nb,2\n")
    return path


@pytest.fixture
def send(mine: Path, tmp_path: Path) -> Callable[..., Submitted]:
    """Submits the CSV with the ledger of a folder, whose name is given."""
    return lambda folder, **options: submit(
        mine, folder, data=tmp_path / "data", ledger=tmp_path / folder / "ledger.csv", **options
    )


def answer_slowly(server: StandIn, operation: str, seconds: float) -> None:
    """Let the server answer with what was true before a pause, as a busy one does."""
    answer = server.routes[operation]

    def slow(ask: Any) -> Any:
        found = answer(ask)
        threading.Event().wait(seconds)
        return found

    server.routes[operation] = slow


def at_once(calls: Sequence[Callable[[], Submitted]]) -> list[Submitted]:
    """Make the calls in threads, and return their results."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def descriptions(server: StandIn) -> list[str]:
    return [submission["description"] for submission in server.submissions]


def locks(home: Path) -> list[Path]:
    return sorted(home.glob(".cache/corolla/submit/*.lock"))


def notes(home: Path) -> list[str]:
    return [path.read_text().strip() for path in home.glob(".cache/corolla/submit/*.sending")]


def test_two_ledgers_at_once_make_one_submission(
    server: StandIn, send: Callable[..., Submitted], tmp_path: Path, kaggle_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answer_slowly(server, "ListSubmissions", 0.15)
    done = at_once([lambda: send("a"), lambda: send("b")])
    assert len(server.submissions) == 1
    assert sorted(each.sent for each in done) == [False, True]
    assert done[0].entry.ref == done[1].entry.ref
    assert f"{SLUG}: another corolla submit is sending the same content; waiting" in caplog.text
    for folder in "ab":
        assert [row.status for row in Ledger(tmp_path / folder / "ledger.csv").read()] == ["complete"]
    assert (len(locks(kaggle_home)), notes(kaggle_home)) == (1, []), "the lock stays, and nothing is on its way"


def test_again_from_two_ledgers_at_once_makes_two_that_are_told_apart(
    server: StandIn, send: Callable[..., Submitted]
) -> None:
    first = send("a").entry
    answer_slowly(server, "ListSubmissions", 0.05)
    done = at_once([lambda: send("a", again=True), lambda: send("b", again=True)])
    assert [each.sent for each in done] == [True, True]
    assert sorted(each.entry.tag for each in done) == [f"{first.tag}-2", f"{first.tag}-3"]
    assert len(set(descriptions(server))) == len(server.submissions) == 3


def test_it_is_one_account_whatever_it_signs_in_with(
    server: StandIn, send: Callable[..., Submitted], kaggle_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send("a")
    monkeypatch.delenv("KAGGLE_USERNAME")
    monkeypatch.delenv("KAGGLE_KEY")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "fake-token")
    assert not send("b").sent
    assert len(locks(kaggle_home)) == 1


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (("ann", "flowers", "0" * 64), True),
        (("Ann", "Flowers", "0" * 64), True),
        (("bob", "flowers", "0" * 64), False),
        (("ann", "birds", "0" * 64), False),
        (("ann", "flowers", "1" * 64), False),
        (("annf", "lowers", "0" * 64), False),
    ],
)
def test_the_lock_is_of_account_competition_and_content(
    other: tuple[str, str, str], same: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    with sending_alone("ann", "flowers", "0" * 64):
        (lock,) = locks(tmp_path)
        assert is_locked(lock)
    with sending_alone(*other):
        assert len(locks(tmp_path)) == (1 if same else 2)
    assert not is_locked(lock)


@pytest.mark.parametrize("variable", ["", "cache", "./cache"])
def test_a_relative_cache_is_not_another_one_in_every_folder(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", variable)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        with sending_alone("ann", "flowers", "0" * 64):
            pass
    assert len(locks(tmp_path)) == 1
    assert [*(tmp_path / "a").iterdir(), *(tmp_path / "b").iterdir()] == []


def a_file(cache: Path) -> None:
    cache.write_text("")


def a_file_inside(cache: Path) -> None:
    (cache / "corolla").mkdir(parents=True)
    (cache / "corolla/submit").write_text("")


def a_link_to_nowhere(cache: Path) -> None:
    cache.symlink_to("nowhere/at/all")


@pytest.mark.parametrize("spoil", [a_file, a_file_inside, a_link_to_nowhere])
def test_a_cache_that_cannot_be_written_does_not_keep_it_from_being_sent(
    spoil: Callable[[Path], None],
    server: StandIn,
    send: Callable[..., Submitted],
    kaggle_home: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    spoil(kaggle_home / ".cache")
    assert send("a").sent
    assert "can't be written" in caplog.text
    assert "would be sent twice; name another cache with XDG_CACHE_HOME" in caplog.text
    assert not send("b").sent
    assert len(server.submissions) == 1


def test_a_list_that_lags_is_waited_for(
    server: StandIn, send: Callable[..., Submitted], no_sleep: list[float], kaggle_home: Path
) -> None:
    server.add_fault("ListSubmissions", "raw", body={"submissions": []}, times=5)
    assert send("a").sent
    assert sum(no_sleep) > 10
    assert notes(kaggle_home) == []
    assert not send("b").sent
    assert len(server.submissions) == 1


def test_a_list_that_lags_for_long_makes_no_second_submission(
    server: StandIn,
    send: Callable[..., Submitted],
    kaggle_home: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server.add_fault("ListSubmissions", "raw", body={"submissions": []}, times=None)
    first = send("a").entry
    assert f"submission {first.ref} is sent, but Kaggle does not list it within 60 s" in caplog.text
    assert notes(kaggle_home) == [f"{first.tag} {first.ref}"]
    with pytest.raises(UserError, match=rf"was sent as submission {first.ref}, not from .*b/ledger\.csv, and Kaggle"):
        send("b")
    assert len(server.submissions) == 1
    second = send("c", again=True).entry
    assert (second.tag, len(server.submissions)) == (f"{first.tag}-2", 2)
    server.clear_faults()
    assert send("b").entry.ref == first.ref
    assert len(server.submissions) == 2


@pytest.mark.parametrize("kind", ["reset", "status"])
def test_a_list_that_fails_does_not_hide_that_it_is_sent(
    kind: str, server: StandIn, send: Callable[..., Submitted], tmp_path: Path
) -> None:
    server.add_fault("ListSubmissions", kind, code=403, times=None, after=1)
    assert send("a").entry.status == "complete"
    server.clear_faults()
    assert not send("b").sent
    assert len(server.submissions) == 1


def test_one_that_may_be_on_its_way_is_searched_by_another_ledger(
    server: StandIn, send: Callable[..., Submitted], kaggle_home: Path
) -> None:
    """The first one's answer is lost, and the list lags: so does a kill in this moment look from another folder."""
    server.add_fault("CreateSubmission", "lost_answer", times=3)
    server.add_fault("ListSubmissions", "raw", body={"submissions": []}, times=None)
    with pytest.raises(Failure, match="whether it has it is not known"):
        send("a")
    server.clear_faults()
    server.add_fault("ListSubmissions", "raw", body={"submissions": []}, times=3)
    assert not send("b").sent
    assert (len(server.submissions), notes(kaggle_home)) == (1, [])


def test_one_that_was_refused_is_not_searched(
    server: StandIn, send: Callable[..., Submitted], kaggle_home: Path, no_sleep: list[float]
) -> None:
    server.add_fault("CreateSubmission", "status", code=400, times=1)
    with pytest.raises(UserError):
        send("a")
    assert notes(kaggle_home) == []
    no_sleep.clear()
    assert send("b").sent
    assert sum(no_sleep) < 10


def test_a_damaged_note_is_one_line(server: StandIn, send: Callable[..., Submitted], kaggle_home: Path) -> None:
    server.add_fault("ListSubmissions", "raw", body={"submissions": []}, times=None)
    send("a")
    (note,) = kaggle_home.glob(".cache/corolla/submit/*.sending")
    note.write_bytes(b"\xff\x00")
    with pytest.raises(UserError, match=r"\.sending: .*; delete it$"):
        send("b")
    assert len(server.submissions) == 1


def started(server: StandIn, home: Path, mine: Path, folder: Path, **variables: str) -> "subprocess.Popen[str]":
    """Start `corolla submit` in a folder of its own, with the ledger there."""
    folder.mkdir()
    command = [sys.executable, "-m", "corolla", "submit", str(mine), "--data", str(mine.parent / "data")]
    environment = server.environment(home) | variables
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=-1, stderr=-1, text=True)


@pytest.mark.slow
def test_two_processes_at_once_make_one_submission(
    standin: StandIn, kaggle_home: Path, mine: Path, tmp_path: Path
) -> None:
    answer_slowly(standin, "ListSubmissions", 4)
    processes = [started(standin, kaggle_home, mine, tmp_path / name) for name in "ab"]
    said = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert len(standin.submissions) == 1
    assert sorted("already there, submission 50000000" in out for out, _ in said) == [False, True]
    assert sorted("another corolla submit is sending the same content" in log for _, log in said) == [False, True]
    assert all((tmp_path / name / "submissions/ledger.csv").exists() for name in "ab")


@pytest.mark.slow
def test_one_that_is_killed_while_it_sends_is_found_by_the_next(
    standin: StandIn, kaggle_home: Path, mine: Path, tmp_path: Path
) -> None:
    """Its request takes effect a while after its death, when another folder's process has the lock already."""
    create, arrived = standin.routes["CreateSubmission"], threading.Event()

    def late(ask: Any) -> Any:
        arrived.set()
        threading.Event().wait(5)
        return create(ask)

    standin.routes["CreateSubmission"] = late
    real_waits = {"COROLLA_TEST_NO_SLEEP": ""}
    killed = started(standin, kaggle_home, mine, tmp_path / "a", **real_waits)
    assert arrived.wait(60)
    second = started(standin, kaggle_home, mine, tmp_path / "b", **real_waits)
    killed.kill()
    killed.communicate()
    out, log = second.communicate(timeout=100)
    assert (second.returncode, len(standin.submissions)) == (0, 1), log
    assert "already there, submission" in out
