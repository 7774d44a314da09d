"""`corolla ensemble`: join the predictions of runs and of files into a checked submission CSV."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corolla.data.competition import SAMPLE_SUBMISSION
from corolla.data.index import find_index
from corolla.data.record_files import size_folders
from corolla.data.transforms.tta import TTA, Views, parse_tta
from corolla.ensemble.ensemble import Ensemble, ensemble
from corolla.ensemble.members import data_folder
from corolla.ensemble.rules import Method
from corolla.ensemble.validation import ValidationEstimate
from corolla.errors import UserError
from corolla.kaggle.provenance import check_same_data, read_provenance
from corolla.kaggle.submission import describe_runs, write_submission
from corolla.paths import AnyPath, AnyPaths, as_path, as_paths
from corolla.results import Result
from corolla.runs.data import check_is_here
from corolla.runs.folder import CheckpointName, Run, data_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Submission(Result):
    """A CSV that was written, with the JSON beside it; where a path is expected, the CSV's."""

    path: Path
    num_images: int
    sample: Path
    """Path of the sample_submission.csv whose ids it has."""
    ensemble: Ensemble

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def summary(self) -> str:
        """The CSV and what made it."""
        return f"{self.path}, {self.ensemble.summary}"

    def to_pandas(self) -> "pd.DataFrame":
        """Return a row per photo: id and label predicted."""
        return self.ensemble.to_pandas()

    @property
    def on_val(self) -> ValidationEstimate | None:
        """The same ensemble on val; None where not every run was predicted there."""
        return self.ensemble.on_val

    @property
    def val_macro_f1(self) -> float | None:
        """Macro F1 on val, cross-fitted where the ensemble was fitted there."""
        return self.on_val.macro_f1 if self.on_val is not None else None


def submission_from_runs(
    paths: AnyPaths,
    out: AnyPath,
    *,
    method: Method = "vote",
    adjust: bool = False,
    tta: TTA | None = None,
    checkpoint: CheckpointName = "best",
    data: AnyPath | None = None,
    cache_dir: AnyPath | None = None,
) -> Submission:
    """Join predictions of test into `out`, with a JSON beside it that records how.

    Args:
        paths: folders of runs, or files, as in `corolla.ensemble`.
        data: the data folder, for its sample_submission.csv; default: the one the first run was trained with, or data/.
        method, adjust, tta, checkpoint, cache_dir: as in `corolla.ensemble`.

    Raises:
        UserError: no members, `out` is no .csv or one that is read, predictions are missing or out of date, the ids are
            not the sample's, or the JSON beside a CSV tells of other test records or classes than the data folder has.
    """
    paths, out, data, cache_dir = as_paths(paths), as_path(out), as_path(data), as_path(cache_dir)
    if not paths:
        raise UserError("name at least one run's folder or file")
    if out.suffix != ".csv" or out.is_dir():
        raise UserError(f"--out {out}: the name of a .csv file is expected; its JSON goes beside it")
    if out.resolve() in {path.resolve() for path in paths}:
        raise UserError(f"--out {out}: is one of the members, and would be written over")
    joined = ensemble(
        paths, method=method, adjust=adjust, tta=tta, checkpoint=checkpoint, data=data, cache_dir=cache_dir
    )
    source = data_folder(joined.runs, data)
    if data is None and joined.runs:
        check_is_here(joined.runs[0], source)
    sample = source / SAMPLE_SUBMISSION
    if out.resolve() == sample.resolve():
        raise UserError(f"--out {out}: is the sample submission, and would be written over")
    for file in joined.members.files:
        if file.probabilities is None:
            check_same_data(file.path, read_provenance(file.path), source, cache_dir)
    write_submission(out, joined, sample, _describe(joined, paths, checkpoint, source, data, cache_dir))
    return Submission(out, len(joined.ids), sample, joined)


