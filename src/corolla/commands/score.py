"""corolla score: submissions against the true labels."""

from corolla.commands.common import Paths
from corolla.errors import DONE, UserError


def score(files: Paths, /, worst: int = 10) -> int:
    """Score submissions against the true labels: macro F1, accuracy, the worst classes; several as a table.

    Args:
        files: CSV... LABELS: one submission or several, and last the truth, a CSV with the columns id and label; a
            classes.txt beside it names the classes. Files of probabilities (an .npz, a CSV with a column per class)
            are taken too, and have a top-5 accuracy besides.
        worst: how many classes to list, for one submission.
    """
    from corolla.data.class_names import read_class_names
    from corolla.data.record_files import size_folders
    from corolla.kaggle.submission import score as score_csv

    if len(files) < 2:
        raise UserError("name a submission and the file of true labels: corolla score CSV... LABELS.csv")
    *submissions, labels = files
    results = {path: score_csv(path, labels) for path in submissions}
    if len(results) > 1:
        width = max(len(str(path)) for path in submissions)
        with_top5 = any(result.top5 is not None for result in results.values())
        print(f"{'submission':{width}}  macro F1  accuracy" + "   top-5" * with_top5)
        for path, result in results.items():
            top5 = "" if result.top5 is None else f"  {result.top5:6.4f}"
            print(f"{path!s:{width}}  {result.macro_f1:8.4f}  {result.accuracy:8.4f}{top5}")
        return DONE
    ((path, result),) = results.items()
    listed = labels.with_name("classes.txt")
    # a data folder without a list has the competition's classes; labels anywhere else may be of any
    names = read_class_names(listed) if listed.exists() or size_folders(labels.absolute().parent) else ()
    print(f"{path}: {result.summary}")
    names = names if max(result.class_f1) < len(names) else ()  # else the labels are of other classes than the list
    for number, value in result.worst(worst):
        name = names[number] if names else ""
        print(f"  F1 {value:.3f}  class {number:3d}  {name}".rstrip())
    return DONE
