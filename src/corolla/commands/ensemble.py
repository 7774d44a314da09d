"""corolla ensemble: the predictions of runs and files as a submission CSV."""

from pathlib import Path

from corolla.commands.common import Paths, ViewArguments, next_command, refuse_without, without_others
from corolla.data.competition import NOTEBOOKS_ONLY
from corolla.data.transforms.tta import ViewOptions
from corolla.ensemble.rules import Method
from corolla.ensemble.validation import ValidationEstimate
from corolla.errors import DONE
from corolla.runs.folder import CheckpointName
from corolla.session import in_kaggle
from corolla.text_files import shell_words

NO_VIEWS = ViewOptions()


def ensemble(
    members: Paths,
    /,
    out: Path,
    method: Method = "vote",
    adjust: bool = False,
    checkpoint: CheckpointName = "best",
    data: Path | None = None,
    cache_dir: Path | None = None,
    views: ViewArguments = NO_VIEWS,
) -> int:
    """Join test predictions of runs, submission CSVs and files of probabilities into one checked submission CSV.

    Args:
        members: folders of runs that were predicted already; submission CSVs (id,label; also .csv.gz, .zip); CSVs of id
            and a column per class, named by number or by name; .npz with the arrays ids and probabilities (N x classes)
            and perhaps class_names. Any mixture, joined by id.
        out: the CSV to write; a JSON beside it says what made it.
        method: vote (a tie goes to the tied class of the highest summed probability over those members that have
            probabilities; where none has, to the one of the member named first), mean (of the probabilities), geometric
            (mean of their logarithms); weighted (mean with weights fitted on val for macro F1) or greedy (selection
            with replacement on val, Caruana et al. 2004), for which every run has to be predicted on val as well.
            Submissions have labels only, so with them vote; weighted and greedy take runs alone.
        adjust: divide the probabilities by the class frequencies in train to a power that is fitted on val (Menon et
            al. 2021).
        checkpoint: which predictions to take: of best or of last.
        data: the data folder, for its sample_submission.csv and classes; default: the one the first run was trained
            with, and without a run data/.
        cache_dir: with --adjust: folder for the index; default: the user's cache.
        views: which predictions to take; default: those that are there, where they are of one kind.
    """
    from corolla.ensemble.files import SUFFIXES, is_file
    from corolla.ensemble.on_val import why_not_scored
    from corolla.kaggle.from_runs import submission_from_runs

    members = without_others(members, is_meant=lambda path: path.suffix.lower() in SUFFIXES)
    if members and all(map(is_file, members)):
        last, tta = checkpoint if checkpoint != "best" else None, views.name if views != NO_VIEWS else None
        refuse_without("a run among the members", tta=tta, checkpoint=last)
    made = submission_from_runs(
        members,
        out,
        method=method,
        adjust=adjust,
        tta=None if views.is_default else views.name,
        checkpoint=checkpoint,
        data=data,
        cache_dir=cache_dir,
    )
    print(f"wrote {out} ({made.num_images} rows, ids as in {made.sample}) and {out.with_suffix('.json')}")
    if made.ensemble.members.files:
        print("its val macro F1 is not known: files have no predictions of val")
    elif made.on_val is None and (reason := why_not_scored(made.ensemble.members.runs)):
        print(f"its val macro F1 is not known: {reason}")
    elif made.on_val is None:
        print("for its val macro F1, predict every run with --split val as well")
    else:
        _print_on_val(made.on_val, made.ensemble.scored_on, tau=made.ensemble.rule.tau if adjust else None)
    print(_next(out, made.sample))
    return DONE


def _next(out: Path, sample: Path) -> str:
    """Return the command that scores the CSV, where the truth is there, or else submits it."""
    from corolla.kaggle.manifest import read_manifest
    from corolla.kaggle.provenance import can_run_again, read_provenance

    labels = sample.with_name("test_labels.csv")
    if labels.exists():
        return next_command("score", out, labels)
    manifest = read_manifest(sample.parent)
    if in_kaggle():
        return f"to submit it: save a version of this notebook, and submit {out.name} of its output"
    if manifest is None:
        return f"to submit it to a competition: corolla {shell_words('submit', out, '--competition')} SLUG"
    as_notebook = manifest.competition in NOTEBOOKS_ONLY and can_run_again(read_provenance(out))
    return next_command("submit", out, *["--notebook"] * as_notebook)


def _print_on_val(on_val: ValidationEstimate, scored_on: str, *, tau: float | None) -> None:
    """Print the ensemble's score on val, or out of fold, and what each member adds."""
    print(
        f"the same ensemble {scored_on}: macro F1 {on_val.in_sample:.4f}, accuracy {on_val.accuracy:.4f}, "
        f"top-5 accuracy {on_val.top5:.4f}"
    )
    joined = on_val.cross_fitted
    if joined is not None:
        print(
            f"  optimistic (in-sample), as it was fitted there; on photos it was not fitted on: macro F1 "
            f"{joined.macro_f1:.4f} ({joined.repeats} times {joined.folds}-fold, sd {joined.sd:.4f})"
        )
    if tau is not None and joined is not None and on_val.not_adjusted is not None:
        gain = joined.macro_f1 - on_val.not_adjusted
        print(f"  adjusted by the class frequencies to the power of {tau:.2f}: {gain:+.4f}, on such photos")
    if len(on_val.members) > 1:
        print(f"what each run adds {scored_on} (macro F1 of it alone, and of the ensemble without it):")
        print(on_val.members.to_string(index=False, float_format="%.4f"))
