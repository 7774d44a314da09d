"""`corolla submit`, `submissions`, `leaderboard` through the real client: one submission, whatever is lost."""

import csv
import dataclasses
import gzip
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from standin import StandIn

from corolla.errors import Failure, UserError
from corolla.kaggle.leaderboard import leaderboard
from corolla.kaggle.ledger import COLUMNS, Entry, Ledger
from corolla.kaggle.manifest import DataManifest
from corolla.kaggle.submissions import submissions
from corolla.kaggle.submit import submit

pytestmark = pytest.mark.timeout(120)
IDS = ["5cc0ffee5", "000000123", "12345e678"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "sample_submission.csv").write_text("id,label\n" + "".join(f"{i},0\n" for i in IDS))
    DataManifest("tpu-getting-started").save(folder)
    return folder


@pytest.fixture
def mine(tmp_path: Path, data: Path) -> Path:
    """A CSV with its JSON, as corolla ensemble writes them."""
    path = tmp_path / "mine.csv"
    path.write_text("id,label\n" + "".join(f"{i},{n}\n" for n, i in enumerate(IDS)))
    made = {"data": str(data), "val_macro_f1": 0.876543, "runs": [{"run": "a"}, {"run": "b c"}]}
    path.with_suffix(".json").write_text(json.dumps({**made, "csv_sha256": _sha256(path)}))
    return path


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def send(mine: Path, tmp_path: Path) -> Callable[..., Any]:
    return lambda **options: submit(
        options.pop("path", mine), options.pop("message", "first try"), ledger=tmp_path / "ledger.csv", **options
    )


def rows(tmp_path: Path) -> list[Entry]:
    return Ledger(tmp_path / "ledger.csv").read()


def test_a_submission_is_checked_sent_scored_and_recorded(
    server: StandIn, send: Callable[..., Any], mine: Path, tmp_path: Path
) -> None:
    server.score_after_polls = 3
    server.public_score, server.private_score = "0.95123", "0.94001"
    done = send()
    assert done.sent
    assert [s["description"] for s in server.submissions] == [f"first try [corolla-{_sha256(mine)[:12]}]"]
    assert list(server.submitted.values()) == [mine.read_bytes()]
    (entry,) = rows(tmp_path)
    assert entry == done.entry
    assert (entry.public_score, entry.private_score, entry.status) == ("0.95123", "0.94001", "complete")
    assert (entry.runs, entry.val_macro_f1, entry.sha256) == ("a b c", "0.87654", _sha256(mine))
    operations = [request.operation for request in server.journal]
    assert operations.index("GetSubmissionLimits") < operations.index("StartSubmissionUpload")
    assert "Authorization" not in server.requests("upload")[0].headers
    with (tmp_path / "ledger.csv").open() as file:
        assert next(csv.reader(file)) == COLUMNS


def test_the_same_csv_is_sent_once(server: StandIn, send: Callable[..., Any], tmp_path: Path) -> None:
    first = send()
    second = send(message="other words")
    assert (len(server.submissions), second.sent, second.entry.ref) == (1, False, first.entry.ref)
    third = send(again=True)
    assert (len(server.submissions), third.sent) == (2, True)
    assert third.entry.tag == first.entry.tag + "-2"
    assert [entry.status for entry in rows(tmp_path)] == ["complete", "complete"]


