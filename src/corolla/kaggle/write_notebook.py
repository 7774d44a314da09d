"""The inference notebook of a code competition, as it is pushed to Kaggle.

Kaggle runs it without internet: it installs corolla from the bundle's wheels, predicts and writes submission.csv.
"""

import json
import re
from pathlib import Path

import nbformat
from nbformat import v4

from corolla.files import write_atomically
from corolla.kaggle.bundle import Bundle
from corolla.kaggle.needs import OPTIONAL, pip_requirements

CODE_FILE = "inference.ipynb"
ACCELERATOR = "NvidiaTeslaT4"  # Kaggle's name for its two T4s; the P100 is retired
TITLE_LENGTHS = range(5, 51)  # that Kaggle takes

PARAMETERS = """\
import os
from pathlib import Path

INPUT = Path(os.environ.get("COROLLA_KAGGLE_INPUT", "/kaggle/input"))
BUNDLE_SHA256 = {sha256!r}
COMPETITION = {competition!r}
OUT = "submission.csv\""""

INSTALL = """\
import hashlib
import importlib
import subprocess
import sys

manifests = [path for depth in range(1, 5) for path in INPUT.glob("*/" * depth + "corolla-bundle.json")]
packed = [path for path in manifests if hashlib.sha256(path.read_bytes()).hexdigest() == BUNDLE_SHA256]
if not packed:
    there = ", ".join(map(str, manifests)) or "none"
    raise FileNotFoundError(f"{{INPUT}}: bundle {{BUNDLE_SHA256[:12]}} is not attached; attached: {{there}}")
PIP = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
PIP += ["--no-warn-conflicts", "--find-links", str(packed[0].parent)]  # of corolla, only what predicts is needed here

subprocess.run([*PIP, "--no-deps", "--force-reinstall", {corolla}], check=True)
# What the image has in a fitting version stays; its own torch and numpy, on which these lean, stay whatever happens.
leaning = [{without_needs}]
subprocess.run([*PIP, "--no-deps", *leaning], check=True)
others = [{solved}]
subprocess.run([*PIP, *others], check=True)
# Faster, and without it OpenCV decodes to the same pixels: its wheel may be for another Python.
subprocess.run([*PIP, "--no-deps", {optional}], check=False)
importlib.invalidate_caches()"""

PREDICT = """\
from corolla.kaggle.notebook import predict_submission
from corolla.logs import to_screen

to_screen()
predict_submission(input_root=INPUT, competition=COMPETITION, out=OUT, bundle_sha256=BUNDLE_SHA256)"""

SHOW = """\
import pandas as pd

pd.read_csv(OUT, dtype={"id": str}).head()"""


def write_notebook(
    folder: Path, bundle: Bundle, *, owner: str, slug: str, title: str, dataset: str, competition: str
) -> Path:
    """Write `folder`/kernel with the notebook and its kernel-metadata.json, as `kaggle kernels push` takes it.

    Args:
        owner: the Kaggle user name.
        slug: of the notebook, in its address; `title` has to give it.
        dataset: "owner/slug" of the dataset that `bundle` was uploaded as.

    Returns: the folder.

    Raises:
        ValueError: `title` is too short or long, or Kaggle would make another slug of it; or `dataset` is no
            "owner/slug".
    """
    if len(title) not in TITLE_LENGTHS:
        raise ValueError(f"{title!r}: a notebook's title has {TITLE_LENGTHS.start} to {TITLE_LENGTHS.stop - 1} letters")
    if re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") != slug:
        raise ValueError(f"{title!r}: Kaggle would not make the slug {slug} of this title")
    if not re.fullmatch(r"[\w-]+/[\w-]+", dataset):
        raise ValueError(f"{dataset!r}: owner/slug is expected")
    kernel = folder / "kernel"
    metadata = {
        "id": f"{owner}/{slug}",
        "title": title,
        "code_file": CODE_FILE,
        "language": "python",
        "kernel_type": "notebook",
        "is_private": True,
        "enable_gpu": True,
        "enable_internet": False,  # left out it would be on, and a code competition refuses that
        "machine_shape": ACCELERATOR,
        "dataset_sources": [dataset],
        "competition_sources": [competition],
        "kernel_sources": [],
        "model_sources": [],
    }
    write_atomically(kernel / CODE_FILE, _notebook(bundle, title=title, dataset=dataset, competition=competition))
    write_atomically(kernel / "kernel-metadata.json", (json.dumps(metadata, indent=2) + "\n").encode())
    return kernel


