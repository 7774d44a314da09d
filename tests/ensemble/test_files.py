"""An ensemble of files: submissions and probabilities from elsewhere, alone and beside runs."""

import gzip
import io
import json
import logging
import os
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from support import draw, write_run

from corolla.cli import run_command
from corolla.data.index import load_index
from corolla.data.tfrecord import encode_example, write_tfrecord
from corolla.ensemble.ensemble import ensemble
from corolla.ensemble.rules import Method
from corolla.errors import UserError
from corolla.evaluation.predictions import Predictions
from corolla.evaluation.probabilities import read_probabilities_csv, read_probabilities_npz
from corolla.kaggle.from_runs import submission_from_runs
from corolla.kaggle.submission import read_labels, score
from corolla.runs.folder import Run

IDS = ("00000000a", "00000000b", "00000000c")
NAMES = ("rose", "tulip", "daisy")
CERTAIN = ((0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.1, 0.1, 0.8))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder of three photos and three classes, as far as files are checked by it."""
    folder = tmp_path / "data"
    folder.mkdir()
    write_labels(folder / "sample_submission.csv", [0, 0, 0])
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in NAMES))
    return folder


def write_labels(path: Path, labels: Sequence[object], ids: Sequence[str] = IDS) -> Path:
    text = "id,label\n" + "".join(f"{name},{label}\n" for name, label in zip(ids, labels, strict=True))
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("submission.csv", text)
    else:
        path.write_text(text)
    return path


def write_table(
    path: Path,
    rows: Sequence[Sequence[object]] = CERTAIN,
    *,
    ids: Sequence[str] = IDS,
    header: Sequence[object] = (0, 1, 2),
) -> Path:
    lines = [["id", *header], *([name, *row] for name, row in zip(ids, rows, strict=True))]
    path.write_text("".join(",".join(map(str, line)) + "\n" for line in lines))
    return path


def write_arrays(path: Path, probabilities: ArrayLike = CERTAIN, ids: ArrayLike = IDS, **others: Any) -> Path:
    np.savez(path, ids=np.asarray(ids), probabilities=np.asarray(probabilities), **others)
    return path


def labels_of(csv: Path) -> list[int]:
    return read_labels(csv).set_index("id").loc[list(IDS)]["label"].tolist()


def test_a_vote_over_submissions(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    members = [
        write_labels(tmp_path / "a.csv", [0, 1, 2]),
        write_labels(tmp_path / "b.csv.gz", [2, 1, 0], IDS[::-1]),
        write_labels(tmp_path / "c.csv.zip", [1, 1, 0]),
    ]
    out = tmp_path / "v.csv"
    assert run_command(["ensemble", *map(str, members), "--data", str(data), "--out", str(out)]) == 0
    assert labels_of(out) == [0, 1, 2]
    beside = json.loads(out.with_suffix(".json").read_text())
    assert beside["runs"] == []
    assert [Path(member["file"]).name for member in beside["members"]] == ["a.csv", "b.csv.gz", "c.csv.zip"]
    assert {len(member["sha256"]) for member in beside["members"]} == {64}
    assert beside["tta"] is None
    assert "val macro F1 is not known" in capsys.readouterr().out


def test_without_a_run_the_data_folder_is_data(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_labels(Path("a.csv"), [0, 1, 2])
    submission_from_runs([Path("a.csv")], Path("v.csv"))
    assert json.loads(Path("v.json").read_text())["data"] == "data"
    data.rename("elsewhere")
    with pytest.raises(UserError, match=r"^data: has no sample_submission\.csv.*name its data folder with --data$"):
        submission_from_runs([Path("a.csv")], Path("v.csv"))


def test_a_tie_of_submissions_goes_to_the_member_named_first(data: Path, tmp_path: Path) -> None:
    first, second = write_labels(tmp_path / "a.csv", [0, 1, 2]), write_labels(tmp_path / "b.csv", [2, 1, 0])
    third = write_labels(tmp_path / "c.csv", [1, 1, 1])
    assert ensemble([first, second], method="vote", data=data).predicted.tolist() == [0, 1, 2]
    assert ensemble([second, first], method="vote", data=data).predicted.tolist() == [2, 1, 0]
    assert ensemble([third, second, first], method="vote", data=data).predicted.tolist() == [1, 1, 1]


def test_a_tie_goes_to_the_highest_probability_where_there_is_one(data: Path, tmp_path: Path) -> None:
    """On the first photo 0 and 2 have a vote each and 0.3 and 0.4, on the second all three; on the third all agree."""
    labels = write_labels(tmp_path / "a.csv", [0, 0, 2])
    other = write_labels(tmp_path / "b.csv", [0, 2, 2])
    table = write_table(tmp_path / "c.csv", [(0.3, 0.3, 0.4), (0.2, 0.5, 0.3), (0.4, 0.2, 0.4)])
    assert ensemble([labels, table], method="vote", data=data).predicted.tolist() == [2, 1, 2]
    assert ensemble([labels, other, table], method="vote", data=data).predicted.tolist() == [0, 1, 2]
    zeros = write_table(tmp_path / "d.csv", [(0, 1, 0), (0, 1, 0), (0, 1, 0)])
    again = write_labels(tmp_path / "e.csv", [2, 2, 0])
    four = [write_labels(tmp_path / "f.csv", [1, 1, 1]), labels, again, zeros]
    assert ensemble(four, method="vote", data=data).predicted.tolist() == [1, 1, 1]
    assert ensemble([again, labels], method="vote", data=data).predicted.tolist() == [2, 2, 0]


@pytest.mark.parametrize("method", ["vote", "mean", "geometric"])
def test_files_of_probabilities_count_as_the_runs_that_have_them(method: Method, data: Path, tmp_path: Path) -> None:
    """Bit for bit: the same numbers as files of predictions, as an .npz in another order, and beside a run."""
    rng = np.random.default_rng(0)
    rows = [rng.dirichlet(np.ones(3), 3).astype(np.float32) for _ in range(3)]
    runs = [write_run(tmp_path / f"run{n}", row.tolist(), class_names=NAMES) for n, row in enumerate(rows)]
    expected = ensemble(runs, method=method).predicted.tolist()
    npz = write_arrays(tmp_path / "x.npz", rows[1][::-1], IDS[::-1], class_names=np.array(NAMES))
    given = Run(runs[2]).predictions("test", "none").rename(tmp_path / "given.npz")
    for members in ([runs[0], npz, given], [npz, runs[0], given]):
        found = ensemble(members, method=method, data=data)
        assert found.predicted.tolist() == expected
        assert found.ids.tolist() == list(IDS)
        assert [run.folder for run in found.runs] == runs[:1]


def test_a_run_beside_submissions(data: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "net", CERTAIN, class_names=NAMES)
    members = [write_labels(tmp_path / "a.csv", [1, 1, 1]), run, write_labels(tmp_path / "b.csv", [1, 0, 2])]
    out = tmp_path / "v.csv"
    submission_from_runs(members, out, data=data)
    assert labels_of(out) == [1, 1, 2]
    beside = json.loads(out.with_suffix(".json").read_text())
    assert [row["run"] for row in beside["runs"]] == ["net"]
    assert [member.get("run") for member in beside["members"]] == [None, "net", None]
    assert [member["holds"] for member in beside["members"]] == ["labels", "probabilities", "labels"]
    assert beside["members"][1]["sha256"] == beside["runs"][0]["checkpoint_sha256"]
    with pytest.raises(UserError, match=r"net: was trained for other classes than .*data has"):
        ensemble([write_run(tmp_path / "net", CERTAIN), members[0]], method="vote", data=data)


def refused(members: Sequence[Path], data: Path, message: str, **options: Any) -> None:
    """Check that such members are refused in one line that fits, and that nothing is written."""
    out = data.parent / "v.csv"
    with pytest.raises(UserError, match=message) as caught:
        submission_from_runs(members, out, data=data, **options)
    assert "\n" not in str(caught.value)
    assert not out.exists()
    assert not out.with_suffix(".json").exists()


@pytest.mark.parametrize(
    ("ids", "labels", "message"),
    [
        (IDS[:2], [0, 1], r"b\.csv: 1 missing ids: 00000000c$"),
        ([*IDS, "x", "y", "z", "zz"], [0] * 7, r"b\.csv: 4 unknown ids: x, y, z, \.\.\.$"),
        ([*IDS, IDS[1]], [0, 1, 2, 1], r"b\.csv: 1 doubled ids: 00000000b$"),
        ([f"b'{name}'" for name in IDS], [0] * 3, r"b\.csv: 3 ids are written in another way.*b'00000000a'"),
        ([f"{name}.jpg" for name in IDS], [0] * 3, r"b\.csv: 3 ids are written in another way.*00000000a\.jpg"),
        (IDS, [0, 3, -1], r"b\.csv: 2 labels outside 0\.\.2: 3 \(00000000b\), -1 \(00000000c\)$"),
        (IDS, ["tulip", 0, 0], r"b\.csv: line 2: 00000000a,tulip: an id and a whole number"),
        (IDS, [0, "1.0", 0], r"b\.csv: line 3: 00000000b,1\.0: an id and a whole number"),
    ],
)
def test_submissions_that_do_not_fit_are_refused(
    ids: Sequence[str], labels: Sequence[object], message: str, data: Path, tmp_path: Path
) -> None:
    good = write_labels(tmp_path / "a.csv", [0, 1, 2])
    bad = write_labels(tmp_path / "b.csv", labels, ids)
    for members in ([good, bad], [bad, good]):
        refused(members, data, message)


@pytest.mark.parametrize("method", ["mean", "geometric"])
def test_labels_have_no_mean(method: Method, data: Path, tmp_path: Path) -> None:
    members = [write_table(tmp_path / "a.csv"), write_labels(tmp_path / "b.csv", [0, 1, 1])]
    refused(members, data, rf"b\.csv: has labels only, --method {method} needs probabilities: take", method=method)


@pytest.mark.parametrize("options", [{"method": "weighted"}, {"method": "greedy"}, {"method": "mean", "adjust": True}])
def test_nothing_is_fitted_with_files(options: dict[str, Any], data: Path, tmp_path: Path) -> None:
    members = [write_run(tmp_path / "net", CERTAIN, class_names=NAMES), write_table(tmp_path / "a.csv")]
    refused(members, data, r"a\.csv: is of test only, --.* needs predictions of val", **options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"x\.csv: the columns are , not id,label or id and one per class"),
        ("id,0,1,2\n", "there are no rows"),
        (",id,0,1,2\n0,a,1,0,0\n", "the columns are ,id,0,1,2, not id"),
        ("id;0;1;2\na;1;0;0\n", "the columns are id;0;1;2, not id"),
        ("id, label\n00000000a, 1\n", "the columns are id, label, not id,label$"),
        ("id,label,score\n00000000a,1,0.5\n", "the columns are id,label,score, not id,label$"),
        ("id,0,1\na,1,0\n", "has 2 classes, the data has 3"),
        ("id,0,1,2,3\na,1,0,0,0\n", "has 4 classes, the data has 3"),
        ("id,1,2,3\na,1,0,0\n", r"3 columns are no class of the data, .*: 1, 2, 3$"),
        ("id,rose,tulip,violet\na,1,0,0\n", r"1 columns are no class of the data, .*: violet$"),
        ("id,rose,tulip,tulip\na,1,0,0\n", "1 doubled columns: tulip$"),
        ("id,0,1,2\na,1,0\n", "line 2: an id and 3 numbers are expected"),
        ("id,0,1,2\n,1,0,0\n", "line 2: an id and 3 numbers are expected"),
        ("id,0,1,2\n\na,1,,0\n", "line 3: a number is expected"),
        ("id,0,1,2\na,(1+0j),0,0\n", "line 2: a number is expected"),
        ("id,0,1,2\na,tulip,0,0\n", "line 2: a number is expected"),
        ("id,0,1,2\na,nan,0,1\nb,1,0,inf\n", "2 ids have probabilities that are not finite: a, b$"),
        ("id,0,1,2\na,3.1,-2,0.5\n", "1 ids have negative values: of logits .* softmax .*: a$"),
        (
            "id,0,1,2\na,3.1,2,0.5\n",
            r"1 ids have probabilities that do not sum to 1 \(the first to 5\.6;.*softmax.*: a$",
        ),
        ("id,0,1,2\na,0.5,0.2,0.2\n", "do not sum to 1"),
        ("id,0,1,2\na,80,10,10\n", "do not sum to 1"),
    ],
)
def test_a_csv_of_no_probabilities_is_refused(text: str, message: str, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    refused([path], data, message, method="mean")


def test_numbers_that_are_names_of_other_classes_are_not_guessed(tmp_path: Path) -> None:
    path = write_table(tmp_path / "x.csv", header=("0", "1", "2"))
    with pytest.raises(UserError, match="may be the classes' numbers or their names"):
        read_probabilities_csv(path, ("0", "2", "1"))
    assert read_probabilities_csv(path, ("0", "1", "2")).values.tolist() == np.array(CERTAIN).tolist()
    path = write_table(tmp_path / "x.csv", header=("1", "3", "2"))
    assert read_probabilities_csv(path, ("1", "2", "3")).values[0].tolist() == [0.8, 0.1, 0.1]
    assert read_probabilities_csv(path, ("2", "3", "1")).values[0].tolist() == [0.1, 0.1, 0.8]


NPZ_FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "objects": (
        lambda path: write_arrays(path, ids=np.array(IDS, object)),
        r"ids holds Python objects, .*astype\(str\)",
    ),
    "object rows": (lambda path: write_arrays(path, np.array(CERTAIN, object)), "probabilities holds Python objects"),
    "text": (lambda path: write_arrays(path, np.array(CERTAIN, str)), "probabilities is of type <U3, not floating"),
    "complex": (lambda path: write_arrays(path, np.array(CERTAIN, complex)), "type complex128, not floating point"),
    "whole numbers": (lambda path: write_arrays(path, np.eye(3, dtype=int)), "type int64, not floating point"),
    "labels": (lambda path: write_arrays(path, [0.0, 1.0, 2.0]), r"shape \(3,\), not 3 ids x classes"),
    "a row short": (lambda path: write_arrays(path, CERTAIN[:2]), r"shape \(2, 3\), not 3 ids x classes"),
    "turned": (lambda path: write_arrays(path, np.full((4, 3), 1 / 3)), r"shape \(4, 3\), not 3 ids x classes"),
    "3-d": (lambda path: write_arrays(path, np.full((3, 3, 1), 1.0)), r"shape \(3, 3, 1\), not 3 ids"),
    "ids 2-d": (lambda path: write_arrays(path, ids=np.array([IDS])), r"ids is of type <U9 and shape \(1, 3\)"),
    "ids of floats": (lambda path: write_arrays(path, ids=[0.1, 0.2, 0.3]), "ids is of type float64"),
    "a class short": (lambda path: write_arrays(path, np.full((3, 2), 0.5)), "has 2 classes, the data has 3"),
    "NaN": (lambda path: write_arrays(path, np.full((3, 3), np.nan)), "3 ids have probabilities that are not finite"),
    "logits": (lambda path: write_arrays(path, np.eye(3) * 9 - 4), "3 ids have negative values: of logits"),
    "sums": (lambda path: write_arrays(path, np.ones((3, 3))), r"do not sum to 1 \(the first to 3;"),
    "other photos": (lambda path: write_arrays(path, ids=["x", "y", "z"]), "3 missing ids: 00000000a, "),
    "doubled": (lambda path: write_arrays(path, ids=[IDS[0], IDS[0], IDS[2]]), "1 doubled ids: 00000000a$"),
    "other names": (
        lambda path: write_arrays(path, class_names=np.array(["rose", "tulip", "violet"])),
        "1 columns are no class of the data, .*: violet",
    ),
    "other arrays": (lambda path: np.savez(path, image=IDS, logits=CERTAIN), "ids is not in it, but image, logits;"),
    "one array": (lambda path: path.write_bytes(npy(np.array(CERTAIN))), r"it is one array, \.npy, without ids"),
    "no zip": (lambda path: path.write_text("id,0,1,2\n"), r"it is no \.npz or cut short"),
    "cut": (lambda path: path.write_bytes(write_arrays(path).read_bytes()[:-50]), r"it is no \.npz or cut short"),
    "empty": (lambda path: path.write_bytes(b""), r"it is no \.npz or cut short"),
    "a bit": (
        lambda path: path.write_bytes(flipped(write_arrays(path).read_bytes())),
        "probabilities.npy has another checksum",
    ),
    "a header that lies": (lambda path: write_lie(path, "(9999999999, 3)"), "another length than its header tells"),
    "a header that is no Python": (lambda path: write_lie(path, "(((("), r"x\.npz: not a readable file of predictions"),
    "no text": (
        lambda path: write_arrays(path, ids=np.full(9, 0xD800, "<u4").view("<U3")),
        "ids holds what is no text",
    ),
    "a zip bomb": (lambda path: write_bomb(path), "unpack to 300 MiB"),
}


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def flipped(content: bytes) -> bytes:
    place = content.index(np.float64(0.8).tobytes())
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def write_lie(path: Path, shape: str) -> None:
    """An archive, with sound checksums, whose probabilities claim another shape."""
    content = npy(np.zeros((3, 3)))
    header = content[10:].split(b"\n")[0]
    lying = header.replace(b"(3, 3)", shape.encode()).rstrip().ljust(len(header))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ids.npy", npy(np.array(IDS)))
        archive.writestr("probabilities.npy", content[:10] + lying + content[10 + len(header) :])


def write_bomb(path: Path) -> None:
    """An archive whose directory tells of far more bytes than it has."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ids.npy", npy(np.array(IDS)))
        archive.writestr("probabilities.npy", npy(np.zeros((3, 3))))
        archive.infolist()[1].file_size = 300 << 20


