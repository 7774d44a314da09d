"""`corolla predict`: a run's checkpoint and a split to a file of ids and probabilities, or photos to names."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, overload

from corolla.errors import UserError
from corolla.evaluation.compute import PredictOptions
from corolla.evaluation.out_of_fold import predict_out_of_fold
from corolla.evaluation.split_predictions import PredictResult as PredictResult
from corolla.evaluation.split_predictions import predict_split as predict_split
from corolla.paths import AnyPath, AnyPaths, as_paths
from corolla.runs.folder import open_run

if TYPE_CHECKING:
    from corolla.evaluation.photo_predictions import PhotoPredictions


@overload
def predict(
    run: AnyPaths, options: PredictOptions | None = None, *, photos: None = None, **changes: Any
) -> PredictResult: ...
@overload
def predict(
    run: AnyPaths,
    options: PredictOptions | None = None,
    *,
    photos: AnyPaths,
    out: AnyPath | None = None,
    **changes: Any,
) -> "PhotoPredictions": ...
def predict(
    run: AnyPaths,
    options: PredictOptions | None = None,
    *,
    photos: AnyPaths | None = None,
    out: AnyPath | None = None,
    **changes: Any,
) -> "PredictResult | PhotoPredictions":
    """Predict a split with a run, unless it was done already with the checkpoint as it is now; or predict photos.

    With split "oof" all runs of a cross-validation (--train.fold) predict the photos of train and val, each those of
    its own fold (evaluation/out_of_fold.py).

    A file of predictions that is damaged, of another checkpoint or of other photos is made again.

    Args:
        run: the run's folder, or the `Run`; for photos also several, whose mean counts, and for "oof" those of all
            folds.
        options: see PredictOptions.
        photos: files, or folders with all that is below them, in place of a split: see evaluation/photos.py.
        out: CSV of the photos; a contact sheet (PNG) and a page (HTML) come beside it.
        changes: of single options: `predict(run, split="val", tta="ten-crop")`.

    Raises:
        UserError: no such run, checkpoint, data, split, views or photos, or an image that does not decode.
        Failure: the device fails, or its memory is too small for one view; the numbers are not finite in fp32 either.
    """
    options = replace(options or PredictOptions(), **changes)
    if photos is not None:
        from corolla.evaluation.photos import predict_photos  # a page needs what a notebook on Kaggle may lack

        return predict_photos(run, photos, options, out=out)
    if out is not None:
        raise UserError(f"out={str(out)!r} has no effect without photos: leave it out")
    folders = as_paths(run)
    if options.split == "oof":
        return predict_out_of_fold([open_run(folder) for folder in folders], options)
    if len(folders) != 1:
        raise UserError("a split is predicted by one run at a time; corolla.ensemble joins several")
    return predict_split([open_run(folders[0])], options)[0]
