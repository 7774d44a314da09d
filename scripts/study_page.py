"""Write the tables of docs/studies.md from the records in studies/, without training: python scripts/study_page.py.

And the table of some of them in README.md.
"""

from pathlib import Path

from corolla.study.figures import figures_of
from corolla.study.file import read_study
from corolla.study.page import answers, short_answer
from corolla.study.records import FILE, Records
from corolla.study.results import StudyResults, results_of
from corolla.study.tables import cells_line, markdown
from corolla.study.write import write_study

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "studies.md"
README = ROOT / "README.md"
GROUPS = {
    "The report": ["report_shortcuts", "report_blocks", "report_patience", "report_transfer", "report_vote"],
    "Bag of Tricks": ["bag_networks", "bag_batch", "bag_batch_small", "bag_architecture", "bag_training"],
    "Colours, means and shortcuts": ["colour", "normalise", "shortcuts"],
    "Degradation, lesions, gradients": ["degradation", "degradation_cifar", "lesions"],
    "Tricks one by one": ["tricks_scratch", "tricks_transfer"],
    "Without normalisation": ["agc"],
    "On drawn flowers": ["embedded"],
}
"""The studies that ship, in the order of the page."""
IN_README = ["report_transfer", "report_shortcuts", "degradation", "tricks_scratch", "tricks_transfer"]
LONGEST = 600
"""Letters of an answer in README.md."""


def results(name: str) -> StudyResults | None:
    """Return what the record of a study shows; None where nothing of it was run."""
    record = ROOT / "studies" / name / FILE
    study = read_study(ROOT / "studies" / f"{name}.toml")
    return results_of(study, Records.load(record)) if record.is_file() else None


def readme(text: str) -> str:
    """Return README.md with its table of studies made anew."""
    lines = [cells_line(["question", "answer (macro F1)", "study"]), cells_line(["---"] * 3)]
    for made in filter(None, map(results, IN_README)):
        link = f"[{made.study.name}](docs/studies.md#{made.study.name})"
        lines.append(cells_line([made.study.question, short_answer(made, LONGEST, intervals=True), link]))
    return _between("studies", text, "\n".join([*lines, ""]))


def page(text: str) -> str:
    """Return the page with its tables made anew; what stands outside the marks is left as it is."""
    found = {name: made for names in GROUPS.values() for name in names if (made := results(name)) is not None}
    sections = "\n".join(_group(title, names, found) for title, names in GROUPS.items())
    for mark, content in (("answers", answers(list(found.values()))), ("sections", sections)):
        text = _between(mark, text, content)
    return text


def _between(mark: str, text: str, content: str) -> str:
    """Return a text with other content between two marks."""
    head, begin, rest = text.partition(f"<!-- {mark} -->\n")
    return head + begin + content + "".join(rest.partition(f"<!-- end of {mark} -->")[1:])


def _group(title: str, names: list[str], found: dict[str, StudyResults]) -> str:
    lines = [f"## {title}", ""]
    for name in names:
        if name in found:
            figures = [f"../studies/{name}/{figure}.png" for figure in figures_of(found[name])]
            lines += [markdown(found[name], figures, "###")]
    if missing := [name for name in names if name not in found]:
        lines += ["Not run:", "", *(f"    corolla study run studies/{name}.toml" for name in missing), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    for names in GROUPS.values():
        for name in names:
            if (made := results(name)) is not None:
                write_study(made, ROOT / "studies" / name)
    for file, made_anew in ((PAGE, page), (README, readme)):
        file.write_text(made_anew(file.read_text(encoding="utf-8")), encoding="utf-8")
