"""Voting and averaging over files of predictions written by hand: no network is needed."""

import hashlib
import json
import logging
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import write_run

from corolla.cli import run_command
from corolla.config import Config, to_dict
from corolla.data.competition import SplitName
from corolla.data.index import load_index
from corolla.ensemble.ensemble import ensemble
from corolla.ensemble.members import read_members
from corolla.ensemble.rules import EnsembleRule, Method, aggregate
from corolla.ensemble.validation import leave_one_out
from corolla.errors import UserError
from corolla.evaluation.metrics import macro_f1
from corolla.kaggle.from_runs import submission_from_runs
from corolla.runs.folder import Run

Rows = list[list[list[float]]]
IDS = ("00000000a", "00000000b", "00000000c")


def vote(*members: list[float]) -> int:
    return int(aggregate([np.array([member], np.float32) for member in members], "vote")[0])


def test_the_majority_wins_against_a_higher_sum() -> None:
    members = [0.0, 0.4, 0.6], [0.45, 0.55, 0.0], [0.45, 0.55, 0.0], [1.0, 0.0, 0.0]
    assert vote(*members) == 1
    assert aggregate([np.array([member], np.float32) for member in members], "mean").tolist() == [0]


def test_a_tie_goes_to_the_highest_sum_among_the_tied_alone() -> None:
    """Classes 0 and 2 have two votes each and sums 1.1 and 1.3; class 1 has the highest sum, 1.7, and one vote."""
    members = [0.5, 0.4, 0.1], [0.5, 0.4, 0.1], [0.05, 0.4, 0.55], [0.05, 0.4, 0.55], [0.45, 0.55, 0.0]
    assert np.sum(members, axis=0).argmax() == 1
    assert vote(*members) == 0
    members = [0.45, 0.45, 0.1], [0.45, 0.4, 0.15], [0.1, 0.35, 0.55], [0.1, 0.35, 0.55], [0.0, 0.55, 0.45]
    assert np.sum(members, axis=0).argmax() == 1
    assert vote(*members) == 2


def test_all_different_votes_are_a_tie_of_all() -> None:
    assert vote([0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]) == 1


@st.composite
def member_rows(draw: st.DrawFn) -> Rows:
    """MemberPredictions x 3 rows x classes, in sixteenths: many ties, and sums that rounding leaves alone."""
    num_classes = draw(st.integers(2, 5))
    row = st.lists(st.integers(0, 16).map(lambda n: n / 16), min_size=num_classes, max_size=num_classes)
    return draw(st.lists(st.lists(row, min_size=3, max_size=3), min_size=1, max_size=5))


@st.composite
def orders(draw: st.DrawFn) -> tuple[Rows, list[int], list[list[int]]]:
    """MemberPredictions, another order of them, and an order of the rows for each."""
    rows = draw(member_rows())
    return rows, draw(st.permutations(range(len(rows)))), [draw(st.permutations(range(3))) for _ in rows]


