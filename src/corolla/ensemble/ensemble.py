"""`corolla ensemble`: the predictions of runs, and of files from elsewhere, to labels. It needs no network."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from corolla.data.competition import SplitName
from corolla.data.subset import subset_index
from corolla.data.transforms.tta import TTA
from corolla.ensemble.files import check_is_of_test, is_file
from corolla.ensemble.fit import NO_ADJUSTED_VOTE, TRAINED_WITH
from corolla.ensemble.logit_adjustment import class_prior
from corolla.ensemble.members import MemberPredictions, read_members, views_for
from corolla.ensemble.mixed import read_mixed
from corolla.ensemble.on_val import check_same_checkpoints, fit_on_val, read_val
from corolla.ensemble.rules import FITTED, EnsembleRule, Method, aggregated_scores, vote_of_labels
from corolla.ensemble.validation import ValidationEstimate, estimate_on_val
from corolla.errors import UserError
from corolla.evaluation.metrics import share_among
from corolla.evaluation.predictions import Predictions
from corolla.paths import AnyPath, AnyPaths, as_path, as_paths
from corolla.results import Result
from corolla.runs.corrections import corrected_index
from corolla.runs.data import index_for
from corolla.runs.folder import CheckpointName, Run, open_run

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, repr=False)
class Ensemble(Result):
    """Labels that several members give together."""

    members: MemberPredictions
    rule: EnsembleRule
    predicted: NDArray[np.int64]
    """N class indices, in the order of `ids`."""
    val: MemberPredictions | None = field(default=None, repr=False)
    """The members on val; None where not all of them were predicted there."""
    tta: TTA | None = None
    """Name of the runs' views; None where each has its own."""
    rule_on_val: EnsembleRule | None = field(default=None, repr=False)
    """The rule for the members of `val`, where it was fitted; they may be cross-validations, each of several runs."""

    @property
    def summary(self) -> str:
        """The rule, the runs, and the score on val where it is known."""
        score = f", macro F1 {self.scored_on} {self.on_val.macro_f1:.4f}" if self.on_val is not None else ""
        names = [*(run.name for run in self.runs), *(file.path.name for file in self.members.files)]
        return f"{self.rule.method} of {', '.join(names)}: {len(self.ids)} photos{score}"

    def to_pandas(self) -> "pd.DataFrame":
        """Return a row per photo: id, label predicted, and the true label where it is known."""
        import pandas as pd

        columns = {"id": self.ids, "label": self.predicted}
        return pd.DataFrame(columns if self.labels is None else {**columns, "truth": self.labels})

    @property
    def scored_on(self) -> str:
        """Words for the photos of `val`: on val, or out of fold."""
        return "out of fold" if self.val is not None and self.val.of_runs else "on val"

    @property
    def ids(self) -> NDArray[np.str_]:
        return self.members.ids

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """N, where the split is labelled."""
        return self.members.labels

    @property
    def top5(self) -> float | None:
        """Top-5 accuracy where the split is labelled; None too where a member has labels only, which rank nothing."""
        members = self.members
        if members.labels is None or any(file.probabilities is None for file in members.files):
            return None
        return share_among(self.rule.ranked(members.probabilities), members.labels)

    @property
    def runs(self) -> tuple[Run, ...]:
        return self.members.runs

    @property
    def predictions(self) -> tuple[Predictions, ...]:
        """Files that were read, run by run."""
        return self.members.predictions

    @property
    def num_classes(self) -> int:
        return self.members.num_classes

    @cached_property
    def on_val(self) -> ValidationEstimate | None:
        """The same ensemble on val, where all its members were predicted there."""
        if self.val is None or self.val.labels is None:
            return None
        return estimate_on_val(self.val, self.rule_on_val or self.rule)


