"""train, predict, ensemble, score: what concerns networks and what they say."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from corolla.commands.common import DONE, STOPPED, USER_ERROR, Paths, next_command
from corolla.errors import UserError
from corolla.evaluation.combine import Method
from corolla.evaluation.predictions import TTA, CheckpointName, SplitName
from corolla.evaluation.tta import Average, parse_tta

if TYPE_CHECKING:
    from corolla.evaluation.on_val import OnVal
    from corolla.evaluation.predict import PredictResult


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
    crop_fraction: float | None = None,
    view_size: int | None = None,
    average: Average | None = None,
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
        tta: the views that are averaged: none (centre), flip, ten-crop, multi-scale (the whole photo at five sizes) or
            random-8 (crops as in training, here 8), also several joined by +, such as ten-crop+multi-scale.
        crop_fraction: of the crops, 1.0: the whole square photo; default: the weights' own.
        view_size: pixels a side that the network sees; default: as in training. Somewhat larger makes up for training
            crops, which show flowers larger (Touvron et al. 2019).
        average: the views' probabilities (default) or logits.
        checkpoint: best (chosen on val) or last.
        data: the data folder; default: the one the run was trained with.
        index: folder for the index; default: the user's cache.
        device: auto, cpu, cuda, cuda:1, mps.
        batch_size: views of the training's size that go through the network at once; of larger ones fewer.
        workers: decoding processes; default: by the number of cores.
        bad_images: what a JPEG that does not decode does: stop the work, or count as a grey image.
    """
    from corolla.evaluation.predict import predict as predict_run

    tta = parse_tta(tta).having(crop_fraction=crop_fraction, size=view_size, average=average).name
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
        _print_predicted(result, split)
    print(_after_predict(runs, split, tta, checkpoint, data))
    return DONE


def _after_predict(runs: Paths, split: SplitName, tta: TTA, checkpoint: CheckpointName, data: Path | None) -> str:
    options: list[object] = [*runs, "--tta", tta]
    options += ["--checkpoint", "last"] if checkpoint == "last" else []
    options += ["--data", data] if data else []
    if split == "test":
        return next_command("ensemble", *options, "--out", "submissions/first.csv")
    return next_command("predict", *options, "--split", "test")


def _print_predicted(result: "PredictResult", split: SplitName) -> None:
    """Where the predictions lie, and how good they are where that is known."""
    from corolla.evaluation.metrics import macro_f1

    made = "wrote" if result.made else "holds already, by the same checkpoint:"
    print(f"{made} {result.path} ({len(result.predictions.ids)} images)")
    if result.predictions.labels is not None:
        predicted = result.predictions.probabilities.argmax(1)
        accuracy = (predicted == result.predictions.labels).mean()
        print(f"  {split}: macro F1 {macro_f1(result.predictions.labels, predicted):.4f}, accuracy {accuracy:.4f}")


def ensemble(
    runs: Paths,
    /,
    out: Path,
    method: Method = "vote",
    adjust: bool = False,
    tta: TTA = "none",
    checkpoint: CheckpointName = "best",
    data: Path | None = None,
    index: Path | None = None,
) -> int:
    """Join the test predictions of one run or several into a checked submission CSV.

    Args:
        runs: folders of runs that were predicted already.
        out: the CSV to write; a JSON beside it says what made it.
        method: vote (ties by summed probability), mean (of the probabilities), geometric (mean of their logarithms);
            weighted (mean with weights fitted on val for macro F1) or greedy (selection with replacement on val,
            Caruana et al. 2004), for which every run has to be predicted on val as well.
        adjust: divide the probabilities by the class frequencies in train to a power that is fitted on val (Menon et
            al. 2021).
        tta: which predictions to take: their views, with all that `predict` put into the name of its file, such as
            ten-crop_fraction1.0_size80.
        checkpoint: which predictions to take: of best or of last.
        data: the data folder, for its sample_submission.csv; default: the one the first run was trained with.
        index: with --adjust: folder for the index; default: the user's cache.
    """
    from corolla.kaggle.make_submission import submission_from_runs
    from corolla.kaggle.origin import read_origin

    made = submission_from_runs(
        runs, out, method=method, adjust=adjust, tta=tta, checkpoint=checkpoint, data=data, index=index
    )
    print(f"wrote {out} ({made.num_images} rows, ids as in {made.sample}) and {out.with_suffix('.json')}")
    if made.on_val is None:
        print("for its val macro F1, predict every run with --split val as well")
    else:
        _print_on_val(made.on_val, tau=made.rule.tau if adjust else None)
    labels = made.sample.with_name("test_labels.csv")
    if labels.exists():
        print(next_command("score", out, labels))
    else:
        origin = read_origin(made.sample.parent)
        print(next_command("submit", out, *([] if origin else ["--competition", "SLUG"])))
    return DONE


def _print_on_val(on_val: "OnVal", *, tau: float | None) -> None:
    """What the ensemble is worth on val, and what each member adds."""
    print(f"the same ensemble on val: macro F1 {on_val.same_photos:.4f}, accuracy {on_val.accuracy:.4f}")
    joined = on_val.cross_fitted
    if joined is not None:
        print(
            f"  too kind, as it was fitted there; on photos it was not fitted on: macro F1 {joined.macro_f1:.4f} "
            f"({joined.repeats} times {joined.folds}-fold, sd {joined.sd:.4f})"
        )
    if tau is not None and joined is not None and on_val.not_adjusted is not None:
        gain = joined.macro_f1 - on_val.not_adjusted
        print(f"  adjusted by the class frequencies to the power of {tau:.2f}: {gain:+.4f}, on such photos")
    if len(on_val.members) > 1:
        print("what each run adds on val (macro F1 of it alone, and of the ensemble without it):")
        print(on_val.members.to_string(index=False, float_format="%.4f"))


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
