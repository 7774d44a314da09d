"""`corolla audit`: all findings in one table, in sentences and on the command line."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import textured, to_jpeg, write_data, write_photos

from corolla.audit.audit import COLUMNS, audit
from corolla.audit.features import out_of_fold
from corolla.audit.label_errors import too_few
from corolla.audit.self_test import plant_faults
from corolla.commands import hints
from corolla.commands.audit import audit as audit_command
from corolla.data.corrections import ACTION, correct, read_corrections
from corolla.data.index import load_index
from corolla.errors import UserError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A photo that is in train and val under two labels, and one that is black."""
    same, black = to_jpeg(textured(1)), to_jpeg(np.zeros((64, 64, 3), np.uint8))
    return write_photos(
        tmp_path / "data", {"train": [(same, 0), (to_jpeg(textured(2)), 1), (black, 1)], "val": [(same, 1)]}
    )


def test_table_and_sentences(data: Path) -> None:
    found = audit(data, progress=False)
    table = found.table()
    assert tuple(table.columns) == COLUMNS
    assert table["kind"].tolist() == ["same file", "odd photo", "rare class", "rare class"]
    pair, outlier = table.iloc[0], table.iloc[1]
    assert (pair["id"], pair["partner"], pair["partner_split"], pair["record"]) == ("train0", "val0", "val", 0)
    assert "across splits, different labels" in pair["note"]
    assert (outlier["id"], outlier["name"], outlier["note"]) == ("train2", "tulip", "nearly constant, very dark")
    assert found.sentences()[:4] == [
        "1 pair of exact duplicates, 1 of them across splits: scores on them are a little optimistic; "
        "1 with different labels",
        "0 pairs of near duplicates",
        "labels were not judged: too few labelled photos: 5-fold cross-validation cannot judge labels with fewer than "
        "5 different photos of a class, and the largest here has 3",
        "1 outlier: 1 nearly constant, 1 very dark",
    ]


def test_the_command_writes_csv_and_html(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints, "visible_card", lambda: None)
    csv, html = tmp_path / "a.csv", tmp_path / "a.html"
    assert audit_command(data, csv=csv, html=html) == 0
    said = capsys.readouterr().out
    assert [str(path) in said for path in (csv, html)] == [True, True]
    assert list(pd.read_csv(csv)) == [*COLUMNS, ACTION]
    assert pd.read_csv(csv)[ACTION].isna().tolist() == [True] * 4
    assert f"\nnext: corolla train transfer_best --data {data} --size 64 --input-size 128" in said
    assert said.endswith(f" --train.corrections {csv} --run-name corrected\n")
    assert "Outliers (1)" in html.read_text()
    with pytest.raises(UserError, match="leave out --runs, --html and --csv"):
        audit_command(data, self_test=True, csv=csv)
    csv.write_text("id,action\ntrain2,drop\n")
    with pytest.raises(UserError, match="1 action was filled in; give another file"):
        audit_command(data, csv=csv)


