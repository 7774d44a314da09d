"""corolla: from the 104-class flower TFRecords to a scored Kaggle submission.

Each stage is a function: `corolla.train(config) -> Run`, `corolla.predict(folder) -> PredictResult`, ... They are
imported on first use, because torch takes seconds. Three of them have the name of the package that they are in; here
the name always stands for the function.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from corolla.compare.compare import compare as compare
    from corolla.config.experiments import find_experiment as find_experiment
    from corolla.data.check import check as check
    from corolla.data.statistics import stats as stats
    from corolla.ensemble.ensemble import ensemble as ensemble
    from corolla.evaluation.predict import predict as predict
    from corolla.importing.importer import import_photos as import_photos
    from corolla.kaggle.download import download as download
    from corolla.kaggle.submission import score as score
    from corolla.kaggle.submit import submit as submit
    from corolla.kaggle.submit_notebook import submit_notebook as submit_notebook
    from corolla.show.show import show as show
    from corolla.synthetic.dataset import synthesize as synthesize
    from corolla.training.train import train as train

_STAGES = {
    "synthesize": "corolla.synthetic.dataset",
    "check": "corolla.data.check",
    "stats": "corolla.data.statistics",
    "show": "corolla.show.show",
    "import_photos": "corolla.importing.importer",
    "find_experiment": "corolla.config.experiments",
    "train": "corolla.training.train",
    "predict": "corolla.evaluation.predict",
    "ensemble": "corolla.ensemble.ensemble",
    "score": "corolla.kaggle.submission",
    "compare": "corolla.compare.compare",
    "download": "corolla.kaggle.download",
    "submit": "corolla.kaggle.submit",
    "submit_notebook": "corolla.kaggle.submit_notebook",
}


class _Package(ModuleType):
    """Importing a package sets it as an attribute of this one; a stage of the same name comes before it."""

    def __getattribute__(self, name: str) -> Any:
        if name in _STAGES:
            return getattr(importlib.import_module(_STAGES[name]), name)
        return super().__getattribute__(name)


sys.modules[__name__].__class__ = _Package
