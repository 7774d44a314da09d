"""The pages in a real browser, without a network, at the width of a desk and of a phone, light and dark."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright
from support import draw, make_comparison

import corolla
from corolla.audit.audit import audit
from corolla.audit.html import write_html
from corolla.compare.report.html import write_report
from corolla.compare.report.run_page import report as report_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

NAMES = ("chromium", "chromium-browser", "google-chrome")
TOOLTIP = """() => {
  const find = node => {
    for (const element of node.querySelectorAll("*")) {
      if (element.classList.contains("bk-Tooltip") && element.getBoundingClientRect().width) return element;
      const found = element.shadowRoot && find(element.shadowRoot);
      if (found) return found;
    }
    return null;
  };
  const parts = [...(find(document)?.shadowRoot.children ?? [])].filter(element => element.tagName !== "STYLE");
  return parts.map(element => element.innerText).join(" ").trim();
}"""  # the text that is shown, inside Bokeh's shadow trees
TOLD = """() => [...document.querySelectorAll(".scroll")].filter(box => box.checkVisibility()).every(
  box => box.previousElementSibling.checkVisibility()
    === (box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1))"""
"""Every table that is cut says so, and no other."""
FOCUSED = """() => {
  const one = document.activeElement, box = one.closest(".plot") ?? one, style = getComputedStyle(box);
  return [`${one.tagName} ${one.textContent.trim().slice(0, 20)}`,
    style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2];
}"""
PAGES = ["compare", "run", "audit", "photos"]
DESK, PHONE = ViewportSize(width=1280, height=900), ViewportSize(width=390, height=844)


def find_chromium() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="module")
def chromium() -> str:
    """The browser that is installed; Debian's is installed where that may be done."""
    if not find_chromium() and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in ("update -qq", "install -y -qq --no-install-recommends chromium"):
            subprocess.run(["apt-get", *command.split()], env=environment, check=False, timeout=600)
    found = find_chromium()
    if not found:
        pytest.skip("no Chromium is installed; as root: apt-get update && apt-get install chromium")
    return found


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("browser")
    comparison, data = make_comparison(folder)
    found = audit(data, runs=comparison.members[0].run, cache_dir=folder / "cache", progress=False)
    write_html(found, folder / "audit.html")
    (folder / "photos").mkdir()
    for number in range(5):
        (folder / "photos" / f"<i>{number} ä.jpg").write_bytes(draw(number, number, 32))
    (folder / "photos" / "broken.jpg").write_bytes(b"no photo")
    runs = [member.run for member in comparison.members[:2]]
    corolla.predict(runs, photos=folder / "photos", out=folder / "photos.csv", device="cpu", workers=0)
    return {
        "compare": write_report(comparison, folder / "compare.html", reproduce=["corolla compare a b", "corolla runs"]),
        "run": report_run(comparison.members[0].run, device="cpu", workers=0).path,
        "audit": folder / "audit.html",
        "photos": folder / "photos.html",
    }


@pytest.fixture(scope="module")
def report(pages: dict[str, Path]) -> Path:
    return pages["compare"]


@contextmanager
def opened(browser: Browser, report: Path, size: ViewportSize, scheme: str = "light") -> Iterator[Page]:
    """The page, drawn; at the end nothing may have gone wrong on it, nor been fetched."""
    faults: list[str] = []
    dark = scheme == "dark"
    context = browser.new_context(viewport=size, color_scheme="dark" if dark else "light", offline=True)
    page = context.new_page()
    page.on("console", lambda m: faults.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else faults.append(r.url))
    page.goto(report.as_uri())
    if page.locator(".plot").count():
        page.wait_for_selector("body[data-drawn]", timeout=60_000)
    yield page
    assert faults == []
    context.close()


def column(page: Page, title: str) -> list[str]:
    """The texts of the class table's visible rows."""
    titles = page.locator("#class-table thead button").all_text_contents()
    cells = page.locator(f"#class-table tbody tr:not([hidden]) td:nth-child({titles.index(title) + 1})")
    return cells.all_text_contents()


def test_sorts_by_mouse_and_keyboard(browser: Browser, report: Path) -> None:
    with opened(browser, report, DESK) as page:
        difference = page.locator("#class-table thead button", has_text="difference")
        header = page.locator("#class-table th", has_text="difference")
        difference.click()
        values = list(map(float, column(page, "difference")))
        assert values == sorted(values, reverse=True)
        assert header.get_attribute("aria-sort") == "descending"
        difference.press("Enter")
        assert list(map(float, column(page, "difference"))) == sorted(values)
        assert header.get_attribute("aria-sort") == "ascending"
        page.locator("#class-table thead button", has_text="name").click()
        names = column(page, "name")
        assert names[-2:] == ["kind 3", "kind 4"]
        assert header.get_attribute("aria-sort") is None


