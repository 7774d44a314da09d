"""corolla predict: a run's probabilities for a split."""

from typing import Annotated

import tyro

from corolla.commands.common import Paths, next_command
from corolla.errors import DONE, UserError
from corolla.evaluation.predict import PredictOptions, PredictResult
from corolla.evaluation.predict import predict as predict_run

PredictArguments = Annotated[PredictOptions, tyro.conf.arg(name="")]
DEFAULTS = PredictOptions()


def predict(runs: Paths, /, options: PredictArguments = DEFAULTS) -> int:
    """Predict a split with trained runs: ids and probabilities into runs/NAME/predictions.

    Args:
        runs: folders of runs.
        options: what is predicted, and by what.
    """
    tta = options.name
    if not runs:
        raise UserError("name at least one run's folder")
    for folder in runs:
        _print_predicted(predict_run(folder, options), options.split)
    print(_next(runs, options, tta))
    return DONE


def _next(runs: Paths, options: PredictOptions, tta: str) -> str:
    words: list[object] = [*runs, "--tta", tta]
    words += ["--checkpoint", "last"] if options.checkpoint == "last" else []
    words += ["--data", options.data] if options.data else []
    if options.split == "test":
        return next_command("ensemble", *words, "--out", "submissions/first.csv")
    return next_command("predict", *words, "--split", "test")


def _print_predicted(result: PredictResult, split: str) -> None:
    """Print the path of the predictions, and their scores where the split is labelled."""
    from corolla.evaluation.metrics import macro_f1

    made = "wrote" if result.made else "holds already, by the same checkpoint:"
    print(f"{made} {result.path} ({len(result.predictions.ids)} images)")
    if result.predictions.labels is not None:
        predicted = result.predictions.probabilities.argmax(1)
        accuracy = (predicted == result.predictions.labels).mean()
        print(f"  {split}: macro F1 {macro_f1(result.predictions.labels, predicted):.4f}, accuracy {accuracy:.4f}")
