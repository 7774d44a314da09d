"""The notebooks: thin, committed without outputs, and (slow) running end to end on the embedded set."""

import ast
import re
import time
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from corolla.kaggle.submission import check_submission, read_labels

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MAX_LINES = 24  # of the settings cell, comments with it
MAX_CODE_LINES = 15
FORBIDDEN = (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.While, ast.Try, ast.AsyncFunctionDef)
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore:IProgress not found"}


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_six() -> None:
    assert [path.name[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05", "06"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestAsCommitted:
    def test_valid_and_without_outputs(self, path: Path) -> None:
        notebook = read(path)
        nbformat.validate(notebook)
        for cell in notebook.cells:
            assert cell.cell_type == "markdown" or (cell.outputs == [] and cell.execution_count is None)

    def test_begins_with_a_title_and_the_settings(self, path: Path) -> None:
        first, second, *_ = read(path).cells
        assert first.cell_type == "markdown"
        assert first.source.startswith(f"# {int(path.name[:2])}. ")
        assert second.cell_type == "code"
        assert "COROLLA_NOTEBOOK_ROOT" in second.source
        assert "%matplotlib inline" in second.source
        assert "to_screen()" in second.source, "training is watched"
        assert re.search(r"^DATA, .*RUNS|^DATA, SIZE", second.source, re.M), "the data is chosen in this cell"

    def test_is_thin(self, path: Path) -> None:
        settings, *others = code_cells(read(path))
        assert len(settings.splitlines()) <= MAX_LINES
        for source in others:
            assert len(source.splitlines()) <= MAX_CODE_LINES, source
        for source in (settings, *others):
            tree = ast.parse(re.sub(r"^%.*$", "", source, flags=re.M))
            assert not [node for node in ast.walk(tree) if isinstance(node, FORBIDDEN)], source

    def test_settings_stand_in_the_first_cell_alone(self, path: Path) -> None:
        for source in code_cells(read(path))[1:]:
            assert not re.search(r"^[A-Z][A-Z_]+\b.*=", source, re.M), source

    def test_links_lead_somewhere(self, path: Path) -> None:
        text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
        for target in re.findall(r"\]\(([^)]+\.ipynb)\)", text):
            assert (FOLDER / target).is_file(), target


@pytest.fixture
def away_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kernels work in a folder of their own, without the hub."""
    for name, value in {**ENVIRONMENT, "COROLLA_NOTEBOOK_ROOT": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
    monkeypatch.setenv("COROLLA_KAGGLE_INPUT", str(tmp_path / "nothing-mounted"))
    return tmp_path


def run_notebook(path: Path) -> nbformat.NotebookNode:
    notebook = read(path)
    start = time.perf_counter()
    place = {"metadata": {"path": str(FOLDER)}}
    client = NotebookClient(notebook, timeout=1200, kernel_name="python3", resources=place)
    client.execute()
    print(f"{path.name}: {time.perf_counter() - start:.0f} s")
    return notebook


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_all_run_in_order(away_from_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = away_from_home
    before = {path: path.read_bytes() for path in NOTEBOOKS}
    for path in NOTEBOOKS:
        with capsys.disabled():
            notebook = run_notebook(path)
        kinds = [kind for output in outputs(notebook) for kind in output.get("data", {})]
        assert "image/png" in kinds, f"{path.name} shows no figure"
        noise = [output.text for output in outputs(notebook) if output.get("name") == "stderr"]
        assert not noise, noise
        said = "".join(output.text for output in outputs(notebook) if output.get("name") == "stdout")
        trains = any("corolla.train(" in source for source in code_cells(notebook))
        assert not trains or re.search(r"^epoch +1/", said, re.MULTILINE), f"{path.name} shows no training"
    assert before == {path: path.read_bytes() for path in NOTEBOOKS}
    check_what_they_left(root)


def check_what_they_left(root: Path) -> None:
    runs = {path.parent.name for path in (root / "runs" / "notebooks").glob("*/last.pt")}
    expected = {"plain18-seed0", "resnet18-seed0", "kaggle-seed0", "kaggle-second-session"}
    expected |= {f"lite0_{start}-seed{seed}" for start in ("scratch", "pretrained") for seed in (0, 1)}
    assert runs == expected
    sample = read_labels(root / "data" / "notebooks" / "sample_submission.csv")
    for path in (root / "submissions" / "submission.csv", root / "submissions" / "notebooks" / "vote.csv"):
        table = read_labels(path)
        check_submission(table, sample, 104, source=str(path))
        assert table["id"].tolist() == sample["id"].tolist()
        assert len(set(table["label"])) > 1
        assert path.with_suffix(".json").is_file()
    assert sorted(path.name for path in root.iterdir()) == sorted(["data", "runs", "submissions"])