def test_search_filters(browser: Browser, report: Path) -> None:
    with opened(browser, report, DESK) as page:
        page.get_by_label("Search").fill("KIND 3")
        assert column(page, "name") == ["kind 3"]
        assert page.locator(".search output").text_content() == "1 of 5"
        page.get_by_label("Search").fill("")
        assert len(column(page, "name")) == 5


@pytest.mark.parametrize(
    ("plot", "words"),
    [
        ("plot-macro_f1", ("seed", "epoch")),
        ("plot-forest", ("fast <i>$$x$$", "95 %")),
        ("plot-classes", ("kind", "F1")),
        ("plot-reliability", ("recipe", "photos")),
    ],
)
def test_hover_shows_values(browser: Browser, report: Path, plot: str, words: tuple[str, ...]) -> None:
    with opened(browser, report, DESK) as page:
        canvas = page.locator(f"#{plot}")
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        assert box
        spots = [(x, y) for x in range(20, int(box["width"]), 8) for y in range(10, int(box["height"]), 8)]
        for x, y in spots:
            page.mouse.move(box["x"] + x, box["y"] + y)
            text = page.evaluate(TOOLTIP) or ""
            if all(word in text for word in words):  # one that is just drawn may not have all of them yet
                break
        else:
            pytest.fail("no tooltip with these words anywhere")


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_fits_the_screen(
    browser: Browser, pages: dict[str, Path], name: str, tmp_path: Path, size: ViewportSize, scheme: str
) -> None:
    """It has no fault of accessibility that axe knows; wide tables scroll in their own box, and say so.

    The screenshots are to be looked at.
    """
    with opened(browser, pages[name], size, scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        for details in page.locator("summary").all():
            details.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        page.wait_for_function(TOLD)
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        ink = page.evaluate("getComputedStyle(document.body).color")
        assert (ground, ink) == (
            ("rgb(21, 24, 28)", "rgb(230, 232, 234)") if scheme == "dark" else ("rgb(255, 255, 255)", "rgb(28, 32, 36)")
        )
        page.screenshot(path=tmp_path / f"{scheme}-{size['width']}.png", full_page=True)
        assert (tmp_path / f"{scheme}-{size['width']}.png").stat().st_size > 20_000


@pytest.mark.parametrize("name", PAGES)
def test_the_keyboard_alone_suffices(browser: Browser, pages: dict[str, Path], name: str) -> None:
    """It reaches all that can be used, in the page's order, and each time an outline shows where it is."""
    with opened(browser, pages[name], DESK) as page:
        reached: list[str] = []
        for _ in range(500):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement === document.body"):
                break
            tag, shown = page.evaluate(FOCUSED)
            assert shown, f"no outline at {tag}, after {reached[-3:]}"
            reached.append(tag)
        else:
            pytest.fail("the focus never leaves the page")
        usable = "a, button, input, summary, .scroll, .plot"
        expected = page.locator(usable).evaluate_all("all => all.filter(one => one.checkVisibility()).length")
        assert len(reached) == expected
        assert page.locator("main").count() == 1


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_a_photo_of_the_audit_opens_large_by_the_keyboard(
    browser: Browser, pages: dict[str, Path], size: ViewportSize
) -> None:
    with opened(browser, pages["audit"], size) as page:
        photo = page.locator("summary").first
        small = photo.evaluate("one => one.firstElementChild.getBoundingClientRect().width")
        photo.press("Enter")
        large = photo.evaluate("one => one.firstElementChild.getBoundingClientRect().width")
        assert large > 2 * small
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        photo.press("Enter")
        assert photo.evaluate("one => one.firstElementChild.getBoundingClientRect().width") == small


def test_commands_are_copied(browser: Browser, report: Path) -> None:
    with opened(browser, report, PHONE) as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        box = page.locator(".commands")
        box.get_by_role("button", name="Copy").press("Enter")
        expect(box.locator("output")).to_have_text("copied")  # by locator: the page forbids scripts of text
        assert page.evaluate("navigator.clipboard.readText()") == "corolla compare a b\ncorolla runs"
        assert page.evaluate("getComputedStyle(document.querySelector('.commands pre')).whiteSpace") == "pre-wrap"