@pytest.mark.parametrize("fault", NPZ_FAULTS)
def test_an_npz_of_no_probabilities_is_refused(fault: str, data: Path, tmp_path: Path) -> None:
    write, message = NPZ_FAULTS[fault]
    write(tmp_path / "x.npz")
    refused([tmp_path / "x.npz"], data, message)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.dtype(">f4"), np.longdouble])
def test_every_precision_is_read(kind: type, data: Path, tmp_path: Path) -> None:
    path = write_arrays(tmp_path / "x.npz", np.array(CERTAIN, kind), np.array(IDS, "S"))
    assert ensemble([path], data=data).predicted.tolist() == [0, 1, 2]


def test_columns_of_an_npz_are_ordered_by_their_names(data: Path, tmp_path: Path) -> None:
    path = write_arrays(tmp_path / "x.npz", class_names=np.array(["daisy", "rose", "tulip"]))
    assert ensemble([path], data=data).predicted.tolist() == [2, 0, 1]
    packed = path.rename(tmp_path / "renamed.zip")
    assert ensemble([packed], data=data).predicted.tolist() == [2, 0, 1]


@settings(max_examples=30, deadline=None)
@given(drawn=st.data())
def test_neither_the_order_of_rows_nor_that_of_columns_matters(
    drawn: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A CSV whose columns are numbers or names, and an .npz, are read back exactly as they were written."""
    names = drawn.draw(st.lists(st.text("aé ,\"'.-", min_size=1).map(lambda s: f"x{s}x"), min_size=2, unique=True))
    ids = drawn.draw(st.lists(st.text('0123456789abcdef"é, ', min_size=1, max_size=9), min_size=1, unique=True))
    weight = st.lists(st.floats(1e-6, 1), min_size=len(names), max_size=len(names))
    rows = np.array(drawn.draw(st.lists(weight, min_size=len(ids), max_size=len(ids))))
    rows /= rows.sum(axis=1, keepdims=True)
    lines, columns = drawn.draw(st.permutations(range(len(ids)))), drawn.draw(st.permutations(range(len(names))))
    numbered = drawn.draw(st.booleans())
    folder = tmp_path_factory.mktemp("x")

    def quoted(text: object) -> str:
        return '"' + str(text).replace('"', '""') + '"'

    header = [c if numbered else quoted(names[c]) for c in columns]
    csv = write_table(
        folder / "x.csv", rows[lines][:, columns].tolist(), ids=[quoted(ids[n]) for n in lines], header=header
    )
    npz = write_arrays(
        folder / "x.npz", rows[lines][:, columns], [ids[n] for n in lines], class_names=[names[c] for c in columns]
    )
    for found in (read_probabilities_csv(csv, names), read_probabilities_npz(npz, names)):
        place = {name: position for position, name in enumerate(found.ids.tolist())}
        assert sorted(place) == sorted(ids)
        np.testing.assert_array_equal(found.values[[place[name] for name in ids]], rows)


def test_a_member_has_one_vote(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels, table = write_labels(tmp_path / "a.csv", [0, 1, 2]), write_table(tmp_path / "b.csv")
    refused([labels, tmp_path / "." / "a.csv"], data, r"a\.csv: is named twice; every member has one vote")
    (tmp_path / "linked.csv").symlink_to(table)
    refused([table, tmp_path / "linked.csv"], data, "is named twice")
    npz = write_arrays(tmp_path / "c.npz", np.array(CERTAIN, np.float32))
    refused([labels, table, npz], data, r"c\.npz: has the same probabilities as .*b\.csv; every member has one vote")
    run = write_run(tmp_path / "net", CERTAIN, class_names=NAMES)
    refused([run, Run(run).predictions("test", "none")], data, "has the same probabilities as .*net")
    with caplog.at_level(logging.WARNING):
        ensemble([labels, write_labels(tmp_path / "d.csv.gz", [2, 1, 0], IDS[::-1])], method="vote", data=data)
    assert re.search(r"d\.csv\.gz: has the same labels as .*a\.csv; if it is a copy, leave it out", caplog.text)
    with caplog.at_level(logging.WARNING):
        ensemble([table, write_arrays(tmp_path / "e.npz", np.array(CERTAIN, np.float16))], data=data)
    assert re.search(r"e\.npz: has nearly the same probabilities as .*b\.csv", caplog.text)


def test_what_stands_in_the_data_folder_is_no_member_and_no_member_is_written_over(data: Path, tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "a.csv", [0, 1, 2])
    refused([labels, data / "sample_submission.csv"], data, "its labels are an example's")
    refused([labels, write_labels(data / "test_labels.csv", [0, 1, 2])], data, "its labels are the truth")
    before = labels.read_bytes(), (data / "sample_submission.csv").read_bytes()
    for out, message in ((labels, "is one of the members"), (data / "sample_submission.csv", "is the sample")):
        with pytest.raises(UserError, match=message):
            submission_from_runs([labels], out, data=data)
    assert (labels.read_bytes(), (data / "sample_submission.csv").read_bytes()) == before


def write_records(data: Path, size: int, first: int = 0) -> str:
    """Write the test photos of a size, drawn from number `first` on, and return the fingerprint."""
    photos = [encode_example(image=draw(n, first + n, size), label=None, id=name) for n, name in enumerate(IDS)]
    write_tfrecord(data / f"tfrecords-jpeg-{size}x{size}/test/00-{size}x{size}-3.tfrec", photos)
    return load_index(data, size).splits["test"].fingerprint


def test_a_copy_of_predictions_is_of_one_of_the_sizes_that_the_folder_holds(data: Path, tmp_path: Path) -> None:
    prints = {size: write_records(data, size) for size in (32, 48)}
    copies = [
        write_arrays(tmp_path / f"{size}.npz", np.roll(CERTAIN, size // 16, 0), fingerprint=np.array(prints[size]))
        for size in prints
    ]
    assert len(ensemble(copies, data=data).members.files) == 2
    run = write_run(tmp_path / "net", [[0.4, 0.3, 0.3]] * 3, class_names=NAMES, fingerprint=prints[32])
    settings = json.loads((run / "config.json").read_text()) | {"size": 32}
    (run / "config.json").write_text(json.dumps(settings))
    assert len(ensemble([run, copies[1]], data=data).members.files) == 1
    write_records(data, 48, first=500)
    refused(copies, data, r"48\.npz: is of other photos than .*data holds now, though the ids are the same")
    refused([run, copies[1]], data, r"48\.npz: is of other photos than")
    assert ensemble(copies[:1], data=data).predicted.tolist() == [1, 2, 0]


def test_records_of_another_size_alone_tell_nothing_and_that_is_said(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_records(data, 48)
    run = write_run(tmp_path / "net", CERTAIN, class_names=NAMES, fingerprint="of 32 px")
    settings = json.loads((run / "config.json").read_text()) | {"size": 32}
    (run / "config.json").write_text(json.dumps(settings))
    assert ensemble([run], data=data).predicted.tolist() == [0, 1, 2]
    assert ensemble([run], data=data).num_classes == 3
    (said,) = caplog.messages
    assert said.startswith(f"{data}: holds photos of 48 px, but none of the 32 px that {run} was trained at")


def test_what_a_csv_was_made_of_is_told_on_and_held_against_the_data(data: Path, tmp_path: Path) -> None:
    """Also of a vote over CSVs of others, of which nothing is known but what data they were held against."""
    fingerprint = write_records(data, 32)
    csv, out = write_labels(tmp_path / "a.csv", [0, 1, 2]), tmp_path / "out.csv"
    submission_from_runs([csv], out, data=data)
    beside = json.loads(out.with_suffix(".json").read_text())
    assert (beside["size"], beside["test_fingerprint"], beside["class_names"]) == (32, fingerprint, list(NAMES))
    assert submission_from_runs([csv, out], tmp_path / "again.csv", data=data).num_images == 3
    write_records(data, 32, first=500)
    refused([csv, out], data, r"out\.csv: is of other test records than .*data holds now; make its predictions again")
    with pytest.raises(UserError, match=r"out\.csv: is of other test records than .*data holds now"):
        score(out, write_labels(data / "test_labels.csv", [0, 1, 2]))
    write_records(data, 32)
    assert score(out, data / "test_labels.csv").macro_f1 == 1
    (data / "classes.txt").write_text("".join(f"{name}\n" for name in NAMES[::-1]))
    refused([csv, out], data, r"out\.csv: is of other classes than .*data has \(classes\.txt\)")
    assert submission_from_runs([csv], out, data=data).num_images == 3


def test_records_that_files_do_not_need_may_be_damaged(data: Path, tmp_path: Path) -> None:
    write_records(data, 32)
    (path,) = data.glob("tfrecords-jpeg-32x32/test/*.tfrec")
    path.write_bytes(path.read_bytes()[:-1])
    out = tmp_path / "out.csv"
    submission_from_runs([write_labels(tmp_path / "a.csv", [0, 1, 2])], out, data=data)
    assert json.loads(out.with_suffix(".json").read_text())["test_fingerprint"] is None


def test_no_such_file_is_told_as_one(data: Path, tmp_path: Path) -> None:
    for name in ("gone.csv", "gone.csv.gz", "gone.npz"):
        refused([tmp_path / name], data, rf"{name}: there is no such file$")
        os.mkfifo(tmp_path / name)  # nobody writes to it: to open it would wait for ever
        refused([tmp_path / name], data, rf"{name}: .*(is a pipe or a device|it is no regular file)")
    (tmp_path / "x.json").write_text("{}")
    refused([tmp_path / "x.json"], data, r"x\.json: the columns are \{\}, not id,label or id and one per class")


def test_views_of_files_are_not_chosen(data: Path, tmp_path: Path) -> None:
    words = ["ensemble", str(write_labels(tmp_path / "a.csv", [0, 1, 2])), "--data", str(data), "--out", "v.csv"]
    for option in (["--tta", "flip"], ["--checkpoint", "last"]):
        with pytest.raises(UserError, match=f"^{option[0]} has no effect without a run among the members"):
            run_command([*words, *option])


def test_a_damaged_file_of_predictions_is_refused_wherever_it_is_read(tmp_path: Path) -> None:
    """Values and shapes that `corolla predict` never writes."""
    good = {"checkpoint": "a" * 64, "epochs": 1, "seconds": 1.0, "class_names": np.array(NAMES)}
    path = write_arrays(tmp_path / "x.npz", **good, labels=np.array([0, 1, 2]))
    assert Predictions.load(path).labels is not None
    for name, value in (
        ("probabilities", np.full((3, 3), np.inf, np.float32)),
        ("probabilities", -np.ones((3, 3), np.float32)),
        ("probabilities", np.ones((3, 3), complex)),
        ("probabilities", np.array(CERTAIN)[:, :2]),
        ("labels", np.array([0, 1])),
        ("labels", np.array([0.0, 1, 2])),
        ("epochs", np.array([1, 2])),
        ("seconds", np.array("long")),
        ("ids", np.array([1, 2, 3])),
    ):
        np.savez(path, **{"ids": np.array(IDS), "probabilities": np.array(CERTAIN), **good, name: value})
        with pytest.raises(UserError, match=r"x\.npz: not a readable file of predictions \("):
            Predictions.load(path)