@pytest.mark.parametrize("operation", ["upload", "CreateSubmission"])
def test_again_that_failed_does_not_hide_the_one_that_was_sent(
    operation: str, server: StandIn, send: Callable[..., Any], tmp_path: Path
) -> None:
    first = send().entry
    server.add_fault(operation, "status", code=400, times=None)
    with pytest.raises((UserError, Failure)):
        send(again=True)
    server.clear_faults()
    kept = [(first.tag, "complete"), (f"{first.tag}-2", "not sent")]
    assert [(entry.tag, entry.status) for entry in rows(tmp_path)] == kept
    server.journal.clear()
    plain = send(message="other words")
    assert (plain.sent, plain.entry) == (False, first)
    assert (len(server.submissions), server.count("StartSubmissionUpload"), server.count("upload")) == (1, 0, 0)
    assert [(entry.tag, entry.status) for entry in rows(tmp_path)] == kept
    second = send(again=True)
    assert (second.sent, second.entry.tag, len(server.submissions)) == (True, f"{first.tag}-2", 2)
    assert [(entry.tag, entry.status) for entry in rows(tmp_path)] == [
        (first.tag, "complete"),
        (f"{first.tag}-2", "complete"),
    ]
    assert (send().sent, len(server.submissions)) == (False, 2)


def test_again_after_a_lost_ledger_keeps_count_of_what_is_there(
    server: StandIn, send: Callable[..., Any], tmp_path: Path
) -> None:
    """Whatever comes of it: neither does a plain call send then, nor does the next --again send nothing."""
    first = send().entry
    (tmp_path / "ledger.csv").unlink()
    server.add_fault("upload", "status", code=400, times=None)
    with pytest.raises((UserError, Failure)):
        send(again=True)
    server.clear_faults()
    assert [(entry.tag, entry.status) for entry in rows(tmp_path)] == [
        (first.tag, "complete"),
        (f"{first.tag}-2", "not sent"),
    ]
    assert (send().sent, len(server.submissions)) == (False, 1)
    assert [send(again=True).entry.tag for _ in range(2)] == [f"{first.tag}-2", f"{first.tag}-3"]
    assert len(server.submissions) == 3


def test_a_lost_ledger_does_not_make_a_second_submission(
    server: StandIn, send: Callable[..., Any], tmp_path: Path
) -> None:
    send()
    (tmp_path / "ledger.csv").unlink()
    assert not send().sent
    assert len(server.submissions) == 1
    (tmp_path / "ledger.csv").unlink()
    assert send(again=True).sent
    assert len(server.submissions) == 2
    assert len({s["description"] for s in server.submissions}) == 2


LOST: dict[str, tuple[str, dict[str, Any]]] = {
    "answer lost": ("lost_answer", {}),
    "request lost": ("lost_request", {}),
    "lost twice": ("lost_request", {"times": 2}),
    "5xx before it took effect": ("status", {"code": 503}),
    "429": ("status", {"code": 429, "retry_after": 5}),
    "a web page": ("html", {}),
    "silence": ("stall", {}),
}