@settings(max_examples=50)
@pytest.mark.parametrize("method", ["vote", "mean"])
@given(drawn=orders())
def test_neither_the_order_of_members_nor_that_of_rows_matters(
    method: Method, drawn: tuple[Rows, list[int], list[list[int]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows, members, shuffles = drawn
    folder = tmp_path_factory.mktemp("runs")
    for number, (member, order) in enumerate(zip(rows, shuffles, strict=True)):
        write_run(folder / str(number), [member[i] for i in order], ids=[IDS[i] for i in order])
    combined = ensemble([folder / str(number) for number in members], method=method)
    assert combined.ids.tolist() == list(IDS)
    assert combined.predicted.tolist() == by_hand(rows, method)


def by_hand(rows: Rows, method: Method) -> list[int]:
    """For each photo the class with most votes and then the highest sum, or with the highest sum alone."""
    chosen = []
    for photo in range(len(IDS)):
        scores = [member[photo] for member in rows]
        sums = [sum(column) for column in zip(*scores, strict=True)]
        voted = [score.index(max(score)) for score in scores]
        votes = [voted.count(c) if method == "vote" else 0 for c in range(len(sums))]
        keys = list(zip(votes, sums, strict=True))
        chosen.append(keys.index(max(keys)))
    return chosen


def test_rows_are_joined_by_id(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first", [[0.9, 0.1, 0], [0, 0.9, 0.1], [0, 0.2, 0.8]], labels=[0, 1, 2])
    shuffled = ("00000000c", "00000000a", "00000000b")
    second = write_run(tmp_path / "second", [[0, 0, 1], [1, 0, 0], [0, 1, 0]], ids=shuffled, labels=[2, 0, 1])
    for folders in ([first, second], [second, first]):
        combined = ensemble(folders, method="vote")
        assert combined.ids.tolist() == list(IDS)
        assert combined.predicted.tolist() == [0, 1, 2]
        assert combined.labels is not None
        assert combined.labels.tolist() == [0, 1, 2]
        assert [run.folder for run in combined.runs] == folders
        assert tuple(member.checkpoint for member in combined.predictions) == tuple(
            hashlib.sha256((folder / "best.pt").read_bytes()).hexdigest() for folder in folders
        )
        assert combined.num_classes == 3


@pytest.mark.parametrize("method", ["vote", "mean"])
def test_one_member_is_its_own_ensemble(method: Method, tmp_path: Path) -> None:
    run = write_run(tmp_path / "only", [[0.2, 0.8], [0.6, 0.4], [0.5, 0.5]])
    assert ensemble([run], method=method).predicted.tolist() == [1, 0, 0]


def test_the_checkpoint_and_the_views_are_those_asked_for(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [[1, 0]] * 3)
    write_run(run, [[0, 1]] * 3, checkpoint="last", tta="flip")
    assert ensemble([run]).predicted.tolist() == [0, 0, 0]
    assert ensemble([run], tta="flip", checkpoint="last").predicted.tolist() == [1, 1, 1]


def test_without_tta_the_views_that_are_there_are_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = write_run(tmp_path / "first", [[1, 0]] * 3, tta="ten-crop_size40")
    second = write_run(tmp_path / "second", [[0.6, 0.4]] * 3, tta="ten-crop_size40")
    write_run(first, [[0, 1]] * 3, tta="none", checkpoint="last")
    (first / "predictions" / "test-mine.npz").write_bytes(b"something else")
    with caplog.at_level(logging.INFO, logger="corolla"):
        joined = ensemble([first, second])
    assert (joined.tta, joined.predicted.tolist()) == ("ten-crop_size40", [0, 0, 0])
    assert caplog.messages == ["views: ten-crop_size40, as predicted already (--tta takes others)"]
    third = write_run(tmp_path / "third", [[0, 1]] * 3, tta="flip")
    write_run(third, [[0, 1]] * 3)
    names = ", ".join(map(str, (first, second, third)))
    message = f"{names}: predicted with several kinds of views; choose one of them: --tta none, flip, ten-crop_size40"
    with pytest.raises(UserError) as refused:
        ensemble([first, second, third])
    assert str(refused.value) == message
    assert ensemble([third], tta="none").predicted.tolist() == [1, 1, 1]
    nothing = write_run(tmp_path / "nothing", [[1, 0]] * 3, split="val")
    with pytest.raises(UserError, match=f"run: corolla predict {nothing} --split test --tta none$"):
        ensemble([nothing])
    with pytest.raises(UserError, match=f"run: corolla predict {nothing} --split test --tta ten-crop_size40$"):
        ensemble([first, nothing])


def test_missing_predictions_name_the_command(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first", [[1, 0]] * 3, tta="ten-crop", checkpoint="last")
    second = write_run(tmp_path / "second", [[1, 0]] * 3)
    command = f"corolla predict {second} --split test --tta ten-crop --checkpoint last"
    with pytest.raises(UserError, match=rf"not predicted yet; run: {re.escape(command)}$"):
        ensemble([first, second], tta="ten-crop", checkpoint="last")


def test_predictions_of_an_older_checkpoint_name_the_command(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [[1, 0]] * 3)
    (run / "best.pt").write_bytes(b"trained on")
    command = f"corolla predict {run} --split test --tta none"
    with pytest.raises(
        UserError, match=rf"is older than {re.escape(str(run / 'best.pt'))}; run: {re.escape(command)}$"
    ):
        ensemble([run])


def test_damaged_predictions_name_the_command(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [[1, 0]] * 3)
    path = Run(run).predictions("test", "none")
    path.write_bytes(path.read_bytes()[:200])
    command = f"corolla predict {run} --split test --tta none"
    with pytest.raises(UserError, match=rf"not a readable file of predictions.*run: {re.escape(command)}$"):
        ensemble([run])


def test_other_photos_are_refused(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first", [[1, 0]] * 3)
    second = write_run(tmp_path / "second", [[1, 0]] * 3, ids=(*IDS[:2], "00000000d"))
    third = write_run(tmp_path / "third", [[1, 0]] * 2, ids=IDS[:2])
    for other in (second, third):
        with pytest.raises(UserError, match=rf"{other.name}: its test predictions are of other photos.*first$"):
            ensemble([first, other])


def test_other_records_of_the_same_ids_are_refused(tmp_path: Path) -> None:
    """Such as corrected labels; files from before there were fingerprints are taken as they are."""
    names = {"first": "aa", "second": "bb", "old": ""}
    runs = {name: write_run(tmp_path / name, [[1, 0]] * 3, fingerprint=value) for name, value in names.items()}
    with pytest.raises(UserError, match=r"second: its test predictions are of other records than those of .*first"):
        ensemble([runs["first"], runs["second"]])
    assert ensemble([runs["first"], runs["old"]]).ids.tolist() == sorted(IDS)


def of_size(folder: Path, size: int, data: Path) -> Path:
    (folder / "config.json").write_text(json.dumps(to_dict(Config(size=size), with_runtime=False)))
    (folder / "environment.json").write_text(json.dumps({"data": str(data)}))
    return folder


def test_runs_of_two_sizes_are_joined_where_both_lie_in_one_folder(tmp_path: Path) -> None:
    """Their records have no bytes in common; of one size they must be the same, also where the first is of another."""
    prints = {"small": (32, "aa"), "large": (48, "bb"), "larger": (48, "cc")}
    small, large, larger = (
        of_size(write_run(tmp_path / name, [[1, 0]] * 3, fingerprint=value), size, tmp_path / "data")
        for name, (size, value) in prints.items()
    )
    assert ensemble([small, large]).ids.tolist() == list(IDS)
    with pytest.raises(UserError, match=r"larger: its test predictions are of other records than those of .*large,"):
        ensemble([small, large, larger])
    of_size(large, 48, tmp_path / "other")
    with pytest.raises(UserError, match=r"large: its test predictions are of other records than those of .*small"):
        ensemble([small, large])
    assert ensemble([small, large], data=tmp_path / "data").predicted.tolist() == [0, 0, 0]


def test_labels_that_were_corrected_at_one_size_are_seen(tmp_path: Path) -> None:
    folders = [tmp_path / "small", tmp_path / "large"]
    for folder, size, labels in zip(folders, (32, 48), ([0, 1, 1], [0, 1, 0]), strict=True):
        of_size(write_run(folder, [[1, 0]] * 3, split="val", labels=labels, fingerprint=f"{size}"), size, tmp_path)
    with pytest.raises(UserError, match=r"large: val has other labels at its size than for .*small"):
        ensemble(folders, split="val")


def test_other_classes_are_refused(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first", [[1, 0]] * 3)
    second = write_run(tmp_path / "second", [[1, 0, 0]] * 3)
    third = write_run(tmp_path / "third", [[1, 0]] * 3, class_names=["kind 0", "another kind"])
    for other in (second, third):
        with pytest.raises(UserError, match=rf"{other.name}: was trained for other classes than .*first$"):
            ensemble([first, other])


def test_no_run_there_names_those_beside_it(tmp_path: Path) -> None:
    write_run(tmp_path / "resnet34-seed0", [[1, 0]] * 3)
    with pytest.raises(UserError, match=r"no run is in this folder; .* there are: resnet34-seed0"):
        ensemble([tmp_path / "resnet34"])


def test_the_same_ensemble_on_val(tmp_path: Path) -> None:
    probabilities = [[1, 0], [1, 0], [0, 1]]
    first = write_run(tmp_path / "first", probabilities, split="val", labels=[0, 1, 1])
    second = write_run(tmp_path / "second", probabilities)
    expected = macro_f1(np.array([0, 1, 1]), np.array([0, 0, 1]))
    write_run(tmp_path / "first", probabilities)  # on test
    on_val = ensemble([first], method="vote").on_val
    assert on_val is not None
    assert on_val.macro_f1 == expected
    assert ensemble([first, second], method="vote").on_val is None


def test_a_run_has_one_vote(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first", [[1, 0]] * 3)
    with pytest.raises(UserError, match="is named twice"):
        ensemble([first, tmp_path / "." / "first"])
    copied = Path(shutil.copytree(first, tmp_path / "copied"))
    with pytest.raises(
        UserError, match=r"copied: is a copy of .*first \(the same checkpoint\); every run has one vote"
    ):
        ensemble([first, write_run(tmp_path / "second", [[1, 0]] * 3), copied])


def three_members(folder: Path, *, split: SplitName = "test") -> list[Path]:
    """Two networks that are right and one that takes class 0 for 1; 12 photos."""
    labels = [0, 1, 2] * 4
    right = [[0.5 if c == label else 0.25 for c in range(3)] for label in labels]
    wrong = [[0.1, 0.9, 0.0] if label == 0 else row for label, row in zip(labels, right, strict=True)]
    ids = [f"{n:09x}" for n in range(12)]
    return [
        write_run(folder / name, rows, ids=ids, split=split, labels=labels if split == "val" else None)
        for name, rows in (("good", right), ("bad", wrong), ("better", right))
    ]


@pytest.mark.parametrize("method", ["weighted", "greedy"])
def test_fitted_methods_are_fitted_on_val(method: Method, tmp_path: Path) -> None:
    folders = three_members(tmp_path)
    command = f"corolla predict {folders[0]} --split val --tta none"
    with pytest.raises(UserError, match=rf"not predicted yet; run: {re.escape(command)}$"):
        ensemble(folders, method=method)
    three_members(tmp_path, split="val")
    assert ensemble(folders, method=method).predicted.tolist() == [0, 1, 2] * 4
    assert ensemble(folders, method="mean").predicted.tolist() == [1, 1, 2] * 4


def test_a_labelled_split_has_its_top_5_accuracy(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).dirichlet(np.ones(9), 3)
    for name in ("a", "b"):
        write_run(tmp_path / name, rows.tolist(), split="val", labels=rows.argsort(1)[:, 4].tolist())
    joined = ensemble([tmp_path / "a", tmp_path / "b"], split="val", method="vote", data=tmp_path)
    assert (joined.predicted == rows.argmax(1)).all()
    assert joined.top5 == 1
    write_run(tmp_path / "a", rows.tolist(), split="val", labels=rows.argsort(1)[:, 3].tolist())
    write_run(tmp_path / "b", rows.tolist(), split="val", labels=rows.argsort(1)[:, 3].tolist())
    assert ensemble([tmp_path / "a", tmp_path / "b"], split="val", data=tmp_path).top5 == 0


def test_what_each_member_adds(tmp_path: Path) -> None:
    folders = three_members(tmp_path, split="val")
    val = read_members(folders, "val", tta="none", checkpoint="best")
    table = leave_one_out(val, EnsembleRule("vote")).set_index("run")
    assert table["alone"].tolist() == pytest.approx([1, (0 + 2 / 3 + 1) / 3, 1])
    good, bad, _ = table["adds"].tolist()
    assert bad == 0 < good
    only = leave_one_out(read_members(folders[:1], "val", tta="none", checkpoint="best"), EnsembleRule("vote"))
    assert only["without"].tolist() == [None]


def test_the_submissions_json_has_weights_members_and_the_honest_value(tmp_path: Path) -> None:
    folders = three_members(tmp_path)
    three_members(tmp_path, split="val")
    (tmp_path / "sample_submission.csv").write_text("id,label\n" + "".join(f"{n:09x},0\n" for n in range(12)))
    out = tmp_path / "out.csv"
    made = submission_from_runs(folders, out, method="weighted", data=tmp_path)
    beside = json.loads(out.with_suffix(".json").read_text())
    assert made.on_val is not None
    assert made.on_val.cross_fitted is not None
    assert sum(beside["weights"]) == pytest.approx(1)
    assert beside["val_macro_f1"] == made.val_macro_f1 == made.on_val.cross_fitted.macro_f1
    assert beside["val_macro_f1_same_photos"] == 1
    assert beside["val_top5"] == made.on_val.top5 == 1
    assert beside["val_cross_fitted"]["folds"] == 4
    assert [row["run"] for row in beside["val_members"]] == ["good", "bad", "better"]
    assert (beside["tta"], beside["crop_fraction"], beside["average"]) == ("none", None, "probabilities")
    single = submission_from_runs(folders[:1], out, method="mean", data=tmp_path)
    assert json.loads(out.with_suffix(".json").read_text())["val_members"][0]["without"] is None
    assert single.val_macro_f1 == 1


def test_the_submissions_json_names_data_as_seen_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A JSON that is kept with a project says nothing of the machine."""
    folders = three_members(tmp_path)
    (tmp_path / "real").mkdir()
    (tmp_path / "real/sample_submission.csv").write_text("id,label\n" + "".join(f"{n:09x},0\n" for n in range(12)))
    (tmp_path / "linked").symlink_to("real")
    out = tmp_path / "out.csv"
    submission_from_runs(folders, out, data=tmp_path / "real")
    assert json.loads(out.with_suffix(".json").read_text())["data"] == str(tmp_path / "real")
    monkeypatch.chdir(tmp_path)
    submission_from_runs(folders, out, data=Path("linked"))
    assert json.loads(out.with_suffix(".json").read_text())["data"] == "linked"


def test_a_vote_is_not_adjusted(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a vote has none"):
        submission_from_runs([tmp_path], tmp_path / "out.csv", method="vote", adjust=True)


def test_the_command_prints_what_it_is_worth(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    folders = [tmp_path / "first", tmp_path / "second"]
    prints = load_index(tiny_data, None).fingerprint
    for folder in folders:
        test_ids, val_ids = [f"{2000 + n:09x}" for n in range(11)], [f"{1000 + n:09x}" for n in range(16)]
        write_run(folder, rng.dirichlet(np.ones(5), 11).tolist(), ids=test_ids, fingerprint=prints["test"])
        rows, labels = rng.dirichlet(np.ones(5), 16).tolist(), [n % 5 for n in range(16)]
        write_run(folder, rows, ids=val_ids, labels=labels, split="val", fingerprint=prints["val"])
        (folder / "config.json").write_text(json.dumps(to_dict(Config(size=32), with_runtime=False)))
    out = tmp_path / "out.csv"
    words = ["ensemble", *map(str, folders), "--data", str(tiny_data), "--out", str(out), "--method", "greedy"]
    assert run_command([*words, "--adjust"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"the same ensemble on val: macro F1 0\.\d{4}, accuracy 0\.\d{4}, top-5 accuracy 1\.0000", said)
    assert re.search(r"on photos it was not fitted on: macro F1 0\.\d{4} \(3 times 4-fold, sd 0\.\d{4}\)", said)
    assert re.search(r"adjusted by the class frequencies to the power of \d\.\d\d: [+-]0\.\d{4}", said)
    assert re.search(r"run +weight +alone +without +adds\n +first +[01]\.\d{4} ", said)
    assert json.loads(out.with_suffix(".json").read_text())["val_macro_f1_not_adjusted"] is not None
