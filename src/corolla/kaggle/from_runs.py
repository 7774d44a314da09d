"""`corolla ensemble`: join the predictions of runs into a checked submission CSV."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corolla.data.competition import SAMPLE_SUBMISSION
from corolla.data.transforms.tta import TTA, Views, parse_tta
from corolla.ensemble.ensemble import Ensemble, ensemble
from corolla.ensemble.rules import EnsembleRule, Method
from corolla.ensemble.validation import ValidationEstimate
from corolla.errors import UserError
from corolla.kaggle.submission import describe_runs, write_submission
from corolla.runs.folder import CheckpointName, data_of


@dataclass(frozen=True)
class Submission:
    """A CSV that was written, with the JSON beside it."""

    path: Path
    num_images: int
    sample: Path
    """Path of the sample_submission.csv whose ids it has."""
    ensemble: Ensemble

    @property
    def on_val(self) -> ValidationEstimate | None:
        """The same ensemble on val; None where not every run was predicted there."""
        return self.ensemble.on_val

    @property
    def val_macro_f1(self) -> float | None:
        """Macro F1 on val, cross-fitted where the ensemble was fitted there."""
        return self.on_val.macro_f1 if self.on_val is not None else None


def submission_from_runs(
    folders: Sequence[Path],
    out: Path,
    *,
    method: Method = "vote",
    adjust: bool = False,
    tta: TTA = "none",
    checkpoint: CheckpointName = "best",
    data: Path | None = None,
    cache_dir: Path | None = None,
) -> Submission:
    """Join the runs' predictions of test into `out`, with a JSON beside it that records how.

    Args:
        data: the data folder, for its sample_submission.csv; default: the one the first run was trained with.
        method, adjust, tta, checkpoint, cache_dir: as in `corolla.ensemble`.

    Raises:
        UserError: no runs, `out` is no .csv, predictions are missing or out of date, or the ids are not the sample's.
    """
    if not folders:
        raise UserError("name at least one run's folder")
    if out.suffix != ".csv" or out.is_dir():
        raise UserError(f"--out {out}: the name of a .csv file is expected; its JSON goes beside it")
    joined = ensemble(
        folders, method=method, adjust=adjust, tta=tta, checkpoint=checkpoint, data=data, cache_dir=cache_dir
    )
    source = data or data_of(joined.runs[0])
    sample = source / SAMPLE_SUBMISSION
    how = _describe_rule(joined.rule, joined.on_val, parse_tta(tta))
    how |= {"checkpoint": checkpoint, "data": _relative(source)}
    write_submission(out, joined, sample, describe_runs(joined.runs, joined.predictions, how))
    return Submission(out, len(joined.ids), sample, joined)


def _relative(folder: Path) -> str:
    """Return a path relative to the current folder where it lies in it, else absolute; links are not followed."""
    folder = folder.absolute()
    return str(folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder)


def _describe_rule(rule: EnsembleRule, on_val: ValidationEstimate | None, views: Views) -> dict[str, Any]:
    """Return how the predictions were joined, and the score on val, for the JSON beside the CSV."""
    return {
        "method": rule.method,
        "weights": rule.weights.tolist() if rule.weights is not None else None,
        "tau": rule.tau if rule.prior is not None else None,
        "tta": views.name,
        "crop_fraction": views.crop_fraction,
        "view_size": views.size,
        "average": views.average,
        **(on_val.described() if on_val is not None else {"val_macro_f1": None, "val_accuracy": None}),
    }
