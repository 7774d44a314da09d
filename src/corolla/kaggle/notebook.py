"""The function that the inference notebook calls on Kaggle: the runs of its bundle predict test, and are joined."""

import logging
import os
from dataclasses import replace
from pathlib import Path

from corolla.data.competition import SAMPLE_SUBMISSION
from corolla.data.mounts import mount_problem, mounted_data
from corolla.ensemble.ensemble import ensemble_by_rule
from corolla.errors import UserError
from corolla.evaluation.compute import PredictOptions
from corolla.evaluation.predict import predict
from corolla.kaggle.bundle import Bundle, find_bundle, read_bundle, restore_runs
from corolla.kaggle.submission import describe_runs, write_submission
from corolla.runs.folder import open_run
from corolla.temporary import scratch_folder

log = logging.getLogger(__name__)


def predict_submission(
    *,
    input_root: Path,
    competition: str,
    out: str | Path = "submission.csv",
    bundle_sha256: str | None = None,
    work: Path | None = None,
    device: str = "auto",
    batch_size: int = 64,
    workers: int | None = None,
) -> Path:
    """Predict test with the runs of an attached bundle, as its manifest says, and write the checked submission.

    Notebooks that were pushed call it by this name.

    Args:
        input_root: where Kaggle mounts datasets and competitions, read-only.
        out: the .csv; a JSON beside it records how it was made.
        bundle_sha256: hash of the bundle; None: the only one attached.
        work: folder for runs, index and predictions; default: a temporary one, because files beside the CSV become
            the notebook's output.
        batch_size: views that go through the network at once.

    Raises:
        UserError: bundle or data are not attached or not those that were packed for, or a photo does not decode.
    """
    dataset = find_bundle(input_root, bundle_sha256)
    os.environ["COROLLA_KAGGLE_INPUT"] = str(input_root)  # where mounts.py looks
    data = mounted_data(competition)
    if data is None:
        problem = mount_problem(competition)
        raise UserError(problem or f"{input_root}: the data of {competition} is not attached, or holds no TFRecords")
    with scratch_folder("notebook") as temporary:
        bundle, place = read_bundle(dataset), work or temporary
        options = PredictOptions(
            data=data, cache_dir=place / "index", device=device, batch_size=batch_size, workers=workers
        )
        return _predict_bundle(bundle, data, Path(out), place, options)


def _predict_bundle(bundle: Bundle, data: Path, out: Path, work: Path, options: PredictOptions) -> Path:
    """Predict test with every run of the bundle, and write the submission that they give together."""
    runs = [open_run(folder) for folder in restore_runs(bundle.folder, work / "runs")]
    found = []
    for number, (run, packed) in enumerate(zip(runs, bundle.runs, strict=True), 1):
        own = replace(options, tta=packed["tta"], checkpoint=packed["checkpoint"], size=packed["size"])
        found.append(predict(run, own, split="test").predictions)
        log.info("%d/%d %s: predicted %d photos", number, len(runs), run.name, len(found[-1].ids))
    joined = ensemble_by_rule(runs, found, bundle.rule)
    views = [{key: packed[key] for key in ("tta", "checkpoint", "size")} for packed in bundle.runs]
    how = {**bundle.rule.described(), "bundle_sha256": bundle.sha256}
    write_submission(out, joined, data / SAMPLE_SUBMISSION, describe_runs(joined.runs, joined.predictions, views, how))
    log.info("wrote %s: %d rows, ids as in %s", out, len(joined.ids), data / SAMPLE_SUBMISSION)
    return out
