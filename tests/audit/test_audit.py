"""`corolla audit`: all findings in one table, in sentences and on the command line."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support import textured, to_jpeg, write_data, write_photos

from corolla.audit.audit import COLUMNS, audit
from corolla.audit.self_test import plant_faults
from corolla.commands.audit import audit as audit_command
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
        "labels were not judged: too few labelled photos",
        "1 outlier: 1 nearly constant, 1 very dark",
    ]


def test_the_command_writes_csv_and_html(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv, html = tmp_path / "a.csv", tmp_path / "a.html"
    assert audit_command(data, csv=csv, html=html) == 0
    said = capsys.readouterr().out
    assert [str(path) in said for path in (csv, html)] == [True, True]
    assert len(pd.read_csv(csv)) == 4
    assert "Outliers (1)" in html.read_text()
    with pytest.raises(UserError, match="leave out --runs, --html and --csv"):
        audit_command(data, self_test=True, csv=csv)


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