def _describe(
    joined: Ensemble,
    paths: Sequence[Path],
    checkpoint: CheckpointName,
    source: Path,
    data: Path | None,
    cache_dir: Path | None,
) -> dict[str, Any]:
    """Return what made a CSV, so that it can be made again, here or in a notebook on Kaggle."""
    rule = joined.rule.described()
    prior = {"prior": rule.pop("prior")}  # long, so it comes last
    how = rule | _describe_views(parse_tta(joined.tta or "none")) | _describe_score(joined.on_val)
    how |= {"checkpoint": checkpoint, "data": _relative(source)}
    if joined.val is not None and joined.val.of_runs:
        how |= {"val_is_out_of_fold": True}
    if joined.members.files:
        how |= {"members": _describe_members(paths, joined, source, cache_dir)}
    if not joined.runs:  # nothing is known of how others predicted
        how |= dict.fromkeys(("tta", "crop_fraction", "view_size", "average", "checkpoint"))
    sizes = [
        _size_of(run, each.fingerprint, data or data_of(run), cache_dir)
        for run, each in zip(joined.runs, joined.predictions, strict=True)
    ]
    named = zip(joined.runs, sizes, strict=True)
    views = [{"tta": joined.tta, "checkpoint": run.counting(checkpoint), "size": size} for run, size in named]
    provenance = describe_runs(joined.runs, joined.predictions, views, how)
    if not joined.runs:
        provenance |= _describe_data(source, joined, cache_dir)
    return provenance | prior


def _describe_data(folder: Path, joined: Ensemble, cache_dir: Path | None) -> dict[str, Any]:
    """Return the classes and the test records of the data folder by which files were checked, at one of its sizes."""
    known: dict[str, Any] = {"class_names": list(joined.members.class_names)}
    with contextlib.suppress(UserError):  # damaged records, of which files have no need
        indexes = (find_index(folder, size, cache_dir) for size in size_folders(folder))
        index = next((each for each in indexes if each and "test" in each.splits), None)
        if index is not None:
            known |= {"size": index.size, "test_fingerprint": index.splits["test"].fingerprint}
    return known


def _size_of(run: Run, fingerprint: str, folder: Path, cache_dir: Path | None) -> int | None:
    """Return the size of the records that were predicted, where they are others than those of the run's training."""
    for size in size_folders(folder):
        if size != run.config.size and run.config.size is not None:
            index = find_index(folder, size, cache_dir)
            if index is not None and "test" in index.splits and index.splits["test"].fingerprint == fingerprint:
                return size
    return None


def _describe_members(
    paths: Sequence[Path], joined: Ensemble, folder: Path, cache_dir: Path | None
) -> list[dict[str, Any]]:
    """Return the members in the order in which they were named, each with its SHA-256, of a run the checkpoint's.

    Of a file that lies in its run's folder also that run: `of` has its checkpoint, views and size.
    """
    files = {file.path: file for file in joined.members.files}
    runs = iter(zip(joined.runs, joined.predictions, strict=True))
    described = list[dict[str, Any]]()
    for path in paths:
        if file := files.get(path):
            holds = "labels" if file.probabilities is None else "probabilities"
            described.append({"file": _relative(path), "holds": holds, "sha256": file.sha256})
            if source := file.source:
                described[-1]["of"] = {
                    "folder": str(source.run.folder),
                    "checkpoint_sha256": source.sha256,
                    "tta": source.tta,
                    "checkpoint": source.checkpoint,
                    "size": _size_of(source.run, file.fingerprint, folder, cache_dir),
                }
        else:
            run, predictions = next(runs)
            described.append({"run": run.name, "holds": "probabilities", "sha256": predictions.checkpoint})
    return described


def _relative(path: Path) -> str:
    """Return a path relative to the current folder where it lies in it, else absolute; links are not followed."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _describe_views(views: Views) -> dict[str, Any]:
    """Return the views of the runs, for the JSON beside the CSV."""
    return {
        "tta": views.name,
        "crop_fraction": views.crop_fraction,
        "view_size": views.size,
        "average": views.average,
    }


def _describe_score(on_val: ValidationEstimate | None) -> dict[str, Any]:
    """Return the score on val, for the JSON beside the CSV."""
    return on_val.described() if on_val is not None else {"val_macro_f1": None, "val_accuracy": None, "val_top5": None}
