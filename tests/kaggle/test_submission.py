"""The submission CSV: what is refused, what stands beside it, and its score."""

import gzip
import hashlib
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, precision_recall_fscore_support, top_k_accuracy_score

from corolla.config import Config, to_dict
from corolla.data.index import load_index
from corolla.ensemble.ensemble import Ensemble, ensemble
from corolla.ensemble.members import MemberPredictions
from corolla.ensemble.rules import EnsembleRule
from corolla.errors import UserError
from corolla.evaluation.predict import predict
from corolla.kaggle.provenance import check_same_data, read_provenance
from corolla.kaggle.submission import check_submission, describe_runs, read_labels, score, write_submission
from corolla.runs.checkpoint import load_checkpoint, read_progress
from corolla.runs.writing import git_commit
from corolla.training.train import train

IDS = ["000000123", "12345e678", "5cc0ffee5"]
ODD_IDS = [*IDS, "123456789", "1e5000000", "NA", "null", "nan", "None", "0x1", "-1", "True", "1_000"]


def table(ids: Sequence[str], labels: Sequence[int]) -> pd.DataFrame:
    return pd.DataFrame({"id": pd.Series(ids, dtype=object), "label": list(labels)})


def joined(ids: Sequence[str], labels: Sequence[int], num_classes: int = 3) -> Ensemble:
    probabilities = np.zeros((len(ids), num_classes), np.float32)
    members = MemberPredictions(runs=(), predictions=(), ids=np.array(ids), probabilities=(probabilities,), labels=None)
    return Ensemble(members, EnsembleRule("vote"), np.array(labels))


def write_csv(path: Path, ids: Sequence[str], labels: Sequence[int]) -> Path:
    rows = "".join(f"{name},{label}\n" for name, label in zip(ids, labels, strict=True))
    path.write_text("id,label\n" + rows)
    return path


FAULTS = [
    (IDS[:2], [0, 1], "1 missing ids: 5cc0ffee5"),
    ([*IDS, "unknown"], [0, 1, 2, 0], "1 unknown ids: unknown"),
    ([*IDS, IDS[1]], [0, 1, 2, 1], "1 doubled ids: 12345e678"),
    ([*IDS[:2], IDS[1]], [0, 1, 1], "1 doubled ids: 12345e678"),
    (IDS, [0, 3, 1], r"1 labels outside 0\.\.2: 3 \(12345e678\)"),
    (IDS, [-1, 2, 1], r"1 labels outside 0\.\.2: -1 \(000000123\)"),
    (
        [f"x{n}" for n in range(5)],
        [0] * 5,
        "3 missing ids: 000000123, 12345e678, 5cc0ffee5, and 5 unknown: x0, x1, x2, ...$",
    ),
    ([*IDS, *(f"x{n}" for n in range(5))], [0] * 8, r"5 unknown ids: x0, x1, x2, \.\.\.$"),
]


@pytest.mark.parametrize(("ids", "labels", "message"), FAULTS)
def test_what_kaggle_would_refuse_is_refused(ids: list[str], labels: list[int], message: str) -> None:
    with pytest.raises(UserError, match=f"^mine.csv: {message}"):
        check_submission(table(ids, labels), table(IDS, [0, 0, 0]), 3, source="mine.csv")


@pytest.mark.parametrize(("ids", "labels", "message"), FAULTS)
def test_and_nothing_is_written(ids: list[str], labels: list[int], message: str, tmp_path: Path) -> None:
    sample = write_csv(tmp_path / "sample_submission.csv", IDS, [0, 0, 0])
    with pytest.raises(UserError, match=message):
        write_submission(tmp_path / "out" / "first.csv", joined(ids, labels), sample, {})
    assert list(tmp_path.iterdir()) == [sample]


def test_a_refused_submission_leaves_the_one_before_it(tmp_path: Path) -> None:
    sample = write_csv(tmp_path / "sample_submission.csv", IDS, [0, 0, 0])
    path = write_submission(tmp_path / "first.csv", joined(IDS, [0, 1, 2]), sample, {})
    before = path.read_bytes(), path.with_suffix(".json").read_bytes()
    with pytest.raises(UserError):
        write_submission(path, joined(IDS, [0, 1, 3]), sample, {})
    assert (path.read_bytes(), path.with_suffix(".json").read_bytes()) == before


