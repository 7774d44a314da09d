"""train, predict, ensemble, score: what concerns networks and what they say."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import tyro

from corolla.commands.common import DONE, STOPPED, USER_ERROR, Paths, next_command
from corolla.errors import UserError
from corolla.evaluation.predictions import TTA, CheckpointName, SplitName


def train(arguments: Sequence[str]) -> int:
    """Train an experiment, a TOML file or a run's config.json; the same command again goes on where it stopped."""
    from corolla.config import Config
    from corolla.experiments import EXPERIMENTS, find_experiment

    listing = "\n".join(f"  {name:20} {(make.__doc__ or '').splitlines()[0]}" for name, make in EXPERIMENTS.items())
    if not arguments or arguments[0].startswith("-"):
        asked = bool({"-h", "--help"} & set(arguments))
        print(f"usage: corolla train EXPERIMENT [OPTIONS]\n\nexperiments, or a .toml or .json file:\n{listing}\n")
        if asked:
            tyro.cli(Config, prog="corolla train EXPERIMENT", args=["--help"])
        print("corolla train EXPERIMENT --help lists the options with that experiment's values", file=sys.stderr)
        return USER_ERROR
    name, *options = arguments
    base = find_experiment(name)
    description = EXPERIMENTS[name].__doc__ if name in EXPERIMENTS else f"The settings of {name}."
    config = tyro.cli(Config, prog=f"corolla train {name}", default=base, description=description, args=options)

    from corolla.training.loop import train as train_run

    run = train_run(config, experiment=_experiment_name(name))
    if run.state != "done":
        return STOPPED
    print(f"{run.folder}: best.pt, last.pt, metrics.jsonl; curves: tensorboard --logdir {run.folder.parent}")
    print(next_command("predict", run.folder, "--split", "test", "--tta", "ten-crop"))
    return DONE


def _experiment_name(name: str) -> str:
    """What the run is called: the experiment, the file's stem, or for runs/NAME/config.json that NAME."""
    path = Path(name)
    if path.suffix not in (".toml", ".json"):
        return name
    return path.absolute().parent.name if path.name == "config.json" else path.stem


def predict(
    runs: Paths,
    /,
    split: SplitName = "test",
    tta: TTA = "none",
    checkpoint: CheckpointName = "best",
    data: Path | None = None,
    index: Path | None = None,
    device: str = "auto",
    batch_size: int = 64,
    workers: int | None = None,
    bad_images: Literal["stop", "grey"] = "stop",
) -> int:
    """Predict a split with trained runs: ids and probabilities into runs/NAME/predictions.

    Args:
        runs: folders of runs.
        split: train, val or test.
        tta: the views that are averaged: none (centre), flip, ten-crop.
        checkpoint: best (chosen on val) or last.
        data: the data folder; default: the one the run was trained with.
        index: folder for the index; default: the user's cache.
        device: auto, cpu, cuda, cuda:1, mps.
        batch_size: views that go through the network at once.
        workers: decoding processes; default: by the number of cores.
        bad_images: what a JPEG that does not decode does: stop the work, or count as a grey image.
    """
    from corolla.evaluation.metrics import macro_f1
    from corolla.evaluation.predict import predict as predict_run

    if not runs:
        raise UserError("name at least one run's folder")
    if batch_size < 1 or (workers is not None and workers < 0):
        raise UserError("--batch-size must be at least 1, --workers at least 0")
    for folder in runs:
        result = predict_run(
            folder,
            split=split,
            tta=tta,
            checkpoint=checkpoint,
            data=data,
            index=index,
            device=device,
            batch_size=batch_size,
            workers=workers,
            bad_images=bad_images,
        )
        made = "wrote" if result.made else "holds already, by the same checkpoint:"
        print(f"{made} {result.path} ({len(result.predictions.ids)} images)")
        if result.predictions.labels is not None:
            predicted = result.predictions.probabilities.argmax(1)
            accuracy = (predicted == result.predictions.labels).mean()
            print(f"  {split}: macro F1 {macro_f1(result.predictions.labels, predicted):.4f}, accuracy {accuracy:.4f}")
    options: list[object] = [*runs, "--tta", tta]
    options += ["--checkpoint", "last"] if checkpoint == "last" else []
    options += ["--data", data] if data else []
    if split == "test":
        print(next_command("ensemble", *options, "--out", "submissions/first.csv"))
    else:
        print(next_command("predict", *options, "--split", "test"))
    return DONE


def ensemble(
    runs: Paths,
    /,
    out: Path,
    method: Literal["vote", "mean"] = "vote",
    tta: TTA = "none",
    checkpoint: CheckpointName = "best",
    data: Path | None = None,
) -> int:
    """Join the test predictions of one run or several into a checked submission CSV.

    Args:
        runs: folders of runs that were predicted already.
        out: the CSV to write; a JSON beside it says what made it.
        method: vote (ties by summed probability) or mean (of the probabilities).
        tta: which predictions to take.
        checkpoint: which predictions to take: of best or of last.
        data: the data folder, for its sample_submission.csv; default: the one the first run was trained with.
    """
    from corolla.kaggle.make_submission import submission_from_runs
    from corolla.kaggle.origin import read_origin

    made = submission_from_runs(runs, out, method=method, tta=tta, checkpoint=checkpoint, data=data)
    print(f"wrote {out} ({made.num_images} rows, ids as in {made.sample}) and {out.with_suffix('.json')}")
    if made.val_macro_f1 is None:
        print("for its val macro F1, predict every run with --split val as well")
    else:
        print(f"the same ensemble on val: macro F1 {made.val_macro_f1:.4f}, accuracy {made.val_accuracy:.4f}")
    labels = made.sample.with_name("test_labels.csv")
    if labels.exists():
        print(next_command("score", out, labels))
    else:
        origin = read_origin(made.sample.parent)
        print(next_command("submit", out, *([] if origin else ["--competition", "SLUG"])))
    return DONE


def score(files: Paths, /, worst: int = 10) -> int:
    """Score submissions against the true labels: macro F1, accuracy, the worst classes; several as a table.

    Args:
        files: CSV... LABELS: one submission or several, and last the truth, a CSV with the columns id and label; a
            classes.txt beside it names the classes.
        worst: how many classes to list, for one submission.
    """
    from corolla.data.index import read_class_names
    from corolla.kaggle.submission import score as score_csv

    if len(files) < 2:
        raise UserError("name a submission and the file of true labels: corolla score CSV... LABELS.csv")
    *submissions, labels = files
    results = {path: score_csv(path, labels) for path in submissions}
    if len(results) > 1:
        width = max(len(str(path)) for path in submissions)
        print(f"{'submission':{width}}  macro F1  accuracy")
        for path, result in results.items():
            print(f"{path!s:{width}}  {result.macro_f1:8.4f}  {result.accuracy:8.4f}")
        return DONE
    ((path, result),) = results.items()
    names = read_class_names(labels.with_name("classes.txt"))
    print(f"{path}: macro F1 {result.macro_f1:.4f}, accuracy {result.accuracy:.4f} ({result.num_images} images)")
    for number, value in result.worst(worst):
        name = names[number] if number < len(names) else ""
        print(f"  F1 {value:.3f}  class {number:3d}  {name}")
    return DONE
