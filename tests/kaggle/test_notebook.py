"""The inference notebook: what is pushed, and that it runs where Kaggle would run it."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import nbformat
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from corolla.cli import run_command
from corolla.config import Config, ModelConfig, OptimConfig, PipelineConfig, TrainConfig
from corolla.errors import UserError
from corolla.files import sha256
from corolla.kaggle.bundle import Bundle
from corolla.kaggle.image import STAYS, version_of
from corolla.kaggle.needs import PREDICTION_NEEDS
from corolla.kaggle.notebook import predict_submission
from corolla.kaggle.notebook_members import ensemble_of_csv, ensemble_of_runs
from corolla.kaggle.pack_runs import pack
from corolla.kaggle.write_notebook import write_notebook
from corolla.training.train import train

COMPETITION = "tpu-getting-started"
TTA = "ten-crop+random-2+multi-scale"  # every kind of view
KERNEL: dict[str, str] = {
    "owner": "somebody",
    "slug": "corolla-petals",
    "title": "Corolla: petals!",
    "dataset": "somebody/corolla-petals-runs",
    "competition": COMPETITION,
}


@pytest.fixture(scope="module")
def runs(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """An own network and one of timm's, trained a little."""
    folder = tmp_path_factory.mktemp("trained")
    return [
        train(
            Config(
                data=tiny_data,
                runs=folder,
                device="cpu",
                model=model,
                optim=OptimConfig(lr=0.005),
                train=TrainConfig(epochs=2, batch_size=8),
                pipeline=PipelineConfig(workers=0),
            ),
            experiment=experiment,
        ).folder
        for experiment, model in (
            ("own", ModelConfig(name="resnet18", width=0.25)),
            ("timm's", ModelConfig(name="timm:test_efficientnet")),
        )
    ]


