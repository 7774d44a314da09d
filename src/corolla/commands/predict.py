"""corolla predict: a run's probabilities for val and test, or the names of photos."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro

from corolla.commands.common import (
    Paths,
    given_words,
    next_command,
    refuse_with,
    refuse_without,
    text_table,
    without_others,
)
from corolla.data.index import Index
from corolla.errors import DONE, UserError
from corolla.evaluation.compute import PredictOptions, checkpoint_of
from corolla.evaluation.out_of_fold import predict_out_of_fold
from corolla.evaluation.photo_predictions import PhotoPredictions
from corolla.evaluation.photos import broken_photos, predict_photos
from corolla.evaluation.predict import PredictResult, predict_split
from corolla.importing.photos import is_photo
from corolla.importing.tree import scan
from corolla.runs.data import index_for
from corolla.runs.folder import is_run, open_run
from corolla.runs.same_data import check_has_val
from corolla.text_files import printable

PredictArguments = Annotated[PredictOptions, tyro.conf.arg(name="")]
DEFAULTS = PredictOptions()
JOINING = ("checkpoint", "data", "cache_dir")
"""Options that those commands have too which take the predictions."""
PREDICTING = (*JOINING, "size", "device", "gpus", "batch_size", "workers", "bad_images")
WHOLE_PHOTOS, LINE_PHOTOS = 12, 60  # printed with their names below them, in a line
PLACES = ("likeliest", "second", "third", "fourth", "fifth")


def predict(paths: Paths, /, out: Path | None = None, options: PredictArguments = DEFAULTS) -> int:
    """Predict val and test with trained runs: ids and probabilities into runs/NAME/predictions; or classify photos.

    Args:
        paths: folders of runs; and, to classify photos, these or folders of them: RUN… PHOTO… FOLDER…
        out: with photos: CSV of path, label, name, probability and the next likely classes; beside it come a contact
            sheet (PNG) and a page (HTML), the surest photo first.
        options: what is predicted, and by what.
    """
    _ = options.views  # refuses views that there are none of, before anything is opened
    paths = without_others(paths, is_meant=_is_photos)
    runs = [path for path in paths if is_run(path)]
    photos = [path for path in paths if path not in runs]
    if not runs:
        if paths and not (paths[0].is_file() and is_photo(paths[0])):
            open_run(paths[0])  # which says what is there
        raise UserError("name at least one run's folder: corolla predict RUN… [PHOTO… FOLDER…]")
    if photos:
        refuse_with("photos", split=options.split, data=options.data)
        return _classify(runs, photos, options, out)
    refuse_without("photos", out=out)
    return _predict_splits(runs, options)


def _is_photos(path: Path) -> bool:
    """Return whether a path is a photo, or a folder with some below it."""
    return is_photo(path) if path.is_file() else any(scan(path).all_photos())


def _predict_splits(runs: list[Path], options: PredictOptions) -> int:
    if options.split == "oof":
        _print_predicted(predict_out_of_fold([open_run(run) for run in runs], options), "out of fold")
        print(next_command("predict", *runs, "--tta", options.name, *_given(options, *PREDICTING), "--split", "test"))
        return DONE
    there = {run: _index(run, options) for run in runs}  # all are opened before the first one computes
    predicted = ("val", "test") if options.split is None else (options.split,)
    results = dict[tuple[Path, str], PredictResult]()
    for split in predicted:
        having = [run for run in runs if options.split or split in there[run].splits]
        made = predict_split([open_run(run) for run in having], replace(options, split=split))
        results |= {(run, split): result for run, result in zip(having, made, strict=True)}
    for run in runs:
        if not any(run == other for other, _ in results):  # there is no test, and no val that it has not learned
            check_has_val(open_run(run))
    for run, split in sorted(results, key=lambda place: runs.index(place[0])):
        _print_predicted(results[run, split], split)
    for run in runs:
        own = open_run(run).config.size
        if None not in (own, options.size) and own != options.size:
            print(
                f"of photos of {options.size} px: compare, ensemble and submit take those of the {own} px that {run} "
                "was trained at; without --size they are predicted again"
            )
            return DONE
    words: list[object] = [*runs, "--tta", options.name]
    if not all("test" in index.splits for index in there.values()):
        if _is_one(there.values(), "val"):
            print(next_command("compare", *words, *_given(options, *JOINING, "device", "workers")))
    elif "test" not in predicted:
        print(next_command("predict", *words, *_given(options, *PREDICTING), "--split", "test"))
    elif _is_one(there.values(), "test"):
        print(next_command("ensemble", *words, *_given(options, *JOINING), "--out", "submissions/first.csv"))
    return DONE


def _index(folder: Path, options: PredictOptions) -> Index:
    """Return the index of the data of a run that can predict."""
    run = open_run(folder)
    checkpoint_of(run, options)
    return index_for(run, options.data, options.size, options.cache_dir, for_test=options.split == "test")


def _is_one(indexes: Iterable[Index], split: str) -> bool:
    """Return whether the split is there and of the same ids in every index, so that its predictions can be joined."""
    ids = [frozenset(map(str, index.splits[split].id)) if split in index.splits else None for index in indexes]
    return None not in ids and len(set(ids)) == 1


def _given(options: PredictOptions, *names: str) -> list[object]:
    """Return the words of those of these options that are not as by default."""
    values = {name: getattr(options, name) for name in names}
    return given_words(**{name: value for name, value in values.items() if value != getattr(DEFAULTS, name)})


def _print_predicted(result: PredictResult, split: str) -> None:
    """Print the path of the predictions, and their scores where the split is labelled."""
    made = "wrote" if result.made else "holds already, by the same checkpoint:"
    print(f"{made} {result.path} ({len(result.predictions.ids)} images), and {result.table_path.name} beside it")
    if result.predictions.labels is not None:
        print(
            f"  {split}: macro F1 {result.macro_f1:.4f}, accuracy {result.top1:.4f}, top-5 accuracy {result.top5:.4f}"
        )


def _classify(runs: list[Path], photos: list[Path], options: PredictOptions, out: Path | None) -> int:
    found = predict_photos(runs, photos, options, out=out)
    _print_photos(found)
    for path in found.files:
        print(f"wrote {path}")
    if found.broken:
        raise UserError(broken_photos(dict(found.broken), len(found.paths) + len(found.broken)))
    if not found.files:
        views = given_words(tta=None if options.is_default else options.name)
        given = [*views, *_given(options, *PREDICTING)]
        print(next_command("predict", *runs, *photos, *given, "--out", "predictions/photos.csv"))
    return DONE


def _print_photos(found: PhotoPredictions) -> None:
    """Print five names of each photo: below it where photos are few, else in a line, as far as that is wide enough."""
    shown = [(printable(path), found.likeliest(photo)) for photo, path in enumerate(found.paths[:LINE_PHOTOS])]
    if len(found.paths) <= WHOLE_PHOTOS:
        for path, likeliest in shown:
            print("\n".join([path, *(f"  {probability:6.1%}  {name}" for name, probability in likeliest)]))
        return
    titles = PLACES[: len(found.likeliest(0))]
    rows = [[*(f"{value:6.1%}  {name}" for name, value in likeliest), path] for path, likeliest in shown]
    print(text_table([*titles, "photo"], rows, least=titles[:0:-1]))
    if len(found.paths) > LINE_PHOTOS:
        print(f"... and {len(found.paths) - LINE_PHOTOS} more")
