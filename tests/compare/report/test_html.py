"""The report of a comparison, as a file."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support import EVIL, make_comparison, write_data

from corolla.compare.compare import Comparison
from corolla.compare.report.html import write_report
from corolla.compare.report.plots import plain
from corolla.compare.tables import difference_table, recipe_table


class Page(HTMLParser):
    """Elements and visible texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.inside:
            while self.inside.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.inside) and data.strip():
            self.texts.append(" ".join(data.split()))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, Path]:
    return make_comparison(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def written(compared: tuple[Comparison, Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("written") / "report.html"
    assert write_report(compared[0], path, reproduce=["corolla compare a<b>"]) == path
    return path.read_text()


@pytest.fixture(scope="module")
def page(written: str) -> Page:
    return Page(written)


def test_small_and_sections_in_order(written: str, page: Page) -> None:
    assert len(written.encode()) < 5e6
    assert written.startswith("<!DOCTYPE html>")
    sections = [element["id"] for element in page.all("section")]
    assert sections[:6] == ["recipes", "differences", "curves", "convergence", "cost", "classes"]
    assert sections[6:] == ["confusions", "mistakes", "calibration", "ensembles", "reproduce"]


def test_the_contents_lead_to_every_section(written: str, page: Page) -> None:
    contents = dict(re.findall(r'<li><a href="#(\w+)">(.*)</a></li>', written))
    assert list(contents) == [element["id"] for element in page.all("section")]
    assert list(contents.values()) == re.findall(r"<h2>(.*)</h2>", written)
    assert re.search(r"Written on \d{4}-\d\d-\d\d at \d\d:\d\d", written)


def test_accessible(page: Page) -> None:
    assert len(page.all("main")) == 1
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(element.get("alt") for element in page.all("img"))
    assert all(element.get("scope") == "col" for element in page.all("th"))


def test_nothing_is_fetched(written: str, page: Page) -> None:
    for _, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert (attributes.get(name) or "#").startswith(("data:", "#"))
    assert not page.all("link")
    style = re.search(r"<style>(.*?)</style>", written, re.DOTALL)
    assert style
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert (policy or "").startswith("default-src 'none'; ")


def test_names_are_escaped(written: str, page: Page) -> None:
    assert "alert('x')</script>" not in written
    assert "<i>" not in written
    assert len(page.all("script")) == 3
    assert EVIL in page.texts
    assert "kind </td></table>" in page.texts
    assert "fast <i>$$x$$" in page.texts
    assert "corolla compare a<b>" in page.texts


def test_no_tex_reaches_the_canvas(written: str) -> None:
    """Bokeh would fetch MathJax for it."""
    assert plain("a $$x$$ \\(y\\) \\[z\\]").replace("\u200b", "") == "a $$x$$ \\(y\\) \\[z\\]"
    plots = re.search(r"const PLOTS = (.*);\n", written)
    assert plots
    for text in re.findall(r'"(?:axis_label|text|label)": ?(".*?")', plots[1]):
        assert "$$" not in json.loads(text)


def test_numbers_are_those_of_the_tables(compared: tuple[Comparison, Path], page: Page) -> None:
    comparison, _ = compared
    for sentence in comparison.verdict:
        assert sentence in page.texts
    for _, row in recipe_table(comparison).iterrows():
        assert f"{row['macro F1']:.3f} ± {row['sd']:.3f}" in page.texts
        assert f"{row['95 % low']:.3f} to {row['95 % high']:.3f}" in page.texts
    for _, row in difference_table(comparison).iterrows():
        assert f"{row['macro F1']:+.3f}" in page.texts
        assert f"{row['95 % low']:+.3f} to {row['95 % high']:+.3f}" in page.texts


def test_class_table_has_counts(page: Page, written: str) -> None:
    table = re.search(r'<table id="class-table">.*?</table>', written, re.DOTALL)
    assert table
    rows = [re.findall(r"<td.*?>(.*?)</td>", row) for row in re.findall(r"<tr>.*?</tr>", table[0], re.DOTALL)[1:]]
    assert [row[0] for row in rows] == ["0", "1", "2", "3", "4"]
    assert [row[2] for row in rows] == ["8"] * 5
    assert [row[3] for row in rows] == ["4", "3", "3", "3", "3"]


def test_photos(page: Page) -> None:
    assert page.all("img")
    assert all((element["src"] or "").startswith("data:image/jpeg;base64,") for element in page.all("img"))


@pytest.mark.parametrize("other", ["gone", "photos of another set"])
def test_without_its_photos(compared: tuple[Comparison, Path], tmp_path: Path, other: str) -> None:
    data = tmp_path / "other"
    if other != "gone":
        write_data(data, val=12)
    page = Page(write_report(compared[0], tmp_path / "report.html", data=data).read_text())
    assert not page.all("img")
    (reason,) = [text for text in page.texts if text.startswith("The photos are left out: ")]
    assert str(data) in reason
    assert "fast <i>$$x$$-seed0" in page.texts


@pytest.mark.parametrize("num_runs", [1, 2])
def test_one_recipe(compared: tuple[Comparison, Path], tmp_path: Path, num_runs: int) -> None:
    comparison, _ = compared
    recipe = replace(comparison.recipes[0], members=comparison.recipes[0].members[:num_runs])
    pairs = comparison.pairs[: num_runs - 1]
    alone = replace(comparison, recipes=(recipe,), differences=(), pairs=pairs)
    page = Page(write_report(alone, tmp_path / "report.html").read_text())
    assert alone.verdict[0] in page.texts
    ids = {element.get("id") for _, element in page.elements}
    assert ("plot-classes" in ids, "ensembles" in ids) == (num_runs == 2, num_runs == 2)
    assert "differences" not in ids
    assert "#differences" not in [element["href"] for element in page.all("a")]


def test_chosen_on_val_is_said(compared: tuple[Comparison, Path], tmp_path: Path) -> None:
    best = replace(compared[0], checkpoint="best")
    page = Page(write_report(best, tmp_path / "report.html").read_text())
    assert any("optimistic. The last epoch's are not" in text for text in page.texts)
