"""The audit's HTML shows the findings, stays small and shows names of the data as text."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import textured, to_jpeg, write_photos

from corolla.audit import pictures
from corolla.audit.audit import Audit
from corolla.audit.html import MOST, write_html
from corolla.audit.label_errors import LabelIssue, Source
from corolla.audit.outliers import class_balance, find_outliers
from corolla.data.duplicates import Pair, find_pairs
from corolla.data.index import load_index
from corolla.data.survey import Survey, survey


def surveyed(folder: Path) -> Survey:
    return survey(load_index(folder, None), ("train", "val", "test"))


def audit_of(photos: Survey, pairs: list[Pair], issues: list[LabelIssue]) -> Audit:
    source = Source("a test", len(photos), 1.0)
    return Audit(photos, pairs, issues, source, find_outliers(photos), class_balance(photos))


def test_names_of_the_data_stay_text(tmp_path: Path) -> None:
    same = to_jpeg(textured(1))
    names = '<script>alert(1)</script>\ntulip & "co"\n'
    splits = {"train": [(same, 0), (to_jpeg(textured(2)), 1)], "val": [(same, 1)]}
    photos = surveyed(write_photos(tmp_path / "<b>", splits, names))
    write_html(audit_of(photos, find_pairs(photos), [LabelIssue(1, 1, 0, -0.5)]), tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    assert "<script>alert" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "prefers-color-scheme" in page
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    titles = ["Likely label errors (1)", "Duplicates (1)", "Outliers (0)", "Classes"]
    assert re.findall(r"<h2>(.*)</h2>", page) == titles
    assert re.findall(r'<li><a href="#\w+">(.*)</a></li>', page) == titles, "the contents"
    assert page.count("<main>") == 1
    assert page.count("<details><summary><img src=") == page.count("<img src=") == 3
    assert "Photos open large: click on one, or press Enter on it." in page


def test_the_first_photos_open_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST_BYTES", 100_000)
    photos = surveyed(write_photos(tmp_path, {"train": [(to_jpeg(textured(3, 400)), 0)]}))
    write_html(audit_of(photos, [], [LabelIssue(0, 0, 1, -0.1)] * 20), tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    shown = re.findall(r"(<summary>)?<img src=\"data:image/jpeg;base64,([^\"]+)", page)
    sizes = [Image.open(io.BytesIO(base64.b64decode(jpeg))).size for _, jpeg in shown]
    num_large = sizes.count((400, 400))
    assert 0 < num_large < 20
    assert sizes == [(400, 400)] * num_large + [(112, 112)] * (20 - num_large)
    assert [bool(opens) for opens, _ in shown] == [size == (400, 400) for size in sizes]
    assert "The first photos of each kind open large" in page


def test_it_is_capped(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = [(to_jpeg(rng.integers(0, 255, (112, 112, 3), dtype=np.uint8)), 0) for _ in range(3)]  # the largest JPEGs
    photos = surveyed(write_photos(tmp_path, {"train": noise}))
    pairs = [Pair(0, 1, "near", 0.99, False, False, False, 0)] * (MOST + 7)
    write_html(audit_of(photos, pairs, [LabelIssue(2, 0, 1, -0.1)] * 500), tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    assert len(page) < 5_000_000
    assert "7 are left out" in page
    assert "300 are left out" in page
