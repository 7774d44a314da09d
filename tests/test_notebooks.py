"""The notebooks: thin, committed without outputs, and (slow) running end to end on the embedded set."""

import ast
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from support import write_data

import corolla
from corolla.config import Config
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


def without_magics(source: str) -> str:
    return re.sub(r"^%.*$", "", source, flags=re.M)


def for_real_photos(settings: str) -> str:
    """Return the settings cell with its switch turned."""
    assert settings.count("REAL = False") == 1
    return settings.replace("REAL = False", "REAL = True")


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
        assert re.search(r"^ *DATA, ", second.source, re.M), "the data is chosen in this cell"

    def test_imports_nothing_else_of_corolla(self, path: Path) -> None:
        trees = [ast.parse(without_magics(source)) for source in code_cells(read(path))]
        nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
        modules = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
        modules += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        assert [name for name in modules if name.partition(".")[0] == "corolla"] == ["corolla"]

    def test_is_thin(self, path: Path) -> None:
        settings, *others = code_cells(read(path))
        assert len(settings.splitlines()) <= MAX_LINES
        for source in others:
            assert len(source.splitlines()) <= MAX_CODE_LINES, source
        for source in (settings, *others):
            tree = ast.parse(without_magics(source))
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


@pytest.fixture
def real(away_from_home: Path) -> Path:
    """A folder whose `data` stands in for the competition's photos."""
    write_data(away_from_home / "data", size=224, train=10, val=10, test=5)
    return away_from_home


def run_cells(path: Path, *contents: str) -> dict[str, Any]:
    """Return the names that a notebook's settings set for real photos, and then its cells with `contents`."""
    settings, *others = code_cells(read(path))
    wanted = [next(source for source in others if content in source) for content in contents]
    names: dict[str, Any] = {}
    for source in (for_real_photos(settings), *wanted):
        exec(compile(without_magics(source), path.name, "exec"), names)
    return names


class TestOnRealPhotos:
    @pytest.mark.parametrize("path", NOTEBOOKS[:5], ids=lambda path: path.stem)
    def test_both_sides_of_the_switch_set_the_same_and_nothing_below_sets_it_again(self, path: Path) -> None:
        settings, *others = code_cells(read(path))
        tree = ast.parse(without_magics(settings))
        (switch,) = [node for node in tree.body if isinstance(node, ast.If)]
        real, embedded = (stored([ast.Module(side, [])]) for side in (switch.body, switch.orelse))
        assert real == embedded
        assert {"DATA", "SIZE"} <= real
        after = tree.body[tree.body.index(switch) + 1 :]
        assert not stored([*after, *(ast.parse(without_magics(source)) for source in others)]) & real
        used = "\n".join(others)
        assert not [name for name in real if not re.search(rf"\b{name}\b", used)], "set, and then not used"

    def test_01_looks_at_them(self, real: Path) -> None:
        names = run_cells(NOTEBOOKS[0], "check(", "load_index(")
        assert (names["DATA"], names["SIZE"]) == (real / "data", 224)
        assert len(names["index"].splits["train"]) == 10
        assert not names["checked"].faults

    @pytest.mark.parametrize(
        ("number", "expected"),
        [
            (2, [("plain34", "none", 70, 0), ("resnet34", "none", 70, 0)]),
            (3, [("resnet50", "pretrained", 50, 0)]),
            (4, [("resnet50", weights, 50, seed) for weights in ("none", "pretrained") for seed in (0, 1, 2)]),
        ],
    )
    def test_02_to_04_train_on_them(
        self, number: int, expected: list[Any], real: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trained: list[Config] = []

        def train(config: Config | str, experiment: str | None = None, **settings: Any) -> None:
            trained.append(config if isinstance(config, Config) else corolla.find_experiment(config, **settings))

        monkeypatch.setattr(corolla, "train", train)
        run_cells(NOTEBOOKS[number - 1], *(["configs ="] if number == 2 else []), "corolla.train(")
        assert [(c.model.name, c.model.weights, c.train.epochs, c.train.seed) for c in trained] == expected
        for config in trained:
            assert (config.data, config.size, config.runs) == (real / "data", 224, real / "runs")

    def test_05_predicts_them_with_the_four_networks_of_the_report(
        self, real: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        networks = ["plain34", "resnet34", "resnet50", "resnet50_pretrained"]
        assert run_cells(NOTEBOOKS[4])["MEMBERS"] == [f"{name}-seed0" for name in networks]

        def predict(folder: Path, **_: Any) -> Any:
            raise ValueError(f"asked for {folder}")

        monkeypatch.setattr(corolla, "predict", predict)
        with pytest.raises(ValueError, match=f"asked for {real}/runs/plain34-seed0"):
            run_cells(NOTEBOOKS[4], "corolla.predict(")


def stored(trees: Sequence[ast.AST]) -> set[str]:
    """Return the names in capitals that are set."""
    names = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name))
    return {node.id for node in names if isinstance(node.ctx, ast.Store) and node.id.isupper()}


SMALL = """
import corolla
from corolla.config import from_dict
small = {"model": {"width": 0.1, "weights": "none"}, "input_size": 32, "train": {"epochs": 2, "batch_size": 8}}
find = corolla.find_experiment
corolla.find_experiment = lambda name, **settings: from_dict(small, base=find(name, **settings))
train = corolla.train
corolla.train = lambda config, experiment=None, **settings: train(
    corolla.find_experiment(config, **settings) if isinstance(config, str) else config,
    experiment=experiment or config,
)
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_02_to_05_run_on_real_photos(real: Path) -> None:
    """With the presets made small: what they train and submit is of the stand-in's photos."""
    for path in NOTEBOOKS[1:5]:
        notebook = read(path)
        settings = next(cell for cell in notebook.cells if cell.cell_type == "code")
        settings.source = for_real_photos(settings.source) + SMALL
        execute(notebook, path.name)
    runs = {path.parent.name for path in (real / "runs").glob("*/last.pt")}
    resnet50s = {f"resnet50{kind}-seed{seed}" for kind in ("", "_pretrained") for seed in (0, 1, 2)}
    assert runs == {"plain34-seed0", "resnet34-seed0"} | resnet50s
    assert len(read_labels(real / "submissions" / "notebooks" / "vote.csv")) == 5
    assert not (real / "data" / "notebooks").exists()


def run_notebook(path: Path) -> nbformat.NotebookNode:
    return execute(read(path), path.name)


def execute(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    start = time.perf_counter()
    place = {"metadata": {"path": str(FOLDER)}}
    client = NotebookClient(notebook, timeout=1200, kernel_name="python3", resources=place)
    client.execute()
    print(f"{name}: {time.perf_counter() - start:.0f} s")
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
    expected = {f"{kind}{depth}-seed0" for kind in ("plain", "resnet") for depth in (18, 34)}
    expected |= {"kaggle-seed0", "kaggle-second-session"}
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