def ensemble(
    paths: AnyPaths,
    *,
    split: SplitName = "test",
    method: Method = "mean",
    adjust: bool = False,
    tta: TTA | None = None,
    checkpoint: CheckpointName = "best",
    data: AnyPath | None = None,
    cache_dir: AnyPath | None = None,
) -> Ensemble:
    """Join the members' predictions by id and aggregate them; what has to be fitted is fitted on those of val.

    Args:
        paths: folders of runs, submission CSVs, and files of probabilities (a CSV with a column per class, an .npz), in
            any mixture. Files are of test; they have no predictions of val, so nothing is fitted with them.
        adjust: divide the probabilities by a power of the class frequencies in train, the power fitted on val.
        tta: the views of the predictions, with all that `predict` puts into their name: ten-crop_size256. None: those
            with which the runs were predicted already, if these are of one kind.
        data: the data folder that was predicted; default: the one that each run was trained with. Files are checked by
            its sample_submission.csv and classes; default where no run is among the members: data/.
        cache_dir: folder for the index; default: the user's cache.

    Raises:
        UserError: no members, or predictions that are missing, older than their checkpoint or the data, of other photos
            or classes, or of several kinds of views where none were asked for, or no probabilities where the method
            needs some.
    """
    paths, data, cache_dir = as_paths(paths), as_path(data), as_path(cache_dir)
    if not paths:
        raise UserError("name at least one run's folder or file")
    if adjust and method == "vote":
        raise UserError(NO_ADJUSTED_VOTE)
    if files := [path for path in paths if is_file(path)]:
        for path in files:
            check_is_of_test(path)
        if adjust or method in FITTED or split != "test":
            needs = "--adjust" if adjust else f"--method {method}" if method in FITTED else f"split {split}"
            raise UserError(f"{files[0]}: is of test only, {needs} needs predictions of val: name runs alone")
        tta = views_for([open_run(path) for path in paths if not is_file(path)], [split], checkpoint, tta)
        joined = read_mixed(paths, tta=tta, checkpoint=checkpoint, data=data, cache_dir=cache_dir)
        return replace(_of_mixed(joined, method), tta=tta)
    tta = views_for([open_run(path) for path in paths], [split], checkpoint, tta)
    rule = EnsembleRule(method)
    members = read_members(paths, split, tta=tta, checkpoint=checkpoint, data=data, cache_dir=cache_dir)
    must_fit, on_val = adjust or method in FITTED, None
    val = read_val(members.runs, must_fit=must_fit, tta=tta, checkpoint=checkpoint, data=data, cache_dir=cache_dir)
    if val is not None:
        check_same_checkpoints(members, val)
    if must_fit and val is not None:
        prior = fitted_prior(members, data, cache_dir) if adjust else None
        on_val, rule = fit_on_val(val, members.runs, method, prior)
    return Ensemble(members, rule, rule.predict(members.probabilities), val, tta, on_val)


def ensemble_by_rule(runs: Sequence[Run], predictions: Sequence[Predictions], rule: EnsembleRule) -> Ensemble:
    """Aggregate predictions that were made just now by a rule that was fitted before: nothing is fitted.

    Raises:
        UserError: they are not of the same photos.
    """
    orders = [np.argsort(each.ids) for each in predictions]
    ids = predictions[0].ids[orders[0]]
    for run, each, order in zip(runs, predictions, orders, strict=True):
        if not np.array_equal(each.ids[order], ids):
            raise UserError(f"{run.folder}: its photos are others than those of {runs[0].folder}")
    probabilities = tuple(each.probabilities[order] for each, order in zip(predictions, orders, strict=True))
    members = MemberPredictions(tuple(runs), tuple(predictions), ids, probabilities, labels=None)
    return Ensemble(members, rule, rule.predict(probabilities))


def _of_mixed(members: MemberPredictions, method: Method) -> Ensemble:
    """Aggregate members of which some are files.

    Raises:
        UserError: one has labels only, and the method is no vote.
    """
    rule = EnsembleRule(method)
    labels_only = [file for file in members.files if file.probabilities is None]
    if not labels_only:
        return Ensemble(members, rule, rule.predict(members.probabilities))
    if method != "vote":
        raise UserError(
            f"{labels_only[0].path}: has labels only, --method {method} needs probabilities: take --method vote"
        )
    shape = (len(members.ids), members.num_classes)
    scores = aggregated_scores(members.probabilities, "vote") if members.probabilities else np.zeros(shape)
    return Ensemble(members, rule, vote_of_labels(members.voted, scores))


def fitted_prior(members: MemberPredictions, data: Path | None, cache_dir: Path | None) -> NDArray[np.float64]:
    """Return the class frequencies of the training photos of the first run.

    Raises:
        UserError: the data folder holds other classes, or other training photos than that run learned from.
    """
    first = members.runs[0]
    index = index_for(first, data, cache_dir=cache_dir)
    prior = class_prior(index)
    if members.class_names not in ((), index.class_names):
        raise UserError(f"--adjust: {index.folder} has other classes than the runs; {TRAINED_WITH}")
    if first.imported:
        log.warning("--adjust: how often %s has seen each class is unknown; taken as in %s", first.folder, index.folder)
    trained = (first.environment.get("fingerprint") or {}).get("train")
    settings = first.config.train
    if trained not in (None, subset_index(index, settings.share, settings.seed).splits["train"].fingerprint):
        raise UserError(f"--adjust: {index.folder} has other training photos than {first.folder} had; {TRAINED_WITH}")
    return class_prior(corrected_index(first, index)) if settings.corrections_sha256 else prior
