"""Check and write a submission CSV, with a JSON beside it that records how it was made; score one."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from corolla.config import read_settings
from corolla.data.class_names import read_class_names
from corolla.ensemble.files import has_probabilities, read_file
from corolla.errors import UserError
from corolla.evaluation.labels import check_submission, read_labels
from corolla.evaluation.metrics import class_f1, likeliest, macro_f1, share_among
from corolla.files import write_atomically
from corolla.kaggle.provenance import check_same_data, made_by, read_provenance
from corolla.paths import AnyPath, as_path
from corolla.results import Result
from corolla.runs.folder import Run
from corolla.runs.writing import git_commit

if TYPE_CHECKING:  # it loads scikit-learn, which neither score nor submit needs
    from corolla.ensemble.ensemble import Ensemble
    from corolla.evaluation.predictions import Predictions


def write_submission(path: Path, joined: "Ensemble", sample_path: Path, provenance: dict[str, Any]) -> Path:
    """Write `id,label` in the order of the sample submission, and PATH with .json in place of .csv beside it.

    Raises:
        UserError: the ids are not exactly those of `sample_path`, or that file is not there; nothing is written.
    """
    sample = read_labels(sample_path)
    table = pd.DataFrame({"id": joined.ids.astype(str), "label": joined.predicted})
    check_submission(table, sample, joined.num_classes, source=f"the predictions for {path}")
    table = table.set_index("id").loc[sample["id"]].reset_index()
    content = table.to_csv(index=False, lineterminator="\n").encode()
    # The JSON goes first: a CSV that nothing explains is the one thing that must not be left behind by a crash.
    provenance = {**provenance, "csv_sha256": hashlib.sha256(content).hexdigest()}
    write_atomically(path.with_suffix(".json"), (json.dumps(provenance, indent=2) + "\n").encode())
    write_atomically(path, content)
    return path


def describe_runs(
    runs: Sequence[Run], members: Sequence["Predictions"], views: Sequence[dict[str, Any]], how: dict[str, Any]
) -> dict[str, Any]:
    """Return how a submission was made: `how`, then runs with their checkpoints, config hashes, commits, times.

    Each run has its own `views`: their name, which of the checkpoints, the size of the photos where it was asked for.

    Of an imported run commit, seed, epochs and seconds are None: its training is unknown.

    By the size, the fingerprint of the test records and the names of the classes it is told whether a data folder still
    holds what was predicted.
    """
    described = []
    for run, member, own in zip(runs, members, views, strict=True):
        config = read_settings(run.folder / "config.json")  # as it was written: the hash is the same in every version
        imported = run.imported
        described.append(
            {
                "run": run.name,
                "experiment": run.environment.get("experiment"),
                "checkpoint_sha256": member.checkpoint,
                **own,
                "config_sha256": hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest(),
                "git_commit": None if imported else run.environment.get("git_commit"),
                "seed": None if imported else config["train"]["seed"],
                "epochs": member.epochs,
                "seconds": member.seconds,
                "fingerprint": run.environment.get("fingerprint"),
                **({"imported_sha256": imported["sha256"]} if imported else {}),
            }
        )
    made = datetime.now(UTC).isoformat(timespec="seconds")
    sizes = [
        (own["size"] or run.config.size, member.fingerprint)
        for run, member, own in zip(runs, members, views, strict=True)
    ]
    size, fingerprint = next((pair for pair in sizes if pair[1]), (None, None))  # early versions tell no fingerprint
    data = {
        "folders": [str(run.folder) for run in runs],
        "size": size or next((run.config.size for run in runs), None),
        "test_fingerprint": fingerprint,
        "class_names": next((list(member.class_names) for member in members if member.class_names), None),
    }
    return {**how, "runs": described, **data, "git_commit": git_commit(), "made": made}


@dataclass(frozen=True, repr=False)
class Score(Result):
    """A submission against the truth."""

    macro_f1: float
    accuracy: float
    num_images: int
    class_f1: dict[int, float]
    """F1 of every class present in the truth."""
    top5: float | None = None
    """Top-5 accuracy of a file of probabilities; a submission has none."""

    @property
    def summary(self) -> str:
        """Macro F1, accuracy and, where it is known, top-5 accuracy."""
        top5 = "" if self.top5 is None else f", top-5 accuracy {self.top5:.4f}"
        return f"macro F1 {self.macro_f1:.4f}, accuracy {self.accuracy:.4f}{top5} ({self.num_images} images)"

    def to_pandas(self) -> "pd.DataFrame":
        """Return a row per class present in the truth: its number and its F1."""
        import pandas as pd

        return pd.DataFrame({"label": list(self.class_f1), "F1": list(self.class_f1.values())})

    def worst(self, count: int = 10) -> list[tuple[int, float]]:
        """Return (class, F1) of the classes with the lowest F1."""
        return sorted(self.class_f1.items(), key=lambda item: item[1])[:count]


TRUTH = re.compile(
    r"(my[-_ ])?((test|val|true|private|public|ground|y|answer)[-_ ]?)?"
    r"(labels?|truth|true|gt|solutions?|answers?|answer[-_ ]?key|targets?)([-_ ](test|val|true|private|public))?"
    r"([-_ ]?(v?\d+|\(\d+\)|copy|final))?"
)
"""Names of files with the true labels: `test_labels.csv` is what `corolla synth` writes."""


def _check_order(csv: Path, labels: Path) -> None:
    """Check that the truth comes last: both files have the same columns, and the other way round gives another score.

    Raises:
        UserError: it comes first by the names, or what is in its place is a submission or an example of one.
    """
    order = "the true labels come last: corolla score CSV... LABELS.csv"
    names = [path.name.partition(".")[0].lower() for path in (csv, labels)]
    if TRUTH.fullmatch(names[0]) and not TRUTH.fullmatch(names[1]):
        raise UserError(f"{csv}: is the truth by its name, but stands in a submission's place; {order}")
    if names[1].startswith(("sample_submission", "sample-submission")):
        raise UserError(f"{labels}: its labels are an example's, not the truth; {order}")
    if not TRUTH.fullmatch(names[1]) and labels.resolve() != csv.resolve() and read_provenance(labels):
        raise UserError(f"{labels}: is a submission that {made_by(labels).name} describes, not the truth; {order}")


def score(csv: AnyPath, labels: AnyPath) -> Score:
    """Return macro F1 and accuracy of a submission, joined with the true labels by id.

    Args:
        csv: a submission, or probabilities as `corolla ensemble` takes them (a CSV with a column per class, an .npz),
            whose columns are told by the classes.txt beside the truth; these have a top-5 accuracy, too.

    Raises:
        UserError: the two files do not hold the same ids, each once, or are exchanged; or the truth lies in a data
            folder whose test records or classes are not those that the submission was made of.
    """
    csv, labels = as_path(csv), as_path(labels)
    if has_probabilities(csv):
        _check_order(csv, labels)
        return _score_probabilities(csv, read_labels(labels), read_class_names(labels.with_name("classes.txt")))
    submitted, truth = read_labels(csv), read_labels(labels)
    _check_order(csv, labels)
    num_classes = int(np.concatenate([submitted["label"], truth["label"]]).max()) + 1
    check_submission(submitted, truth, num_classes, source=f"{csv} against {labels}")
    check_same_data(csv, read_provenance(csv), labels.absolute().parent)
    joined = truth.merge(submitted, on="id", suffixes=("_true", "_submitted"), validate="one_to_one")
    return _scored(joined["label_true"].to_numpy(), joined["label_submitted"].to_numpy(), None)


def _score_probabilities(path: Path, truth: pd.DataFrame, class_names: Sequence[str]) -> Score:
    """Score a file of probabilities.

    Raises:
        UserError: it cannot be read, or it is of other ids or classes.
    """
    found = read_file(path, truth, class_names)
    true = truth.sort_values("id")["label"].to_numpy()
    return _scored(true, found.voted, None if found.probabilities is None else likeliest(found.probabilities))


def _scored(true: NDArray[np.int64], predicted: NDArray[np.int64], ranked: NDArray[np.int64] | None) -> Score:
    return Score(
        macro_f1=macro_f1(true, predicted),
        accuracy=float((true == predicted).mean()),
        num_images=len(true),
        top5=None if ranked is None else share_among(ranked, true),
        class_f1=class_f1(true, predicted),
    )
