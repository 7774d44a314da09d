"""The page on one run, as a file."""

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest
from support import write_data
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import corolla
from corolla.cli import run_command
from corolla.compare.report.run_page import RunReport, report
from corolla.evaluation.metrics import class_f1
from corolla.runs.folder import Run


@pytest.fixture(scope="module")
def made(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> RunReport:
    out = tmp_path_factory.mktemp("page") / "run.html"
    return report(str(trained), out=str(out), device="cpu", workers=0)


@pytest.fixture(scope="module")
def page(made: RunReport) -> str:
    return made.path.read_text(encoding="utf-8")


def cells(page: str, section: str) -> list[list[str]]:
    """Return the texts of the cells in a section's table, row by row."""
    (inside,) = re.findall(f'<section id="{section}">(.*?)</section>', page, re.DOTALL)
    rows = re.findall("<tr>(.*?)</tr>", inside, re.DOTALL)[1:]
    return [[unescape(text) for text in re.findall("<td.*?>(.*?)</td>", row)] for row in rows]


def test_its_sections_are_its_contents(page: str) -> None:
    sections = re.findall(r'<section id="(\w+)">\n<h2>(.*)</h2>', page)
    assert re.findall(r'<li><a href="#(\w+)">(.*)</a></li>', page) == sections
    assert [anchor for anchor, _ in sections] == [
        *("scores", "curves", "confusions", "mistakes", "classes", "batch", "settings", "cost", "reproduce")
    ]
    assert re.search(r"Written on \d{4}-\d\d-\d\d at \d\d:\d\d", page)
    assert len(page.encode()) < 5e6
    assert set(re.findall(r'(?:src|href)="(data:|#|[^"]*)', page.partition("<script>")[0])) <= {"data:", "#"}


def test_it_says_what_the_run_has(made: RunReport, page: str) -> None:
    (member,) = made.comparison.members
    scores, rows = member.scores, member.rows
    assert made.summary == f"{made.path}: trained, macro F1 on val {scores.macro_f1:.4f}"
    assert f"<li>Macro F1 {scores.macro_f1:.3f} on 16 photos of val" in page
    last, best = cells(page, "scores")
    assert last[:3] == ["last", "3", f"{scores.macro_f1:.3f}"]
    assert best[2] == f"{max(row['macro_f1'] for row in rows):.3f}"
    assert [row[2] for row in cells(page, "curves")] == [f"{row['train_loss']:.3f}" for row in rows]
    f1 = sorted(class_f1(member.labels, member.predicted).values())
    assert [row[4] for row in cells(page, "classes")] == [f"{value:.3f}" for value in f1], "the worst first"
    assert ["lr", "0.02"] in cells(page, "settings")
    assert ["augment.flip", "False"] in cells(page, "settings")
    (command,) = re.findall("<code>(corolla train .*)</code>", page)
    assert "--train.seed 0 --data " in command


def test_the_first_batch_is_the_one_that_training_had(trained: Path, page: str) -> None:
    events = EventAccumulator(str(trained), size_guidance={"tensors": 0})
    events.Reload()
    (text,) = events.Tensors("train/first_batch/text_summary")
    (batch,) = re.findall('<section id="batch">(.*?)</section>', page, re.DOTALL)
    names = re.findall("<figcaption>(.*?)</figcaption>", batch)
    assert ", ".join(names) == text.tensor_proto.string_val[0].decode()
    assert batch.count('src="data:image/jpeg;base64,') == len(names) == 8


def test_other_data_have_no_photos_of_the_first_batch(
    trained: Path, copy_run: Callable[..., Path], tmp_path: Path
) -> None:
    folder = copy_run("copy", right=12)
    other = write_data(tmp_path / "other", train=45)
    page = report(folder, data=other, device="cpu", workers=0).path.read_text(encoding="utf-8")
    assert "its train images are not those that" in page
    assert "kind 0 <span" in page, "val is the same, so its photos are shown"
    assert page.count('src="data:image/jpeg;base64,') > 4
    assert (folder / "report.html").exists()


def test_an_imported_run_has_no_curves(trained: Path, tmp_path: Path) -> None:
    data = Run(trained).environment["data"]
    imported = corolla.import_checkpoint(
        trained / "last.pt", tmp_path / "<b>imported", model="timm:test_efficientnet", data=data
    )
    page = report(imported, device="cpu", workers=0).path.read_text(encoding="utf-8")
    assert "#curves" not in page
    assert "What it was trained with is unknown." in page
    assert "<b>imported" not in page
    assert "Run &lt;b&gt;imported" in page


def test_of_the_best_epoch_and_records_of_another_size(
    copy_run: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = copy_run("copy", right=12), tmp_path / "best.html"
    larger = write_data(tmp_path / "larger", size=48)
    options = ["--checkpoint", "best", "--data", str(larger), "--size", "48", "--out", str(out)]
    assert run_command(["report", str(folder), *options, "--device", "cpu", "--workers", "0"]) == 0
    assert f"--data {larger} --size 48 --workers 0 --checkpoint best" in capsys.readouterr().out
    page = out.read_text(encoding="utf-8")
    best, last = cells(page, "scores")
    assert (best[0], last[0], last[3]) == ("best (chosen on val)", "last", "–")
    assert "optimistic.</p>" in page
    assert 'id="no-photos"' not in page