def _notebook(bundle: Bundle, *, title: str, dataset: str, competition: str) -> bytes:
    """Return the notebook as JSON."""
    without_needs, solved = ("".join(f'\n    "{need}",' for need in needs) + "\n" for needs in pip_requirements())
    optional = ", ".join(f'"{name}"' for name in OPTIONAL)
    corolla = '"{}=={}"'.format(*bundle.manifest["created_by"].split())
    cells = {
        "title": v4.new_markdown_cell(_description(bundle, title, dataset)),
        "parameters": v4.new_code_cell(PARAMETERS.format(sha256=bundle.sha256, competition=competition)),
        "install": v4.new_code_cell(
            INSTALL.format(corolla=corolla, without_needs=without_needs, solved=solved, optional=optional)
        ),
        "predict": v4.new_code_cell(PREDICT),
        "show": v4.new_code_cell(SHOW),
    }
    for name, cell in cells.items():
        cell["id"] = name  # nbformat draws one at random, but equal bundles are to give equal notebooks
    kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    language = {"name": "python"}
    made = v4.new_notebook(cells=list(cells.values()), metadata={"kernelspec": kernelspec, "language_info": language})
    nbformat.validate(made)
    return (nbformat.writes(made) + "\n").encode()


def _description(bundle: Bundle, title: str, dataset: str) -> str:
    """Return the text above the cells."""
    weights = bundle.rule.weights
    titles = [
        "run",
        "checkpoint",
        "views",
        *["weight"] * (weights is not None),
        "epochs",
        "macro F1 on val, centre crop",
    ]
    rows = []
    for number, run in enumerate(bundle.runs):
        weight = [] if weights is None else [f"{weights[number]:.3f}"]
        epochs = "unknown" if run["epochs"] is None else str(run["epochs"])  # of an imported run
        rows.append([_cell(run["name"]), run["checkpoint"], run["tta"], *weight, epochs, _f1(run["val_macro_f1"])])
    networks = {run["files"][f"{run['checkpoint']}.pt"] for run in bundle.runs}
    return "\n".join(
        [
            f"# {title}",
            "",
            f"Predicts the test photos with {len(networks)} trained network(s) and writes `submission.csv`: "
            f"joined by {_joined(bundle)}.",
            "",
            *(f"| {' | '.join(row)} |" for row in (titles, ["---"] * len(titles), *rows)),
            "",
            f"Checkpoints and wheels are in the dataset [{dataset}](https://www.kaggle.com/datasets/{dataset}), "
            f"bundle {bundle.sha256[:12]}; written by {bundle.manifest['created_by']}.",
        ]
    )


def _joined(bundle: Bundle) -> str:
    """Return how the members are joined, in words."""
    rule = bundle.rule
    joined = {
        "vote": "a vote, ties by summed probability",
        "mean": "the mean of the probabilities",
        "geometric": "the mean of the log-probabilities",
        "weighted": "the mean of the probabilities with weights that were fitted on val",
        "greedy": "the mean of the probabilities, weighted by greedy selection on val",
    }[rule.method]
    adjusted = f", adjusted by the class frequencies of train to the power of {rule.tau:.2f}, fitted on val"
    return joined + adjusted * (rule.prior is not None)


def _cell(text: str) -> str:
    """Return text for a cell of a Markdown table."""
    return re.sub(r"([|\\`*_<\[])", r"\\\1", text)


def _f1(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
