"""The command line: one subcommand per stage, in the order of the pipeline.

A command parses, calls its stage, prints what came out and which command comes next. torch is imported only by the
stages that need it, inside their functions.
"""

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from corolla.errors import UserError
from corolla.evaluation.predictions import TTA, CheckpointName, SplitName

DONE, FAILED, USER_ERROR, STOPPED = 0, 1, 2, 75

Folder = Annotated[Path, tyro.conf.Positional]
Paths = Annotated[tuple[Path, ...], tyro.conf.Positional]


def _next(*words: object) -> str:
    """The command to go on with, as a shell takes it."""
    return f"next: corolla {shlex.join(map(str, words))}"


def synth(folder: Folder, /, size: int = 64, share: float = 1.0, seed: int = 0) -> int:
    """Draw the embedded data set: 104 kinds of flowers in the competition's layout.

    Args:
        folder: where to write tfrecords-jpeg-SxS, sample_submission.csv and test_labels.csv.
        size: side of the photos in pixels, 32 to 512.
        share: of the competition's number of images.
        seed: the same seed draws the same bytes.
    """
    from corolla.data.synthetic import synthesize

    made = synthesize(folder, size=size, share=share, seed=seed)
    counts = ", ".join(f"{name} {count}" for name, count in made.counts.items())
    print(f"{folder}: {'holds this set already' if made.reused else 'written'} ({counts} images at {size} px)")
    print(_next("check", folder, "--size", size))
    return DONE


def check(folder: Folder, /, size: int | None = None) -> int:
    """Read everything, verify every checksum, decode every JPEG; print every fault.

    Args:
        folder: the data folder.
        size: which tfrecords-jpeg-SxS; may be left out where there is one only.
    """
    from corolla.data.check import check as check_data

    result = check_data(folder, size, progress=True)
    for fault in result.faults:
        print(fault)
    for note in result.notes:
        print(note, file=sys.stderr)
    counts = ", ".join(f"{name} {count}" for name, count in result.counts.items())
    print(f"{folder}: {counts}; {result.num_bytes / 1e6:.0f} MB in {result.seconds:.1f} s", file=sys.stderr)
    if result.faults:
        print(f"{len(result.faults)} faults; replace the files named above", file=sys.stderr)
        return FAILED
    print("no faults", _next("train", "resnet34", "--data", folder, "--size", result.size), sep="\n", file=sys.stderr)
    return DONE


def stats(
    folder: Folder, /, size: int | None = None, splits: tuple[str, ...] = ("train",), index: Path | None = None
) -> int:
    """Exact channel means, standard deviations and colour eigenvectors; images per class; image sizes.

    Args:
        folder: the data folder.
        size: which tfrecords-jpeg-SxS; may be left out where there is one only.
        splits: whose pixels are counted: train, or train val.
        index: folder for the index; default: the user's cache.
    """
    from corolla.data.stats import stats as data_stats

    found = data_stats(folder, size=size, splits=splits, index=index)
    names = tuple(found.class_counts)
    width = max(len(name) for name in found.class_names)
    print(f"{'class':>5}  {'name':{width}}" + "".join(f"{name:>8}" for name in names))
    for number, name in enumerate(found.class_names):
        print(f"{number:5d}  {name:{width}}" + "".join(f"{found.class_counts[split][number]:8d}" for split in names))
    print(f"{'':5}  {'all':{width}}" + "".join(f"{sum(found.class_counts[split]):8d}" for split in names))
    print(f"\npixels of {' and '.join(found.splits)}, RGB in [0, 1]")
    for title, values in (
        ("mean", found.color.mean),
        ("standard deviation", found.color.std),
        ("eigenvalues", found.color.eigenvalues),
        *((f"eigenvectors, {channel}", row) for channel, row in zip("RGB", found.color.eigenvectors, strict=True)),
    ):
        print(f"{title:18}" + "".join(f"{value:10.5f}" for value in values))
    print("image sizes       " + ", ".join(f"{size} ({count})" for size, count in found.image_sizes.items()))
    print(_next("train", "resnet34", "--data", folder, "--size", found.size))
    return DONE