def test_a_missing_sample_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sample_submission\.csv: there is no such file"):
        write_submission(tmp_path / "first.csv", joined(IDS, [0, 1, 2]), tmp_path / "sample_submission.csv", {})


def test_the_order_is_the_samples(tmp_path: Path) -> None:
    sample = write_csv(tmp_path / "sample_submission.csv", [IDS[2], IDS[0], IDS[1]], [0, 0, 0])
    path = write_submission(tmp_path / "first.csv", joined(IDS, [0, 1, 2]), sample, {"method": "vote"})
    assert path.read_bytes() == b"id,label\n5cc0ffee5,2\n000000123,0\n12345e678,1\n"
    beside = json.loads(path.with_suffix(".json").read_text())
    assert beside == {"method": "vote", "csv_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


@given(
    rows=st.dictionaries(
        st.text("0123456789abcdef", min_size=9, max_size=9) | st.sampled_from(ODD_IDS), st.integers(0, 103), min_size=1
    ),
    data=st.data(),
)
def test_what_is_written_is_read_back(
    rows: dict[str, int], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    order = data.draw(st.permutations(list(rows)))
    sample = write_csv(folder / "sample_submission.csv", order, [0] * len(rows))
    path = write_submission(folder / "x.csv", joined(list(rows), list(rows.values()), 104), sample, {})
    back = read_labels(path)
    assert back["id"].tolist() == order
    assert dict(zip(back["id"], back["label"], strict=True)) == rows


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_byte_order_marks_and_windows_line_ends_are_read(encoding: str, newline: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(newline.join(["id,label", *(f"{name},7" for name in ODD_IDS), ""]).encode(encoding))
    assert read_labels(path)["id"].tolist() == ODD_IDS
    assert set(read_labels(path)["label"]) == {7}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the columns are , not id,label"),
        ("id,label\n", "there are no rows"),
        ("id,class\na,1\n", "the columns are id,class, not id,label"),
        ("label,id\n1,a\n", "the columns are label,id, not id,label"),
        ("id,label,note\na,1,\n", "the columns are id,label,note, not id,label"),
        ("id,label\na,1\n,2\n", "line 3: ,2: an id and a whole number are expected"),
        ("id,label\na,1\nb,\n", "line 3: b,: an id"),
        ("id,label\na,1\nb\n", "line 3: b: an id"),
        ("id,label\na,1.0\n", r"line 2: a,1\.0: an id"),
        ("id,label\na,1\n\nb,rose\n", "line 4: b,rose: an id"),
        ("id,label\na,12345678901234567890\n", "line 2: a,12345678901234567890: an id"),
        ("id,label\nx,a,1\ny,b,2\n", "line 2: x,a,1: an id"),
        ('id,label\n"a,1\n', "line 2: not a CSV"),
        ("id,label\n\udcff,1\n", "line 2: is not UTF-8 text"),
    ],
)
def test_what_is_no_table_of_labels_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=rf"x\.csv: {message}") as caught:
        read_labels(path)
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_csv(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a CSV"):
        read_labels(tmp_path)


def test_the_score_is_sklearns_and_joined_by_id(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids = [f"{n:09x}" for n in range(200)]
    true, predicted = rng.integers(0, 20, 200), rng.integers(0, 25, 200)
    predicted[:120] = true[:120]
    truth = write_csv(tmp_path / "labels.csv", ids, true.tolist())
    order = rng.permutation(200)
    submitted = write_csv(tmp_path / "x.csv", [ids[i] for i in order], predicted[order].tolist())
    result = score(submitted, truth)
    each = np.asarray(precision_recall_fscore_support(true, predicted, labels=range(20))[2])
    assert result.num_images == 200
    assert result.accuracy == accuracy_score(true, predicted)
    assert result.macro_f1 == pytest.approx(np.mean(each))
    assert result.class_f1 == pytest.approx(dict(enumerate(each)))
    assert [value for _, value in result.worst(4)] == pytest.approx(sorted(each)[:4])
    assert result.worst(1)[0][0] == np.argmin(each)


@pytest.mark.parametrize("kind", ["npz", "csv"])
def test_probabilities_have_a_top_5_accuracy_too(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids, names = [f"{n:09x}" for n in range(60)], [f"kind {n}" for n in range(12)]
    values, true = rng.dirichlet(np.ones(12), 60), rng.integers(0, 12, 60)
    (tmp_path / "classes.txt").write_text("".join(f"{name}\n" for name in names))
    truth, path = write_csv(tmp_path / "labels.csv", ids, true.tolist()), tmp_path / f"theirs.{kind}"
    order = rng.permutation(60)
    if kind == "npz":
        np.savez(path, ids=np.array(ids)[order], probabilities=values[order])
    else:
        pd.DataFrame(values[order], index=pd.Index(np.array(ids)[order], name="id"), columns=names).to_csv(path)
    result = score(path, truth)
    assert result.top5 == pytest.approx(top_k_accuracy_score(true, values, k=5, labels=range(12)))
    assert result.accuracy == accuracy_score(true, values.argmax(1))
    assert f"top-5 accuracy {result.top5:.4f} (60 images)" in result.summary
    submitted = write_csv(tmp_path / "x.csv", ids, values.argmax(1).tolist())
    assert score(submitted, truth).top5 is None
    assert "top-5" not in score(submitted, truth).summary


@pytest.mark.parametrize(
    ("ids", "labels", "message"),
    [
        (IDS[:2], [0, 1], "1 missing ids: 5cc0ffee5"),
        ([*IDS, "x"], [0] * 4, "1 unknown ids: x"),
        ([*IDS, IDS[0]], [0] * 4, "1 doubled ids: 000000123"),
        (IDS, [0, 1, -2], r"1 labels outside 0\.\.2: -2 \(5cc0ffee5\)"),
    ],
)
def test_only_the_whole_submission_is_scored(ids: list[str], labels: list[int], message: str, tmp_path: Path) -> None:
    submitted = write_csv(tmp_path / "x.csv", ids, labels)
    truth = write_csv(tmp_path / "labels.csv", IDS, [0, 1, 2])
    with pytest.raises(UserError, match=rf"x\.csv against .*labels\.csv: {message}"):
        score(submitted, truth)


def test_a_truth_that_asks_twice_is_told(tmp_path: Path) -> None:
    submitted = write_csv(tmp_path / "x.csv", IDS, [0, 1, 2])
    truth = write_csv(tmp_path / "labels.csv", [*IDS, IDS[1]], [0, 1, 2, 2])
    with pytest.raises(UserError, match=r"labels\.csv: 1 ids that are asked for twice: 12345e678$"):
        score(submitted, truth)


def test_the_json_beside_it_says_what_made_it(tiny_config: Config, tmp_path: Path) -> None:
    run = train(tiny_config, experiment="tiny")
    predict(run.folder, tta="flip", device="cpu", workers=0)
    votes = ensemble([run.folder], tta="flip", method="vote")
    own = {"tta": "flip", "checkpoint": "best", "size": None}
    how = {"method": "vote", "tta": "flip", "checkpoint": "best"}
    provenance = describe_runs(votes.runs, votes.predictions, [own], how)
    path = tmp_path / "first.csv"
    write_submission(path, votes, tiny_config.data / "sample_submission.csv", provenance)
    beside: dict[str, Any] = json.loads((tmp_path / "first.json").read_text())
    assert (beside["method"], beside["tta"], beside["checkpoint"]) == ("vote", "flip", "best")
    assert beside["csv_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert beside["git_commit"] == git_commit()
    config = json.dumps(to_dict(run.config, with_runtime=False), sort_keys=True)
    best = read_progress(load_checkpoint(run.best))
    assert beside["runs"] == [
        {
            "run": "tiny-seed0",
            "experiment": "tiny",
            "checkpoint_sha256": hashlib.sha256(run.best.read_bytes()).hexdigest(),
            **own,
            "config_sha256": hashlib.sha256(config.encode()).hexdigest(),
            "git_commit": run.environment["git_commit"],
            "seed": 0,
            "epochs": len(best.history),
            "seconds": best.seconds,
            "fingerprint": run.environment["fingerprint"],
        }
    ]
    index = load_index(tiny_config.data, None)
    assert (beside["folders"], beside["size"]) == ([str(run.folder)], index.size)
    assert beside["test_fingerprint"] == index.splits["test"].fingerprint
    assert beside["class_names"] == list(index.class_names)
    check_same_data(path, read_provenance(path, beside["csv_sha256"]), tiny_config.data)


@pytest.mark.parametrize(
    "write",
    [
        lambda name: f"b'{name}'",
        lambda name: f'b"{name}"',
        lambda name: f"{name}.jpg",
        lambda name: f"{name}.JPEG",
        lambda name: f"test/{name}.png",
        lambda name: f" {name}",
        lambda name: f"'{name}'",
        lambda name: name.upper(),
        lambda name: name.lstrip("0"),
    ],
)
def test_ids_that_are_written_otherwise_are_named_as_that(write: Callable[[str], str], tmp_path: Path) -> None:
    other = [write(name) for name in IDS]
    number = sum(name != each for name, each in zip(IDS, other, strict=True))
    for first, second in ((IDS, other), (other, IDS)):
        with pytest.raises(UserError) as caught:
            check_submission(table(second, [0] * 3), table(first, [0] * 3), 3, source="x.csv")
        assert str(caught.value).startswith(f"x.csv: {number} ids are written in another way than asked for: ")
        assert str(caught.value).endswith(" instead of " + min(set(first) - set(second)))


def test_a_score_of_packed_files_is_that_of_plain_ones(tmp_path: Path) -> None:
    mine, truth = write_csv(tmp_path / "mine.csv", IDS, [0, 1, 1]), write_csv(tmp_path / "labels.csv", IDS, [0, 1, 2])
    wanted = score(mine, truth)
    (tmp_path / "mine.csv.gz").write_bytes(gzip.compress(mine.read_bytes()))
    with zipfile.ZipFile(tmp_path / "mine.csv.zip", "w") as archive:
        archive.write(mine, "mine.csv")
    assert score(tmp_path / "mine.csv.gz", truth) == score(tmp_path / "mine.csv.zip", truth) == wanted
    (tmp_path / "mine.csv.gz").write_bytes(gzip.compress(mine.read_bytes())[:-9])
    with pytest.raises(UserError, match=r"mine\.csv\.gz: can't be unpacked"):
        score(tmp_path / "mine.csv.gz", truth)


def test_arguments_of_score_that_are_exchanged_are_seen(tmp_path: Path) -> None:
    mine, truth = write_csv(tmp_path / "mine.csv", IDS, [0, 1, 1]), write_csv(tmp_path / "labels.csv", IDS, [0, 1, 2])
    with pytest.raises(UserError, match=r"labels\.csv: is the truth by its name, .*: corolla score CSV\.\.\. LABELS"):
        score(truth, mine)
    for name in ("ground_truth.csv", "y_true.csv", "test_labels (1).csv", "my-solution_v2.csv"):
        (tmp_path / name).write_bytes(truth.read_bytes())
        with pytest.raises(UserError, match="is the truth by its name"):
            score(tmp_path / name, mine)
    hidden, example = tmp_path / "answers-of-mine.csv", tmp_path / "sample_submission.csv"
    for path in (hidden, example):
        path.write_bytes(truth.read_bytes())
    with pytest.raises(UserError, match=r"sample_submission\.csv: its labels are an example's"):
        score(mine, example)
    write_submission(tmp_path / "written.csv", joined(IDS, [0, 1, 2]), truth, {})
    with pytest.raises(UserError, match=r"written\.csv: is a submission that written\.json describes, not the truth"):
        score(hidden, tmp_path / "written.csv")
    (tmp_path / "written.csv.gz").write_bytes(gzip.compress((tmp_path / "written.csv").read_bytes()))
    with pytest.raises(UserError, match=r"written\.csv\.gz: is a submission that written\.json describes"):
        score(hidden, tmp_path / "written.csv.gz")
    assert score(tmp_path / "written.csv", hidden).macro_f1 == 1.0
    assert score(truth, truth).macro_f1 == 1.0
