"""corolla: from the 104-class flower TFRecords to a scored Kaggle submission.

Each stage is a function: `run = corolla.train("transfer_best", data="photos", epochs=3)`,
`corolla.predict(run, split="test", tta="ten-crop")`, ... Where a path is expected, text, a Path or the result that lies
there will do. `corolla.figures` and `corolla.tables` draw and list what they return. All are imported on first use,
because torch takes seconds. Six of them (audit, compare, ensemble, export, show, study) have the name of the package
that they are in, which can be called as the function.
"""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from corolla.anatomy.gradients import gradients as gradients
    from corolla.anatomy.lesion import lesion as lesion
    from corolla.audit.audit import audit as audit
    from corolla.compare import notebook_figures
    from corolla.compare import tables as tables
    from corolla.compare.compare import compare as compare
    from corolla.compare.report.run_page import report as report
    from corolla.config.experiments import find_experiment as find_experiment
    from corolla.data.check import check as check
    from corolla.data.index import load_index as load_index
    from corolla.data.mounts import mounted_data as mounted_data
    from corolla.data.statistics import stats as stats
    from corolla.ensemble.ensemble import ensemble as ensemble
    from corolla.evaluation.metrics import macro_f1 as macro_f1
    from corolla.evaluation.predict import predict as predict
    from corolla.export.export import export as export
    from corolla.importing.checkpoint import import_checkpoint as import_checkpoint
    from corolla.importing.importer import import_photos as import_photos
    from corolla.kaggle.download import download as download
    from corolla.kaggle.from_runs import submission_from_runs as submission_from_runs
    from corolla.kaggle.submission import score as score
    from corolla.kaggle.submit import submit as submit
    from corolla.kaggle.submit_notebook import submit_notebook as submit_notebook
    from corolla.logs import to_screen as to_screen
    from corolla.models.factory import build_model as build_model
    from corolla.models.factory import multiply_adds as multiply_adds
    from corolla.models.factory import num_parameters as num_parameters
    from corolla.runs.folder import open_run as open_run
    from corolla.show.show import show as show
    from corolla.study.cross_validation import cv as cv
    from corolla.study.status import study_status as study_status
    from corolla.study.study import study as study
    from corolla.study.study import study_table as study_table
    from corolla.synthetic.dataset import synthesize as synthesize
    from corolla.training.find_lr import find_lr as find_lr
    from corolla.training.train import train as train

    figures = notebook_figures

_STAGES = {
    "synthesize": "corolla.synthetic.dataset",
    "check": "corolla.data.check",
    "stats": "corolla.data.statistics",
    "import_photos": "corolla.importing.importer",
    "import_checkpoint": "corolla.importing.checkpoint",
    "find_experiment": "corolla.config.experiments",
    "train": "corolla.training.train",
    "find_lr": "corolla.training.find_lr",
    "open_run": "corolla.runs.folder",
    "predict": "corolla.evaluation.predict",
    "cv": "corolla.study.cross_validation",
    "study_status": "corolla.study.status",
    "study_table": "corolla.study.study",
    "report": "corolla.compare.report.run_page",
    "lesion": "corolla.anatomy.lesion",
    "gradients": "corolla.anatomy.gradients",
    "submission_from_runs": "corolla.kaggle.from_runs",
    "score": "corolla.kaggle.submission",
    "download": "corolla.kaggle.download",
    "submit": "corolla.kaggle.submit",
    "submit_notebook": "corolla.kaggle.submit_notebook",
    "load_index": "corolla.data.index",
    "mounted_data": "corolla.data.mounts",
    "macro_f1": "corolla.evaluation.metrics",
    "to_screen": "corolla.logs",
    "build_model": "corolla.models.factory",
    "multiply_adds": "corolla.models.factory",
    "num_parameters": "corolla.models.factory",
}

_MODULES = {"figures": "corolla.compare.notebook_figures", "tables": "corolla.compare.tables"}
"""Modules by the names that they have here."""
_PACKAGES = ("audit", "compare", "ensemble", "export", "show", "study")

__all__ = ["__version__", *_STAGES, *_MODULES, *_PACKAGES]  # pyright: ignore[reportUnsupportedDunderAll] - imported on first use


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name in _PACKAGES:
        return importlib.import_module(f"corolla.{name}")
    if name in _STAGES:
        from corolla.checked import checked

        function = checked(getattr(importlib.import_module(_STAGES[name]), name))
        function.__module__, globals()[name] = __name__, function  # so that it is pickled by this name
        return function
    if name == "__version__":
        return importlib.metadata.version("corolla")
    raise AttributeError(f"module 'corolla' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
