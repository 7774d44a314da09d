"""corolla compare: runs against each other."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from corolla.commands.common import (
    Paths,
    ViewArguments,
    check_workers,
    refuse_with,
    refuse_without,
    text_table,
    without_others,
)
from corolla.compare.places import comparison_name, folder_for, holds
from corolla.config import Config, PipelineConfig
from corolla.data.transforms.tta import ViewOptions
from corolla.errors import DONE, UserError
from corolla.files import replacing, write_atomically
from corolla.runs.folder import RUNS, CheckpointName, data_of
from corolla.text_files import shell_words

if TYPE_CHECKING:
    from corolla.compare.compare import Comparison
    from corolla.compare.report.tables import Table

NO_VIEWS = ViewOptions()
LEAST = (
    *("best epoch (chosen on val)", "multiply-adds (billions)", "images", "memory (MiB)", "epoch (min) of 50%"),
    *("epoch (min) of 80%", "lr drops", "val loss", "train loss", "top-5", "loss", "p", "top-1", "epochs"),
)
"""Columns that a narrow terminal goes without, the first first; CSV, JSON and report have them all."""


def compare(
    words: Paths,
    /,
    runs: Path = RUNS,
    checkpoint: CheckpointName | None = None,
    out: Path | None = None,
    data: Path | None = None,
    cache_dir: Path | None = None,
    device: str = "auto",
    workers: int | None = None,
    fractions: tuple[float, ...] = (),
    seeds: tuple[int, ...] | None = None,
    epochs: int | None = None,
    size: int | None = None,
    input_size: int | None = None,
    views: ViewArguments = NO_VIEWS,
) -> int:
    """Compare runs on val: scores with their spread, what differs, convergence, costs; CSV, JSON, HTML report.

    Runs that differ in their seed alone are one recipe.

    Args:
        words: folders of runs, or names of experiments: resnet34 is every runs/resnet34-seed*.
        runs: where experiments' runs are looked for.
        checkpoint: last (default), or best (chosen on the val it is scored on, so optimistic).
        out: OUT.csv, OUT.json, OUT.html and OUT.png are written; default: comparisons/NAMES/comparison, a folder for
            each comparison.
        data: the data folder; default: the one the runs were trained with.
        cache_dir: folder for the index; default: the user's cache.
        device: auto, cpu, cuda, cuda:1, mps.
        workers: decoding processes; default: by the number of cores.
        fractions: how much data does it take? Train the experiments named on these fractions of the training photos,
            such as 0.05 0.1 0.25 0.5 1; OUT-shares.csv and OUT-shares.png hold a curve each.
        seeds: with --fractions: train with each of these; default: 0.
        epochs: with --fractions: in place of the experiments' own.
        size: with --fractions: which tfrecords-jpeg-SxS.
        input_size: with --fractions: side of what the network sees.
        views: whose predictions are compared; default: those of val that are there, where they are of one kind.
    """
    from corolla.compare.compare import compare as compare_runs
    from corolla.evaluation.compute import PredictOptions

    check_workers(workers)
    if out is not None and out.is_dir() and str(out) in (".", ".."):
        raise UserError(f"--out {out}: the beginning of file names is expected, as comparisons/mine/comparison")
    if fractions:
        refuse_with("--fractions", checkpoint=checkpoint, tta=None if views.is_default else views.name)
        places = Config(data=data or Path("data"), runs=runs, device=device, cache_dir=cache_dir)
        places = replace(places, size=size, input_size=input_size, pipeline=PipelineConfig(workers=workers))
        return _compare_fractions([str(word) for word in words], fractions, seeds or (0,), epochs, places, out)
    refuse_without("--fractions", seeds=seeds, epochs=epochs, size=size, input_size=input_size)
    tta = None if views.is_default else views.name
    options = PredictOptions(
        tta=tta, checkpoint=checkpoint or "last", data=data, cache_dir=cache_dir, device=device, workers=workers
    )
    comparison = compare_runs(without_others(words), options, runs=runs)
    _print(comparison)
    _write(comparison, out, data, cache_dir)
    return DONE


def _compare_fractions(
    experiments: list[str],
    fractions: tuple[float, ...],
    seeds: tuple[int, ...],
    epochs: int | None,
    places: Config,
    out: Path | None,
) -> int:
    from corolla.compare.data_efficiency import data_efficiency, data_efficiency_figure, data_efficiency_summary

    table = data_efficiency(experiments, fractions, seeds=seeds, changes=places, epochs=epochs)
    content = table.to_csv(index=False).encode()
    if out is None:
        name = comparison_name([Path(experiment).stem for experiment in experiments], "fractions")
        out = folder_for(name, lambda folder: holds(folder / "comparison-shares.csv", content)) / "comparison"
    write_atomically(Path(f"{out}-shares.csv"), content)
    with replacing(Path(f"{out}-shares.png")) as temporary:
        data_efficiency_figure(table).savefig(temporary, format="png", dpi=120)
    print("\nmacro F1 on val of the last epoch, by fraction of the training photos")
    print(data_efficiency_summary(table).to_string(index=False, float_format="{:.3f}".format))
    print(f"\nwrote {out}-shares.csv {out}-shares.png")
    return DONE


def _print(comparison: "Comparison") -> None:
    from corolla.compare.report.tables import (
        convergence_view,
        cost_view,
        differences_view,
        recipes_view,
        sooner_view,
    )

    for view in (recipes_view, differences_view, convergence_view, sooner_view, cost_view):
        table = view(comparison)
        if table is not None:
            print(f"{table.caption}\n{_text(table)}\n")
    print("\n".join(comparison.verdict))


def _text(table: "Table") -> str:
    rows = [[cell.text for cell in row] for row in table.rows]
    return text_table(table.titles, rows, numeric=table.numeric, least=LEAST)


def _write(comparison: "Comparison", out: Path | None, data: Path | None, cache_dir: Path | None) -> None:
    from corolla.compare.notebook_figures import comparison_figure
    from corolla.compare.report.html import write_report
    from corolla.compare.tables import all_tables

    content = _json(comparison)
    if out is None:
        marks = [comparison.tta] * (comparison.tta != "none") + ["best"] * (comparison.checkpoint == "best")
        name = comparison_name([recipe.name for recipe in comparison.recipes], *marks)
        out = folder_for(name, lambda folder: holds(folder / "comparison.json", content)) / "comparison"
    csv, as_json, page, figure = (Path(f"{out}.{suffix}") for suffix in ("csv", "json", "html", "png"))
    write_atomically(csv, all_tables(comparison)["recipes"].to_csv(index=False).encode())
    write_atomically(as_json, content)
    write_report(comparison, page, data=data, reproduce=_commands(comparison, data), cache_dir=cache_dir)
    with replacing(figure) as temporary:
        comparison_figure(comparison).savefig(temporary, format="png", dpi=100)
    print(f"\nwrote {csv} {as_json} {page} {figure}")


def _json(comparison: "Comparison") -> bytes:
    import json

    from corolla.compare.tables import all_tables

    content = {
        "verdict": comparison.verdict,
        **{name: getattr(comparison, name) for name in ("split", "tta", "checkpoint")},
        # by way of pandas, which writes what is missing as null
        **{
            name: json.loads(str(table.to_json(orient="records", double_precision=15)))
            for name, table in all_tables(comparison).items()
        },
    }
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def _commands(comparison: "Comparison", data: Path | None) -> list[str]:
    """Return the commands that train the runs again, from their config.json into the folder `again`, and compare."""
    from corolla.compare.readme_table import options_to_start
    from corolla.runs.imported import import_words

    lines: list[list[object]] = []
    for member in comparison.members:
        if member.is_imported:
            lines.append(list(import_words(member.run, Path("again") / member.name)[1:]))
            continue
        source = ["--data", data or data_of(member.run)]
        config = member.run.folder / "config.json"
        lines.append(
            ["train", config, *source, "--runs", "again", "--run-name", member.name, *options_to_start(member.run)]
        )
    options: list[object] = ["--tta", comparison.tta] if comparison.tta != "none" else []
    options += ["--checkpoint", comparison.checkpoint] if comparison.checkpoint != "last" else []
    lines.append(["compare", *(Path("again") / member.name for member in comparison.members), *options])
    return [f"corolla {shell_words(*line)}" for line in lines]
