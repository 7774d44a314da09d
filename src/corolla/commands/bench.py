"""corolla bench: corolla's own speed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from corolla.bench.options import BenchOptions
from corolla.commands.common import given_words, next_command, refuse_with
from corolla.errors import DONE, UserError
from corolla.files import write_atomically

if TYPE_CHECKING:
    from corolla.bench.pairs import Report

BenchArguments = Annotated[BenchOptions, tyro.conf.arg(name="")]
DEFAULTS = BenchOptions()


def bench(
    what: Annotated[Literal["data", "train", "predict", "scaling", "cost"], tyro.conf.Positional],
    experiment: Annotated[str | None, tyro.conf.Positional] = None,
    /,
    json: Path | None = None,
    options: BenchArguments = DEFAULTS,
) -> int:
    """Measure the input pipeline, the training loop or inference, as ratios to a reference in the same run.

    Args:
        what: data (against the bare decoding of the same photos), train (against the model's step on a batch in
            memory), predict (against the model's forward), scaling (what data and train predict for other machines), or
            cost (what training EXPERIMENT on these data will take here: time, memory, disk, Kaggle's GPU hours).
        experiment: whose network trains or predicts; default: resnet50 for train, lite0_scratch for predict,
            transfer_best for cost.
        json: also write everything that was measured to this file.
        options: what is measured, and how often.
    """
    if experiment is not None and what == "data":
        raise UserError(f"bench data measures no network: leave {experiment} out")
    if what != "train":
        refuse_with(f"{what}, which measures one process", gpus=options.gpus)
    if what == "cost":
        own = {name: getattr(options, name) for name in ("batch_size", "pairs", "compile", "tta")}
        refuse_with(
            "cost, which takes what the experiment says",
            **{name: value for name, value in own.items() if value != getattr(DEFAULTS, name)},
        )
    from corolla.device import choose_device
    from corolla.device_errors import faults_told

    smaller = "a smaller --input-size or --device cpu"
    if what != "cost":
        smaller = f"--batch-size {max(1, options.batch_size // 2)}, {smaller}"
    with faults_told(choose_device(options.device), f"in bench {what}", memory=smaller):
        report = _measure(what, experiment, options)
    print("\n".join(report.lines()))
    if json is not None:
        write_atomically(json, report.json().encode())
        print(f"wrote {json}")
    if what == "cost" and not Path(experiment or "").joinpath("config.json").is_file():  # a run is trained already
        given = {name: getattr(options, name) for name in ("size", "input_size", "cache_dir")}
        device = None if options.device == "auto" else options.device
        words = given_words(data=options.data, **given, device=device)
        print(next_command("train", experiment or "transfer_best", *words))
    return DONE


def _measure(what: str, experiment: str | None, options: BenchOptions) -> "Report":
    if what == "data":
        from corolla.bench.data import bench_data

        return bench_data(options)
    if what == "predict":
        from corolla.bench.predict import bench_predict

        return bench_predict(experiment or "lite0_scratch", options)
    if what == "train" and options.gpus is not None:
        from corolla.bench.processes import bench_processes

        return bench_processes(experiment or "resnet50", options)
    if what == "train":
        from corolla.bench.train import bench_train

        return bench_train(experiment or "resnet50", options)
    if what == "cost":
        from corolla.bench.training_cost import training_cost

        return training_cost(experiment or "transfer_best", options)
    from corolla.bench.scaling import bench_scaling

    return bench_scaling(experiment or "resnet50", options)
