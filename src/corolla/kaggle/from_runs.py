"""Runs that were predicted to a checked submission CSV: what `corolla ensemble` and the notebooks call."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corolla.data.index import load_index
from corolla.errors import UserError
from corolla.evaluation.adjust import class_prior
from corolla.evaluation.combine import FITTED, Method, Rule
from corolla.evaluation.ensemble import combine_members
from corolla.evaluation.fit import NO_ADJUSTED_VOTE, fit_rule
from corolla.evaluation.members import all_predicted, read_members
from corolla.evaluation.on_val import OnVal, rule_on_val
from corolla.evaluation.predictions import TTA, CheckpointName
from corolla.evaluation.tta import Views, parse_tta
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
    """Of the same ensemble on val, cross-fitted where it was fitted there; None where not every run was predicted."""
    val_accuracy: float | None
    rule: Rule = field(default_factory=lambda: Rule("vote"), repr=False, compare=False)
    on_val: OnVal | None = None
    """None where not every run was predicted there."""


def submission_from_runs(
    folders: Sequence[Path],
    out: Path,
    *,
    method: Method = "vote",
    adjust: bool = False,
    tta: TTA = "none",
    checkpoint: CheckpointName = "best",
    data: Path | None = None,
    index: Path | None = None,
) -> Submission:
    """Join the runs' predictions of test into `out`, with a JSON beside it that says what made it.

    Args:
        adjust: divide the probabilities by a power of the class frequencies in train, the power fitted on val.
        data: the data folder, for its sample_submission.csv; default: the one the first run was trained with.
        index: with `adjust`: folder for the index; default: the user's cache.

    Raises:
        UserError: no runs, `out` is no .csv, predictions are missing or out of date, or the ids are not the sample's.
    """
    if not folders:
        raise UserError("name at least one run's folder")
    if out.suffix != ".csv" or out.is_dir():
        raise UserError(f"--out {out}: the name of a .csv file is expected; its JSON goes beside it")
    if adjust and method == "vote":
        raise UserError(NO_ADJUSTED_VOTE)
    views = parse_tta(tta)
    which: dict[str, Any] = {"tta": views.name, "checkpoint": checkpoint}
    test = read_members(folders, "test", **which)
    fitted = adjust or method in FITTED
    val = read_members(folders, "val", **which) if fitted or all_predicted(folders, "val", **which) else None
    source = data or data_of(test.runs[0])
    rule = Rule(method)
    if fitted and val is not None and val.labels is not None:
        prior = class_prior(load_index(source, test.runs[0].config.size, index)) if adjust else None
        rule = fit_rule(val.probabilities, val.labels, method, prior)
    on_val = rule_on_val(val, rule) if val is not None and val.labels is not None else None
    combined = combine_members(test, rule)
    sample = source / "sample_submission.csv"
    how = _provenance(rule, on_val, views)
    how = describe_runs(combined.runs, combined.members, **how, checkpoint=checkpoint, data=_seen_from_here(source))
    write_submission(out, combined, sample, combined.num_classes, how)
    f1, accuracy = (on_val.macro_f1, on_val.accuracy) if on_val is not None else (None, None)
    return Submission(out, len(combined.ids), sample, f1, accuracy, rule, on_val)


def _seen_from_here(folder: Path) -> str:
    """Relative to the current folder where it lies in it, else absolute; links are kept as they are named."""
    folder = folder.absolute()
    return str(folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder)


def _provenance(rule: Rule, on_val: OnVal | None, views: Views) -> dict[str, Any]:
    """For the JSON beside the CSV."""
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
