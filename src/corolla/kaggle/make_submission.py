"""Runs that were predicted to a checked submission CSV: what `corolla ensemble` and the notebooks call."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corolla.errors import UserError
from corolla.evaluation.ensemble import Method, ensemble, ensemble_on_val
from corolla.evaluation.metrics import macro_f1
from corolla.evaluation.predictions import TTA, CheckpointName
from corolla.kaggle.submission import describe_runs, write_submission
from corolla.training.run import data_of


@dataclass(frozen=True)
class Submission:
    """A CSV that was written, with the JSON beside it."""

    path: Path
    num_images: int
    sample: Path
    """The sample_submission.csv whose ids it has."""
    val_macro_f1: float | None
    """Of the same ensemble on val; None where not every run was predicted there."""
    val_accuracy: float | None


def submission_from_runs(
    folders: Sequence[Path],
    out: Path,
    *,
    method: Method = "vote",
    tta: TTA = "none",
    checkpoint: CheckpointName = "best",
    data: Path | None = None,
) -> Submission:
    """Join the runs' predictions of test into `out`, with a JSON beside it that says what made it.

    Args:
        data: the data folder, for its sample_submission.csv; default: the one the first run was trained with.

    Raises:
        UserError: no runs, `out` is no .csv, predictions are missing or out of date, or the ids are not the sample's.
    """
    if not folders:
        raise UserError("name at least one run's folder")
    if out.suffix != ".csv" or out.is_dir():
        raise UserError(f"--out {out}: the name of a .csv file is expected; its JSON goes beside it")
    combined = ensemble(folders, split="test", tta=tta, method=method, checkpoint=checkpoint)
    on_val = ensemble_on_val(folders, tta=tta, method=method, checkpoint=checkpoint)
    val_f1 = val_accuracy = None
    if on_val is not None and on_val.labels is not None:
        val_f1 = macro_f1(on_val.labels, on_val.predicted)
        val_accuracy = float((on_val.predicted == on_val.labels).mean())
    sample = (data or data_of(combined.runs[0])) / "sample_submission.csv"
    provenance = describe_runs(
        combined.runs,
        combined.members,
        method=method,
        tta=tta,
        checkpoint=checkpoint,
        val_macro_f1=val_f1,
        val_accuracy=val_accuracy,
        data=str(sample.parent.resolve()),
    )
    write_submission(out, combined, sample, combined.num_classes, provenance)
    return Submission(out, len(combined.ids), sample, val_f1, val_accuracy)
