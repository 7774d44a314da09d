"""corolla score: submissions against the true labels."""

from corolla.commands.common import Paths
from corolla.errors import DONE, UserError


def score(files: Paths, /, worst: int = 10) -> int:
    """Score submissions against the true labels: macro F1, accuracy, the worst classes; several as a table.

    Args:
        files: CSV... LABELS: one submission or several, and last the truth, a CSV with the columns id and label; a
            classes.txt beside it names the classes.
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
        print(f"{'submission':{width}}  macro F1  accuracy")
        for path, result in results.items():
            print(f"{path!s:{width}}  {result.macro_f1:8.4f}  {result.accuracy:8.4f}")
        return DONE
    ((path, result),) = results.items()
    listed = labels.with_name("classes.txt")
    # a data folder without a list has the competition's classes; labels anywhere else may be of any
    names = read_class_names(listed) if listed.exists() or size_folders(labels.absolute().parent) else ()
    print(f"{path}: macro F1 {result.macro_f1:.4f}, accuracy {result.accuracy:.4f} ({result.num_images} images)")
    names = names if max(result.class_f1) < len(names) else ()  # else the labels are of other classes than the list
    for number, value in result.worst(worst):
        name = names[number] if names else ""
        print(f"  F1 {value:.3f}  class {number:3d}  {name}".rstrip())
    return DONE
