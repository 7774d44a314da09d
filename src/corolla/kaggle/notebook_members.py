"""The members of an ensemble that goes to Kaggle as a notebook, and the rule that joins them: of a CSV, or of runs.

Whatever is fitted was fitted here: of a CSV it stands in the JSON beside it, of runs it is fitted on their predictions
of val, as `corolla ensemble` does. On Kaggle nothing is fitted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from corolla.data.transforms.tta import TTA, parse_tta
from corolla.ensemble.ensemble import ensemble, fitted_prior
from corolla.ensemble.files import is_file
from corolla.ensemble.fit import NO_ADJUSTED_VOTE
from corolla.ensemble.members import all_predicted, views_for
from corolla.ensemble.on_val import fit_on_val, read_val
from corolla.ensemble.rules import FITTED, RULE, EnsembleRule, Method
from corolla.ensemble.validation import estimate_on_val
from corolla.errors import UserError
from corolla.files import sha256
from corolla.kaggle.provenance import found_from, made_by, make_again, read_provenance
from corolla.runs.best_epoch import counting_checkpoint
from corolla.runs.folder import CheckpointName, Run, data_of, open_run
from corolla.runs.folds import are_folds
from corolla.text_files import mismatch


@dataclass(frozen=True)
class NotebookMember:
    """A checkpoint and how it predicts."""

    run: Run
    checkpoint: CheckpointName
    tta: TTA
    """Name of the views."""
    size: int | None = None
    """Which tfrecords-jpeg-SxS it predicts; None: that of its training."""


@dataclass(frozen=True, eq=False)
class NotebookEnsemble:
    """Everything by which a notebook makes the same predictions."""

    members: tuple[NotebookMember, ...]
    rule: EnsembleRule
    data: Path
    """The data folder that it is of."""
    val_macro_f1: float | None = None
    """Cross-fitted where the rule was fitted; None where not every member was predicted on val."""


def ensemble_of_runs(
    folders: Sequence[Path],
    *,
    method: Method = "vote",
    adjust: bool = False,
    tta: TTA | None = None,
    checkpoint: CheckpointName = "best",
    data: Path | None = None,
) -> NotebookEnsemble:
    """Return the ensemble of runs, as `corolla ensemble` joins them, fitted on val where the rule needs it.

    Args:
        tta: the views; None: those with which the runs were predicted already, if these are of one kind.

    Raises:
        UserError: no runs, one that is a file or named twice, several kinds of views, or predictions of val that the
            rule needs and that are missing or of something else.
    """
    if not folders:
        raise UserError("name at least one run's folder")
    if files := [folder for folder in folders if is_file(folder)]:
        raise UserError(f"{files[0]}: is no run; a notebook takes folders of runs, or one CSV that runs here have made")
    if adjust and method == "vote":
        raise UserError(NO_ADJUSTED_VOTE)
    runs = [open_run(folder) for folder in folders]
    for position, run in enumerate(runs):
        if run.folder.resolve() in {other.folder.resolve() for other in runs[:position]}:
            raise UserError(f"{run.folder}: is named twice; every run has one vote")
    must_fit = adjust or method in FITTED
    tta = views_for(runs, ("val",) if must_fit else ("val", "test"), checkpoint, tta)
    rule, score = EnsembleRule(method), None
    if are_folds(runs):
        places: dict[str, Any] = {"tta": tta, "checkpoint": checkpoint, "data": data}
        val = read_val(runs, must_fit=must_fit, **places)
        if val is not None:
            on_val = rule
            if must_fit:
                prior = fitted_prior(replace(val, runs=tuple(runs)), data, None) if adjust else None
                on_val, rule = fit_on_val(val, runs, method, prior)
            score = estimate_on_val(val, on_val).macro_f1
    elif must_fit or all_predicted(folders, "val", tta=tta, checkpoint=checkpoint):
        joined = ensemble(folders, split="val", method=method, adjust=adjust, tta=tta, checkpoint=checkpoint, data=data)
        rule, score = joined.rule, joined.on_val.macro_f1 if joined.on_val is not None else None
    members = tuple(NotebookMember(run, counting_checkpoint(run, checkpoint), tta) for run in runs)
    return NotebookEnsemble(members, rule, data or data_of(runs[0]), score)


def ensemble_of_csv(csv: Path) -> NotebookEnsemble:
    """Return the very ensemble that has made a CSV, by the JSON beside it.

    Raises:
        UserError: nothing says what made the CSV, a file that no run here has made is among its members, or a
            checkpoint is not the one that has made it; the message has the commands that make it again.
    """
    if not csv.is_file():
        raise UserError(f"{csv}: there is no such file")
    made, path = read_provenance(csv), made_by(csv)
    if not (made.get("runs") or made.get("members")):
        what = (
            f"{path.name} beside it is of another CSV, or of this one before it was changed"
            if path.exists()
            else f"no {path.name} beside it says which runs have made it"
        )
        raise UserError(f"{csv}: {what}, so none can be sent; name them: corolla submit --notebook RUN...")
    data = found_from(csv, made.get("data", "data"))
    again = make_again(csv, made, data)
    rule = _read_rule(path, made, again)
    members = [_member(csv, described, again) for described in _described_members(csv, path, made)]
    if rule.weights is not None and len(rule.weights) != len(members):
        raise UserError(f"{path}: has {len(rule.weights)} weights for {len(members)} members; {again}")
    return NotebookEnsemble(tuple(members), rule, data, made.get("val_macro_f1"))


def _read_rule(path: Path, made: dict[str, Any], again: str) -> EnsembleRule:
    """Return the rule in the JSON beside a CSV, with what was fitted."""
    described = {key: made.get(key) for key in RULE}
    if wrong := mismatch(described, RULE):
        raise UserError(f"{path}: {wrong}; {again}")
    if described["method"] not in get_args(Method):
        raise UserError(f"{path}: method: {described['method']!r} is not known; {again}")
    for key, needed in (("weights", described["method"] in FITTED), ("prior", described["tau"] is not None)):
        if needed != (described[key] is not None):  # early versions wrote no prior
            raise UserError(f"{path}: {key} {'is missing' if needed else 'has no use'}; {again}")
    rule = EnsembleRule.read(described)
    fitted = [each for each in (rule.weights, rule.prior) if each is not None]
    if any(not np.isfinite(each).all() or (each < 0).any() for each in (*fitted, np.array(rule.tau))):
        raise UserError(f"{path}: weights, prior and tau are numbers that are not negative; {again}")
    return rule


def _described_members(csv: Path, path: Path, made: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield, member by member, what the JSON tells: folder, checkpoint, tta, size, checkpoint_sha256."""
    runs, folders = made.get("runs", []), made.get("folders", [])
    if len(runs) != len(folders):
        raise UserError(f"{path}: has {len(runs)} runs in {len(folders)} folders; make both anew with corolla ensemble")
    same = {"checkpoint": made.get("checkpoint"), "tta": made.get("tta")}  # in early versions not by the run
    of_runs = iter([{**same, **run, "folder": folder} for run, folder in zip(runs, folders, strict=True)])
    for member in made.get("members") or [{"run": run["run"]} for run in runs]:
        if "run" in member:
            found = next(of_runs, {})
        elif member.get("of"):
            found = member["of"]
        else:
            raise UserError(
                f"{csv}: {member.get('file', 'a file')} is among its members, and a notebook predicts with runs alone; "
                "join these with corolla ensemble, or submit the CSV where CSV files are taken"
            )
        shape = {**dict.fromkeys(("folder", "checkpoint", "tta", "checkpoint_sha256"), str), "size?": (None, int)}
        if wrong := mismatch(found, shape):
            raise UserError(f"{path}: runs: {wrong}; make both anew with corolla ensemble")
        yield found


def _member(csv: Path, described: dict[str, Any], again: str) -> NotebookMember:
    """Return a member, whose checkpoint is still the one that has made the CSV."""
    folder, name = found_from(csv, described["folder"]), described["checkpoint"]
    if name not in get_args(CheckpointName):
        raise UserError(f"{made_by(csv)}: checkpoint: {name!r} is neither best nor last; {again}")
    try:
        run = open_run(folder)
    except UserError as error:
        raise UserError(f"{csv}: was made with {error}; put the run back, or join others") from None
    checkpoint = run.checkpoint(name)
    if not checkpoint.exists():
        raise UserError(f"{csv}: was made with {checkpoint}, which is not there; put it back, or {again}")
    if sha256(checkpoint) != described["checkpoint_sha256"]:
        raise UserError(f"{csv}: {checkpoint} is another checkpoint than the one that it was made with; {again}")
    return NotebookMember(run, run.counting(name), parse_tta(described["tta"]).name, described.get("size"))
