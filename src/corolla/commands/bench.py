"""bench: corolla's own speed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from corolla.commands.common import DONE
from corolla.errors import UserError

if TYPE_CHECKING:
    from corolla.bench.pairs import Report


def bench(
    what: Annotated[Literal["data", "train", "predict", "scaling"], tyro.conf.Positional],
    experiment: Annotated[str | None, tyro.conf.Positional] = None,
    /,
    data: Path = Path("data"),
    size: int | None = None,
    input_size: int | None = None,
    batch_size: int = 64,
    workers: int | None = None,
    cache: Literal["auto", "off", "encoded", "decoded"] | None = None,
    pairs: int = 10,
    device: str = "auto",
    compile: bool = False,
    index: Path | None = None,
    json: Path | None = None,
) -> int:
    """Measure the input pipeline, the training loop or inference, as ratios to a reference in the same run.

    Args:
        what: data (against the bare decoding of the same photos), train (against the model's step on a batch in
            memory), predict (against the model's forward), or scaling (what data and train predict for other machines).
        experiment: whose network trains or predicts; default: resnet50 for train, lite0_scratch for predict.
        data: the data folder.
        size: which size of photos, where there are several.
        input_size: side of the network's input in pixels; default: of the photos (data: at most 224).
        batch_size: photos of a batch.
        workers: decoding processes; default: data one a core, else as in training.
        cache: see --pipeline.cache; default: off for data, auto for train.
        pairs: turns that ours and the reference take.
        device: auto, cpu, cuda, cuda:1, mps.
        compile: train: with torch.compile, on both sides.
        index: folder for the index and the cache of pixels; default: the user's.
        json: also write everything that was measured to this file.
    """
    if pairs < 1 or batch_size < 2 or (workers is not None and workers < 0):
        raise UserError("--pairs must be at least 1, --batch-size at least 2, --workers at least 0")
    if input_size is not None and input_size < 1:
        raise UserError(f"--input-size {input_size}: at least 1 is expected")
    if experiment is not None and what == "data":
        raise UserError(f"bench data measures no network: leave {experiment} out")
    common: dict[str, Any] = {"data": data, "size": size, "input_size": input_size, "workers": workers}
    common |= {"pairs": pairs, "device": device, "index": index}
    if what == "data":
        from corolla.bench.data import bench_data

        report = bench_data(**common, batch_size=batch_size, cache=cache or "off")
    elif what == "predict":
        from corolla.bench.predict import bench_predict

        report = bench_predict(experiment or "lite0_scratch", **common)
    else:
        from corolla.bench.scaling import bench_scaling
        from corolla.bench.train import bench_train

        measure = bench_train if what == "train" else bench_scaling
        common |= {"batch_size": batch_size, "cache": cache or "auto", "compile": compile}
        report = measure(experiment or "resnet50", **common)
    _print(report, json)
    return DONE


def _print(report: "Report", path: Path | None) -> None:
    print("\n".join(report.lines()))
    if path is not None:
        path.write_text(report.json(), encoding="utf-8")
        print(f"wrote {path}")