def test_own_photos_have_their_paths(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = (
        "id,split,label,path\ntrain0,train,0,rose/a b.jpg\ntrain2,train,1,tulip/<i>ß.jpg\nval0,val,1,tulip/\udcff.jpg\n"
    )
    (data / "photos.csv").write_bytes(rows.encode(errors="surrogateescape"))
    csv, html = tmp_path / "a.csv", tmp_path / "a.html"
    found = audit(data, progress=False).to_pandas()
    assert found["path"].tolist()[:2] == ["rose/a b.jpg", "tulip/<i>ß.jpg"]
    assert found["partner_path"].tolist()[0] == "tulip/\udcff.jpg"
    assert audit_command(data, csv=csv, html=html) == 0
    assert "rose/a b.jpg" in capfd.readouterr().out
    page = html.read_text()
    assert [text in page for text in ("rose/a b.jpg", "tulip/&lt;i&gt;ß.jpg", "tulip/\\xff.jpg")] == [True] * 3
    assert csv.read_bytes().count(b"tulip/\xff.jpg") == 1
    assert correct(load_index(data, None), read_corrections(filled(csv, "train2", "drop"))).notes
    (data / "photos.csv").write_text('id,path\n1,"\n')
    with pytest.raises(UserError, match=r"photos.csv: no CSV .*; move it away"):
        audit(data, progress=False)
    (data / "photos.csv").write_text("another table\n")
    assert audit(data, progress=False).paths == {}


def filled(csv: Path, name: str, action: str) -> Path:
    """Return the CSV with an action in the last cell of a photo's row."""
    lines = csv.read_text(errors="surrogateescape").splitlines()
    lines = [line + action if f",{name}," in line else line for line in lines]
    csv.write_text("\n".join(lines), errors="surrogateescape")
    return csv


@pytest.mark.slow
def test_labels_are_judged_by_pretrained_features(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", train=150, val=40)
    faults = plant_faults(data, tmp_path / "out", duplicates=0, wrong_labels=10)
    found = audit(faults.folder, progress=False)
    assert found.source.num_photos == 190
    assert all(issue.label != issue.suggested for issue in found.label_issues)
    with pytest.raises(UserError, match="--folds 1"):
        audit(data, folds=1)
    with pytest.raises(UserError, match="no run is in this folder"):
        audit(data, runs=[tmp_path / "no-run"], progress=False)


@pytest.mark.parametrize(
    ("counts", "judged"),
    [
        ([1] * 8, False),
        ([5] * 5, True),
        ([4] * 6, False),
        ([5, 1, 1], False),
        ([5, 2, 1], True),
        ([9, 0, 0], False),
        ([1, 1], False),
    ],
)
def test_few_photos_a_class(tmp_path: Path, counts: list[int], judged: bool) -> None:
    numbers = iter(range(1, 1000))
    photos = [(to_jpeg(textured(next(numbers))), label) for label, count in enumerate(counts) for _ in range(count)]
    names = "".join(f"kind {label}\n" for label in range(len(counts)))
    found = audit(write_photos(tmp_path / "data", {"train": photos[1:], "val": photos[:1]}, names), progress=False)
    assert found.source.num_photos == judged * sum(count for count in counts if count > 1)
    assert {issue.label for issue in found.label_issues} <= {label for label, count in enumerate(counts) if count > 1}
    if 1 in counts and judged:
        assert ", without 1 whose class has no other photo to compare with (accuracy" in found.sentences()[2]
    assert len(found.table()) == len(found.label_issues) + sum(
        count - (not label) < 10 for label, count in enumerate(counts)
    )
    if not judged:
        assert found.sentences()[2].startswith("labels were not judged: too few labelled photos: ")


def test_what_is_not_there_is_not_judged(data: Path, tmp_path: Path) -> None:
    assert audit(data, splits="val", progress=False).sentences()[-1].startswith("the balance of the classes was not")
    with pytest.raises(UserError, match="splits valid: must be some of train, val, test"):
        audit(data, splits="valid", progress=False)
    photos = [(to_jpeg(textured(number)), 2 * (number % 2)) for number in range(4)]
    empty = write_photos(tmp_path / "empty", {"train": photos}, "a\nb\nc\n")
    assert "the smallest but 1 class without any; 3 classes below 10" in audit(empty, progress=False).sentences()[-1]


def test_eight_classes_of_one_photo_that_is_there_many_times(tmp_path: Path) -> None:
    same = to_jpeg(textured(1))
    found = audit(write_photos(tmp_path / "data", {"train": [(same, 0)] * 9, "val": [(same, 1)] * 9}), progress=False)
    assert "cannot judge labels" in found.sentences()[2]
    assert len(found.pairs) > 0


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_out_of_fold_takes_any_labels_and_groups(data: st.DataObject) -> None:
    folds = data.draw(st.integers(2, 5))
    size = data.draw(st.integers(folds, 14))
    labels = np.array(data.draw(st.lists(st.integers(0, 3), min_size=size, max_size=size)))
    groups = np.array(data.draw(st.lists(st.integers(0, size), min_size=size, max_size=size)))
    if too_few(labels, groups, folds):
        return
    rows = np.random.default_rng(0).normal(size=(size, 6)).astype(np.float32)
    found = out_of_fold(rows, labels, groups, num_classes=4, folds=folds)
    assert np.allclose(found.sum(1), 1, atol=1e-5)