@pytest.mark.parametrize("name", LOST)
def test_exactly_one_submission_whatever_is_lost(
    name: str, server: StandIn, send: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corolla.kaggle.client.TIMEOUT_S", 0.5)
    kind, options = LOST[name]
    server.add_fault("CreateSubmission", kind, **options)
    assert send().entry.status == "complete"
    assert len(server.submissions) == 1


def test_the_answer_is_lost_and_the_listing_fails_for_a_while(server: StandIn, send: Callable[..., Any]) -> None:
    server.add_fault("CreateSubmission", "lost_answer")
    server.add_fault("ListSubmissions", "status", code=503, times=3, after=1)
    send()
    assert len(server.submissions) == 1


def test_killed_while_it_was_sent_the_next_one_looks_first(
    server: StandIn, send: Callable[..., Any], tmp_path: Path
) -> None:
    server.add_fault("CreateSubmission", "lost_answer")
    server.add_fault("ListSubmissions", "reset", times=None, after=1)
    with pytest.raises(Failure):
        send()
    assert [entry.status for entry in rows(tmp_path)] == ["sending"]
    server.clear_faults()
    assert not send().sent
    assert len(server.submissions) == 1
    assert [entry.status for entry in rows(tmp_path)] == ["complete"]


def test_a_listing_that_lags_does_not_make_a_second_submission(
    server: StandIn, send: Callable[..., Any], tmp_path: Path
) -> None:
    server.add_fault("CreateSubmission", "lost_answer", times=3)
    server.add_fault("ListSubmissions", "raw", body={"submissions": []}, times=None)
    with pytest.raises(Failure, match="counts one submission more; Kaggle does not list the submission"):
        send()
    assert (len(server.submissions), [entry.status for entry in rows(tmp_path)]) == (1, ["sending"])
    server.clear_faults()
    assert not send().sent
    assert len(server.submissions) == 1


def test_a_refused_listing_after_a_lost_answer_is_no_proof(
    server: StandIn, send: Callable[..., Any], tmp_path: Path
) -> None:
    server.add_fault("CreateSubmission", "lost_answer")
    server.add_fault("ListSubmissions", "status", code=403, times=None, after=1)
    with pytest.raises(UserError):
        send()
    assert [entry.status for entry in rows(tmp_path)] == ["sending"]


@pytest.mark.parametrize("code", [400, 429])
def test_a_submission_that_is_refused_is_not_sent(
    code: int, server: StandIn, send: Callable[..., Any], tmp_path: Path
) -> None:
    server.add_fault("CreateSubmission", "status", code=code, times=None, message="no more of these")
    with pytest.raises((UserError, Failure)):
        send()
    assert [entry.status for entry in rows(tmp_path)] == ["not sent"]
    server.clear_faults()
    assert send(message="second words").entry.message == "second words"
    assert len(rows(tmp_path)) == 1


def test_a_csv_changed_meanwhile_is_not_sent(
    server: StandIn, send: Callable[..., Any], mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from corolla.kaggle import submit as module

    limit = module.check_limit

    def change(*args: Any, **options: Any) -> int:
        mine.write_text(mine.read_text().replace(",2", ",7"))
        return limit(*args, **options)

    monkeypatch.setattr(module, "check_limit", change)
    with pytest.raises(UserError, match="was changed while it was being submitted"):
        send()
    assert server.count("StartSubmissionUpload") == 0


def test_names_that_are_no_text(server: StandIn, send: Callable[..., Any], mine: Path, tmp_path: Path) -> None:
    odd = tmp_path / "caf\udce9.csv"
    odd.write_bytes(mine.read_bytes())
    assert send(path=odd, message="caf\udce9", data=tmp_path / "data").sent
    assert rows(tmp_path)[0].message == "caf\ufffd"


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("status", {"code": 400}),
        ("status", {"code": 500}),
        ("status", {"code": 503}),
        ("reset", {"times": None}),
        ("drop_upload", {"at": 10, "times": None}),
        ("stall", {"times": None}),
    ],
)
def test_a_failed_upload_is_a_failure(
    kind: str,
    options: dict[str, Any],
    server: StandIn,
    send: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("corolla.kaggle.client.TIMEOUT_S", 0.3)
    server.add_fault("upload", kind, **options)
    with pytest.raises(Failure, match="the upload failed, so nothing was submitted"):
        send()
    assert (server.submissions, server.count("CreateSubmission")) == ([], 0)
    assert [entry.status for entry in rows(tmp_path)] == ["not sent"]
    assert capsys.readouterr().out == ""
    server.clear_faults()
    assert send().sent
    assert [entry.status for entry in rows(tmp_path)] == ["complete"]


def test_the_days_limit_stops_before_the_upload(server: StandIn, send: Callable[..., Any]) -> None:
    server.max_daily = server.num_today = 5
    with pytest.raises(UserError, match=r"today's limit is used up \(5 submissions today"):
        send()
    assert server.count("StartSubmissionUpload") == 0


def test_kaggle_could_not_score_it(server: StandIn, send: Callable[..., Any], tmp_path: Path) -> None:
    server.submission_error = "Submission must have\n7382 rows"
    with pytest.raises(Failure, match=r"could not score submission .*: Submission must have 7382 rows"):
        send()
    assert [(entry.status, entry.note) for entry in rows(tmp_path)] == [("error", "Submission must have 7382 rows")]


def test_a_score_that_does_not_come_is_filled_in_later(
    server: StandIn, send: Callable[..., Any], tmp_path: Path, no_sleep: list[float]
) -> None:
    server.score_after_polls = None
    with pytest.raises(Failure, match=r"is sent, but Kaggle has not scored it within 5 min; corolla submissions"):
        send()
    assert 290 < sum(no_sleep) < 330
    assert [entry.status for entry in rows(tmp_path)] == ["pending"]
    server.submissions[0].update(status="COMPLETE", publicScore="0.5")
    server.score_after_polls = 0
    (line,) = submissions(ledger=tmp_path / "ledger.csv")
    assert (line.entry.public_score, line.in_ledger, line.on_kaggle) == ("0.5", True, True)
    assert rows(tmp_path) == [line.entry]


def test_a_competition_that_takes_notebooks_only(server: StandIn, send: Callable[..., Any]) -> None:
    server.notebooks_only = True
    with pytest.raises(UserError, match=r"takes notebooks only.*corolla submit --notebook runs/a 'runs/b c'"):
        send()
    assert server.count("StartSubmissionUpload") == 0


def test_rules_not_accepted(server: StandIn, send: Callable[..., Any]) -> None:
    server.rules_accepted = False
    with pytest.raises(UserError, match="competitions/tpu-getting-started/rules"):
        send()


def test_a_csv_that_kaggle_would_refuse_never_leaves(
    server: StandIn, send: Callable[..., Any], mine: Path, tmp_path: Path
) -> None:
    mine.write_text("id,label\n5cc0ffee5,1\n")
    with pytest.raises(UserError, match="2 missing ids"):
        send(data=tmp_path / "data")
    assert (server.journal, rows(tmp_path)) == ([], [])


def test_runs_are_not_recorded_of_a_csv_that_was_changed_by_hand(
    server: StandIn, send: Callable[..., Any], mine: Path, data: Path
) -> None:
    mine.write_text(mine.read_text().replace(",2", ",5"))
    assert send(data=data).entry.runs == ""


def test_the_competition_has_to_be_known(server: StandIn, send: Callable[..., Any], data: Path) -> None:
    (data / "competition.json").unlink()
    with pytest.raises(UserError, match="name it with --competition"):
        send()
    assert send(competition="tpu-getting-started").sent


def test_submissions_of_other_hands_are_listed_too(server: StandIn, send: Callable[..., Any], tmp_path: Path) -> None:
    send()
    server.submissions.append({**server.submissions[0], "ref": 77, "description": "by hand", "fileName": "x.csv"})
    lines = submissions(ledger=tmp_path / "ledger.csv")
    assert sorted((line.entry.message, line.in_ledger) for line in lines) == [("by hand", False), ("first try", True)]
    assert len(rows(tmp_path)) == 1


def test_all_pages_of_submissions_are_read(server: StandIn, send: Callable[..., Any], tmp_path: Path) -> None:
    send()
    mine = dict(server.submissions[0])
    server.submissions += [{**mine, "ref": 1000 + n, "description": f"number {n}"} for n in range(230)]
    (tmp_path / "ledger.csv").unlink()
    assert not send().sent


def test_a_ledger_of_another_hand_keeps_its_columns(server: StandIn, send: Callable[..., Any], tmp_path: Path) -> None:
    send()
    path = tmp_path / "ledger.csv"
    lines = path.read_text().splitlines()
    path.write_text(f"{lines[0]},mood\n{lines[1]},good\n")
    send(again=True)
    with path.open() as file:
        assert [row["mood"] for row in csv.DictReader(file)] == ["good", ""]
    path.write_text("something else\n1\n")
    with pytest.raises(UserError, match=r"ledger\.csv: has no column time"):
        send()
    assert path.read_text() == "something else\n1\n"


def test_a_ledger_that_is_a_link_stays_one(tmp_path: Path) -> None:
    facts = dict.fromkeys(COLUMNS, "x")
    kept, linked = tmp_path / "kept" / "ledger.csv", tmp_path / "submissions" / "ledger.csv"
    linked.parent.mkdir()
    linked.symlink_to("../kept/ledger.csv")
    for number, path in enumerate((linked, kept, linked)):
        Ledger(path).write(Entry(**{**facts, "tag": str(number)}))
    assert linked.is_symlink()
    assert [entry.tag for entry in Ledger(kept).read()] == ["0", "1", "2"]


def test_the_leaderboard(server: StandIn, send: Callable[..., Any]) -> None:
    server.public_score, server.private_score = "0.9", ""
    send()
    team = server.submissions[0].get("teamName", server.user)
    server.leaderboard = [
        {"teamId": n, "teamName": f"team {n}", "submissionDate": "2026-01-02T03:04:05Z", "score": f"{0.99 - n / 1000}"}
        for n in range(300)
    ]
    server.leaderboard[89] |= {"teamName": team}
    board = leaderboard("tpu-getting-started")
    assert len(board.standings) == 300
    assert board.own is not None
    assert (board.own.rank, board.own_best) == (90, 0.9)
    plot = board.plot(width=40)
    assert plot[-3].index("▲ you, 0.90000") == 30, "where 0.9 is between 0.706 and 0.99, right of the tail"
    assert plot[-2].startswith("0.6910  │0.7059")
    assert all(line[8:9] in "│" for line in plot[:6]), "the line between them"
    low = dataclasses.replace(board, own_best=0.7).plot(width=40)
    assert low[-3].startswith("    ▲ you, 0.70000"), "a trial is where it is, in the tail"
    alike = dataclasses.replace(board, standings=board.standings[:1]).plot(width=40)
    assert "│" not in "".join(alike)
    server.leaderboard = []
    with pytest.raises(Failure, match="no scores yet"):
        leaderboard("tpu-getting-started")


def corolla(environment: dict[str, str], *arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "corolla", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.slow
def test_the_commands_as_processes(standin: StandIn, kaggle_home: Path, mine: Path, tmp_path: Path) -> None:
    environment, ledger = standin.environment(kaggle_home), tmp_path / "ledger.csv"
    standin.add_fault("CreateSubmission", "lost_answer")
    done = corolla(environment, "submit", mine, "--message", "words", "--ledger", ledger)
    assert (done.returncode, len(standin.submissions)) == (0, 1), done.stderr
    assert "public score" in done.stdout
    done = corolla(environment, "submissions", "--ledger", ledger)
    assert done.returncode == 0
    assert str(mine) in done.stdout
    standin.leaderboard = [{"teamId": 1, "teamName": "x", "submissionDate": "2026-01-02T03:04:05Z", "score": "0.9"}]
    done = corolla(environment, "leaderboard", "--data", tmp_path / "data")
    assert done.returncode == 0
    assert "teams by score" in done.stdout
    standin.add_fault("upload", "status", code=500)
    done = corolla(environment, "submit", mine, "--again", "--ledger", ledger)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(standin.submissions) == 1


SPY = """
import sys
from corolla.cli import main
status = main()
print("heavy:", *sorted({"torch", "torchvision", "timm", "scipy", "sklearn"} & sys.modules.keys()))
sys.exit(status)
"""


@pytest.mark.slow
def test_nobody_waits_for_torch(standin: StandIn, kaggle_home: Path, mine: Path, tmp_path: Path) -> None:
    standin.leaderboard = [{"teamId": 1, "teamName": "x", "submissionDate": "2026-01-02T03:04:05Z", "score": "0.9"}]
    ledger = str(tmp_path / "ledger.csv")
    for words in (
        ["submit", str(mine), "--ledger", ledger],
        ["submissions", "--ledger", ledger],
        ["leaderboard", "--data", str(tmp_path / "data")],
        ["score", str(mine), str(mine)],
    ):
        command = [sys.executable, "-c", SPY, *words]
        done = subprocess.run(
            command, env=standin.environment(kaggle_home), capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout.splitlines()[-1] == "heavy:", words
    assert len(standin.submissions) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["KAGGLE_API_TOKEN", "KAGGLE_TOKEN", "KAGGLE_KEY"],
)
def test_a_secret_with_a_line_break_is_not_quoted(
    name: str, standin: StandIn, kaggle_home: Path, mine: Path, tmp_path: Path
) -> None:
    environment = standin.environment(kaggle_home) | {name: "very-secret\r"}
    done = corolla(environment, "submit", mine, "--ledger", tmp_path / "ledger.csv")
    assert done.returncode == 2
    assert "very-secret" not in done.stdout + done.stderr
    done = corolla(environment, "doctor", "--data", tmp_path, "--runs", tmp_path)
    assert "very-secret" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"KAGGLE_USERNAME": "", "KAGGLE_KEY": ""}, "no "),
        ({"KAGGLE_API_TOKEN": "stale-token"}, "unset KAGGLE_API_TOKEN"),
        ({"KAGGLE_KEY": "wrong"}, r"(401)"),
        ({"KAGGLE_TOKEN": "wrong"}, "KAGGLE_TOKEN"),
    ],
)
def test_credentials_that_do_not_work(
    change: dict[str, str], message: str, standin: StandIn, kaggle_home: Path, mine: Path, tmp_path: Path
) -> None:
    environment = {k: v for k, v in (standin.environment(kaggle_home) | change).items() if v or k not in change}
    done = corolla(environment, "submit", mine, "--ledger", tmp_path / "ledger.csv")
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert standin.key not in done.stderr
    assert "stale-token" not in done.stderr