def show(
    folder: Folder,
    /,
    size: int | None = None,
    split: SplitName = "train",
    per_class: int = 1,
    seed: int = 0,
    out: Path | None = None,
    index: Path | None = None,
) -> int:
    """A contact sheet as PNG: photos of each class with its number and name.

    Args:
        folder: the data folder.
        size: which tfrecords-jpeg-SxS; may be left out where there is one only.
        split: train, val or test.
        per_class: photos of each class.
        seed: another seed picks other photos.
        out: the PNG to write.
        index: folder for the index; default: the user's cache.
    """
    from corolla.data.show import show as show_data

    print(f"wrote {show_data(folder, size=size, split=split, per_class=per_class, seed=seed, out=out, cache=index)}")
    print(_next("train", "resnet34", "--data", folder, *(["--size", size] if size else [])))
    return DONE


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

    from corolla.training.loop import TrainingFailed
    from corolla.training.loop import train as train_run

    try:
        run = train_run(config, experiment=_experiment_name(name))
    except TrainingFailed as error:
        print(error, file=sys.stderr)
        return FAILED
    if run.state != "done":
        return STOPPED
    print(f"{run.folder}: best.pt, last.pt, metrics.jsonl; curves: tensorboard --logdir {run.folder.parent}")
    print(_next("predict", run.folder, "--split", "test", "--tta", "ten-crop"))
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
        print(_next("ensemble", *options, "--out", "submissions/first.csv"))
    else:
        print(_next("predict", *options, "--split", "test"))
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
    from corolla.evaluation.ensemble import ensemble as combine_runs
    from corolla.evaluation.ensemble import ensemble_on_val
    from corolla.evaluation.metrics import macro_f1
    from corolla.kaggle.submission import describe_runs, write_submission
    from corolla.training.run import data_of

    if not runs:
        raise UserError("name at least one run's folder")
    if out.suffix != ".csv" or out.is_dir():
        raise UserError(f"--out {out}: the name of a .csv file is expected; its JSON goes beside it")
    combined = combine_runs(runs, split="test", tta=tta, method=method, checkpoint=checkpoint)
    on_val = ensemble_on_val(runs, tta=tta, method=method, checkpoint=checkpoint)
    val_f1 = val_accuracy = None
    if on_val is not None and on_val.labels is not None:
        val_f1 = macro_f1(on_val.labels, on_val.predicted)
        val_accuracy = float((on_val.predicted == on_val.labels).mean())
    provenance = describe_runs(
        combined.runs,
        combined.members,
        method=method,
        tta=tta,
        checkpoint=checkpoint,
        val_macro_f1=val_f1,
        val_accuracy=val_accuracy,
    )
    sample = (data or data_of(combined.runs[0])) / "sample_submission.csv"
    write_submission(out, combined, sample, combined.num_classes, provenance)
    print(f"wrote {out} ({len(combined.ids)} rows, ids as in {sample}) and {out.with_suffix('.json')}")
    if val_f1 is None:
        print("for its val macro F1, predict every run with --split val as well")
    else:
        print(f"the same ensemble on val: macro F1 {val_f1:.4f}, accuracy {val_accuracy:.4f}")
    labels = sample.with_name("test_labels.csv")
    print(_next("score", out, labels) if labels.exists() else f"next: submit {out} to the competition")
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


COMMANDS: dict[str, Callable[..., int]] = {
    command.__name__: command for command in (synth, check, stats, show, train, predict, ensemble, score)
}


def usage() -> str:
    """The stages in the order of the pipeline, a line each."""
    lines = (f"  {name:10} {(command.__doc__ or '').splitlines()[0]}" for name, command in COMMANDS.items())
    return "\n".join(
        [
            "corolla: from the 104-class flower TFRecords to a scored Kaggle submission",
            "",
            "usage: corolla STAGE [OPTIONS]",
            "",
            *lines,
            "",
            "corolla STAGE --help lists a stage's options.",
        ]
    )


def run_command(arguments: Sequence[str]) -> int:
    """Parse and run; the exit status."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return DONE
    name, *rest = arguments
    if name == "--version":
        from importlib.metadata import version

        print(version("corolla"))
        return DONE
    if name not in COMMANDS:
        import difflib

        nearest = difflib.get_close_matches(name, COMMANDS, 1, 0.0)[0]
        raise UserError(f"corolla has no stage {name}; nearest: {nearest}; corolla --help lists them all")
    command = COMMANDS[name]
    if command is train:
        return train(rest)
    return tyro.cli(command, prog=f"corolla {name}", args=rest)


def main() -> int:
    """The entry point; exit status 0 done, 2 the user's mistake, 75 stopped with a checkpoint, 1 anything else."""
    try:
        status = run_command(sys.argv[1:])
        sys.stdout.flush()  # so that a pipe that was closed is found here
        return status
    except UserError as error:
        print(error, file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return FAILED
    except BrokenPipeError:  # `corolla stats | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:  # no such folder, not writable, disk full
        if error.filename is None and error.errno is None:
            raise
        print(f"{error.filename or 'corolla'}: {error.strerror}", file=sys.stderr)
        return USER_ERROR