@pytest.fixture(scope="module")
def bundle(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("pack")
    return pack(ensemble_of_runs(runs, tta=TTA), folder, name="corolla-petals")


@contextmanager
def attached(bundle: Bundle, data: Path, root: Path) -> Iterator[Path]:
    """As /kaggle/input in a session: a dataset and a competition, read-only."""
    shutil.copytree(bundle.folder, root / "datasets" / "somebody" / "corolla-petals-runs")
    shutil.copytree(data, root / "competitions" / COMPETITION)
    places = [root, *root.rglob("*")]
    for place in places:
        place.chmod(0o555 if place.is_dir() else 0o444)
    yield root
    for place in places:
        place.chmod(0o755 if place.is_dir() else 0o644)


@pytest.fixture(scope="module")
def kaggle_input(bundle: Bundle, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with attached(bundle, tiny_data, tmp_path_factory.mktemp("kaggle") / "input") as root:
        yield root


@pytest.fixture(scope="module")
def expected(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes that the commands write here."""
    out = tmp_path_factory.mktemp("here") / "here.csv"
    corolla = [sys.executable, "-m", "corolla"]
    names = [*map(str, runs), "--tta", TTA]
    subprocess.run([*corolla, "predict", *names, "--device", "cpu", "--workers", "0"], check=True, timeout=300)
    subprocess.run([*corolla, "ensemble", *names, "--method", "vote", "--out", str(out)], check=True, timeout=300)
    return out.read_bytes()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """predict_submission sets the variable; it is put back after the test."""
    monkeypatch.setenv("COROLLA_KAGGLE_INPUT", "")


def test_what_is_pushed(bundle: Bundle, tmp_path: Path) -> None:
    kernel = write_notebook(tmp_path, bundle, **KERNEL)
    assert kernel == tmp_path / "kernel"
    assert {path.name for path in kernel.iterdir()} == {"inference.ipynb", "kernel-metadata.json"}
    assert json.loads((kernel / "kernel-metadata.json").read_text()) == {
        "id": "somebody/corolla-petals",
        "title": "Corolla: petals!",
        "code_file": "inference.ipynb",
        "language": "python",
        "kernel_type": "notebook",
        "is_private": True,
        "enable_gpu": True,
        "enable_internet": False,
        "machine_shape": "NvidiaTeslaT4",
        "dataset_sources": ["somebody/corolla-petals-runs"],
        "competition_sources": [COMPETITION],
        "kernel_sources": [],
        "model_sources": [],
    }


def test_the_notebook_reads_well(bundle: Bundle, runs: list[Path], tmp_path: Path) -> None:
    path = write_notebook(tmp_path, bundle, **KERNEL) / "inference.ipynb"
    first = path.read_bytes()
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    title, *cells = notebook.cells
    for word in (*(run.name for run in runs), TTA, "vote", "2 trained", bundle.sha256[:12]):
        assert word in title.source
    assert [cell.cell_type for cell in cells] == ["code"] * 4
    for cell in cells:
        compile(cell.source, cell.id, "exec")
        assert max(map(len, cell.source.splitlines())) <= 120
        assert not cell.outputs
    settings: dict[str, Any] = {}
    exec(cells[0].source, settings)
    assert (settings["BUNDLE_SHA256"], settings["COMPETITION"]) == (bundle.sha256, COMPETITION)
    version = importlib.metadata.version("corolla")
    assert re.search(rf'"--force-reinstall", "corolla=={re.escape(version)}"', cells[1].source)
    assert '"simplejpeg"], check=False' in cells[1].source
    assert (write_notebook(tmp_path, bundle, **KERNEL) / "inference.ipynb").read_bytes() == first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"title": "Ab", "slug": "ab"}, "a notebook's title has 5 to 50 letters"),
        ({"slug": "petals"}, "would not make the slug petals"),
        ({"dataset": "corolla-petals-runs"}, "owner/slug is expected"),
    ],
)
def test_what_kaggle_would_refuse(bundle: Bundle, tmp_path: Path, change: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_notebook(tmp_path, bundle, **{**KERNEL, **change})
    assert not (tmp_path / "kernel").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("environment")
def test_predict_submission(
    bundle: Bundle, kaggle_input: Path, expected: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    where: dict[str, Any] = {"input_root": kaggle_input, "device": "cpu", "workers": 0}
    made = predict_submission(competition=COMPETITION, bundle_sha256=bundle.sha256, **where)
    assert made.read_bytes() == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["submission.csv", "submission.json"]
    provenance = json.loads(Path("submission.json").read_text())
    assert provenance["bundle_sha256"] == bundle.sha256
    assert [run["run"] for run in provenance["runs"]] == [run["name"] for run in bundle.runs]
    # the competition's twin has the same data
    other = predict_submission(competition="flower-classification-with-tpus", out="second.csv", **where)
    assert other.read_bytes() == expected


SPY = """
import builtins, sys
from pathlib import Path
really_import, found = builtins.__import__, set()
def spy(name, globals=None, locals=None, fromlist=(), level=0):
    if level == 0 and (globals or {}).get("__name__", "").startswith("corolla"):
        found.add(name.partition(".")[0])
    return really_import(name, globals, locals, fromlist, level)
builtins.__import__ = spy
from corolla.kaggle.notebook import predict_submission
predict_submission(input_root=Path(sys.argv[1]), competition=sys.argv[2], out=sys.argv[3], device="cpu", workers=0)
print(*(found - set(sys.stdlib_module_names) - {"corolla"}))
"""


@pytest.mark.slow
def test_predicting_imports_what_the_notebook_installs_or_the_image_has(kaggle_input: Path, tmp_path: Path) -> None:
    """Every import of corolla's own modules on the way to a submission."""
    command = [sys.executable, "-c", SPY, str(kaggle_input), COMPETITION, str(tmp_path / "submission.csv")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    owners = importlib.metadata.packages_distributions()
    # Several may own one: Kaggle's image has OpenCV three times.
    needed = [set(map(canonicalize_name, owners[top])) for top in done.stdout.split()]
    assert {"torch"} in needed
    assert set().union(*(names for names in needed if not names & STAYS)) == set(PREDICTION_NEEDS)


@pytest.mark.usefixtures("environment")
def test_what_is_not_attached(bundle: Bundle, kaggle_input: Path, tmp_path: Path) -> None:
    def refused(root: Path, competition: str, digest: str | None, message: str) -> None:
        with pytest.raises(UserError, match=message) as error:
            predict_submission(
                input_root=root, competition=competition, bundle_sha256=digest, out=tmp_path / "out.csv", workers=0
            )
        assert "\n" not in str(error.value)
        assert not (tmp_path / "out.csv").exists()

    refused(tmp_path, COMPETITION, bundle.sha256, "attach the dataset")
    refused(kaggle_input, COMPETITION, "0" * 64, "not the one packed")
    refused(kaggle_input, "titanic", bundle.sha256, "the data of titanic is not attached")


def image(folder: Path) -> Path:
    """A site folder as Kaggle's: what is installed here, but nothing of corolla's that the image lacks."""
    own = {str(canonicalize_name(Requirement(need).name)) for need in importlib.metadata.requires("corolla") or []}
    missing = {"corolla", "pip", *(name for name in own if version_of(name) is None)}
    missing -= {"nbclient", "ipykernel"}  # what runs the notebook
    site = Path(sysconfig.get_path("purelib"))
    folder.mkdir()
    for distribution in importlib.metadata.distributions(path=[str(site)]):
        if canonicalize_name(distribution.metadata["Name"]) not in missing:
            for top in tops(distribution):
                if not (folder / top).exists():
                    (folder / top).symlink_to(site / top)
    assert (folder / "torch").exists()
    assert not any((folder / name).exists() for name in ("corolla", "simplejpeg", "google_crc32c", "tyro"))
    return folder


def tops(distribution: Distribution) -> set[str]:
    names = {file.parts[0] for file in distribution.files or []}
    return {name for name in names if name not in ("..", "__pycache__", "/") and not name.startswith("__editable__")}


@pytest.fixture
def kaggle_python(tmp_path: Path) -> Path:
    """A fresh environment over that image."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True, timeout=120)
    python = tmp_path / "venv" / "bin" / "python"
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (site / "image.pth").write_text(f"{image(tmp_path / 'image')}\n")
    return python


RUN_NOTEBOOK = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], 4)
nbclient.NotebookClient(notebook, timeout=280, resources={"metadata": {"path": sys.argv[2]}}).execute()
nbformat.write(notebook, sys.argv[3])
"""


def run_notebook(python: Path, notebook: Path, input_root: Path, place: Path) -> Path:
    """Execute a notebook where Kaggle would, without network, and return the folder that it wrote into."""
    working = place / "working"
    working.mkdir()
    closed = "http://127.0.0.1:9"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(place / "home"),
        "COROLLA_KAGGLE_INPUT": str(input_root),
        "OMP_NUM_THREADS": "1",
        "PIP_CONFIG_FILE": os.devnull,
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), closed),
    }
    run = subprocess.run(
        [python, "-c", RUN_NOTEBOOK, notebook, working, place / "executed.ipynb"],
        env=environment,
        cwd=place,
        capture_output=True,
        text=True,
        timeout=360,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return working


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_notebook_runs_in_a_fresh_environment_without_network(
    bundle: Bundle, kaggle_input: Path, kaggle_python: Path, expected: bytes, tmp_path: Path
) -> None:
    notebook = write_notebook(tmp_path, bundle, **KERNEL) / "inference.ipynb"
    before = {path: sha256(path) for path in kaggle_input.rglob("*") if path.is_file()}
    working = run_notebook(kaggle_python, notebook, kaggle_input, tmp_path)
    assert (working / "submission.csv").read_bytes() == expected
    assert sorted(path.name for path in working.iterdir()) == ["submission.csv", "submission.json"]
    assert {path: sha256(path) for path in kaggle_input.rglob("*") if path.is_file()} == before
    cells = nbformat.read(tmp_path / "executed.ipynb", 4).cells
    assert "wrote submission.csv: 11 rows" in "".join(output.get("text", "") for output in cells[3].outputs)
    assert "0000007d0" in cells[4].outputs[0].data["text/plain"]  # ids stay text
    code = "import corolla, google_crc32c, simplejpeg, pydantic, torch\n"
    code += "print(*(module.__file__ for module in (corolla, google_crc32c, simplejpeg, pydantic, torch)))"
    where = subprocess.run([kaggle_python, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path)
    paths = list(map(Path, where.stdout.split()))
    assert all(path.is_relative_to(tmp_path / "venv") for path in paths[:3])
    assert all(path.is_relative_to(tmp_path / "image") for path in paths[3:]), "what the image has stayed"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_notebook_of_a_fitted_csv_writes_that_csv_where_kaggle_runs_it(
    runs: list[Path], tiny_data: Path, kaggle_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights and the power of the class frequencies are fitted by the commands here; nothing is fitted there."""
    monkeypatch.chdir(tmp_path)
    views = ["--tta", "ten-crop_size40"]
    names = [str(run) for run in runs]
    assert run_command(["predict", *names, *views, "--device", "cpu", "--workers", "0"]) == 0
    how = ["--method", "weighted", "--adjust"]
    assert run_command(["ensemble", *names, *views, *how, "--out", "fitted.csv"]) == 0
    made = json.loads(Path("fitted.json").read_text())
    assert (len(made["weights"]), made["tau"] is None) == (2, False)
    bundle = pack(ensemble_of_csv(Path("fitted.csv")), tmp_path, name="corolla-petals")
    notebook = write_notebook(tmp_path, bundle, **KERNEL) / "inference.ipynb"
    with attached(bundle, tiny_data, tmp_path / "input") as root:
        working = run_notebook(kaggle_python, notebook, root, tmp_path)
    assert (working / "submission.csv").read_bytes() == Path("fitted.csv").read_bytes()
    there = json.loads((working / "submission.json").read_text())
    assert [there[key] for key in ("method", "weights", "tau", "prior")] == [
        made[key] for key in ("method", "weights", "tau", "prior")
    ]
    assert f"| {made['weights'][0]:.3f} |" in nbformat.read(notebook, 4).cells[0].source