def test_a_packed_csv_is_the_same_submission(
    server: StandIn, send: Callable[..., Any], mine: Path, tmp_path: Path
) -> None:
    """It is sent as it is, has the plain one's JSON and hash, and is not sent after it."""
    packed = mine.with_suffix(".csv.gz")
    packed.write_bytes(gzip.compress(mine.read_bytes()))
    first = send(path=packed)
    assert list(server.submitted.values()) == [packed.read_bytes()]
    assert (first.entry.runs, first.entry.sha256) == ("a b c", _sha256(mine))
    assert not send().sent
    assert len(server.submissions) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is no valid JSON"),
        (b"[" * 50_000, "is nested too deep"),
        (b"", "is empty"),
        (b'{"csv_sha256": "HASH", "runs": [1]}', r"runs\[0\]: an object is expected, not 1"),
        (b'{"csv_sha256": "HASH", "data": 5}', "data: text is expected, not 5"),
        (b'{"csv_sha256": "HASH", "val_macro_f1": "high"}', "val_macro_f1: "),
    ],
)
def test_a_damaged_json_beside_the_csv_is_one_line(
    content: bytes, message: str, server: StandIn, send: Callable[..., Any], mine: Path
) -> None:
    mine.with_suffix(".json").write_bytes(content.replace(b"HASH", _sha256(mine).encode()))
    with pytest.raises(UserError, match=rf"\.json: .*{message}.*; it should say what made") as caught:
        send()
    assert "\n" not in str(caught.value)
    assert server.submissions == []


@pytest.mark.parametrize("content", ["{", "[]", '{"competition": 5, "files": {}}', '{"competition": "a"}', "[" * 9999])
def test_a_damaged_competition_json_is_one_line(
    content: str, server: StandIn, send: Callable[..., Any], data: Path
) -> None:
    (data / "competition.json").write_text(content)
    with pytest.raises(UserError, match=r"competition\.json: .*; delete it and run corolla download again"):
        send(data=data)
    assert server.submissions == []
