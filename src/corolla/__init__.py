"""corolla: from the 104-class flower TFRecords to a scored Kaggle submission.

Each stage is a function: `corolla.train(config) -> Run`, `corolla.predict(folder) -> PredictResult`, ... They are
imported on first use, because torch takes seconds.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from corolla.data.check import check as check
    from corolla.data.photos import import_photos as import_photos
    from corolla.data.show import show as show
    from corolla.data.stats import stats as stats
    from corolla.data.synthetic import synthesize as synthesize
    from corolla.evaluation.ensemble import ensemble as ensemble
    from corolla.evaluation.predict import predict as predict
    from corolla.experiments import find_experiment as find_experiment
    from corolla.kaggle.download import download as download
    from corolla.kaggle.submission import score as score
    from corolla.kaggle.submit import submit as submit
    from corolla.kaggle.submit_notebook import submit_notebook as submit_notebook
    from corolla.study.compare import compare as compare
    from corolla.training.loop import train as train

_STAGES = {
    "synthesize": "corolla.data.synthetic",
    "check": "corolla.data.check",
    "stats": "corolla.data.stats",
    "show": "corolla.data.show",
    "import_photos": "corolla.data.photos",
    "find_experiment": "corolla.experiments",
    "train": "corolla.training.loop",
    "predict": "corolla.evaluation.predict",
    "ensemble": "corolla.evaluation.ensemble",
    "score": "corolla.kaggle.submission",
    "compare": "corolla.study.compare",
    "download": "corolla.kaggle.download",
    "submit": "corolla.kaggle.submit",
    "submit_notebook": "corolla.kaggle.submit_notebook",
}


def __getattr__(name: str) -> Any:
    if name not in _STAGES:
        raise AttributeError(f"module 'corolla' has no attribute {name!r}")
    return getattr(importlib.import_module(_STAGES[name]), name)
