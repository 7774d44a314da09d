"""Write the tables of docs/studies.md from the records in studies/, without training: python scripts/study_page.py."""

from pathlib import Path

from corolla.study.figures import figures_of
from corolla.study.file import read_study
from corolla.study.page import answers
from corolla.study.records import FILE, Records
from corolla.study.results import StudyResults, results_of
from corolla.study.tables import markdown
from corolla.study.write import write_study

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "studies.md"
GROUPS = {
    "The report": ["report_shortcuts", "report_blocks", "report_transfer", "report_vote"],
    "Bag of Tricks": ["bag_networks", "bag_batch", "bag_batch_small", "bag_architecture", "bag_training"],
    "Colours, means and shortcuts": ["colour", "normalise", "shortcuts"],
    "Degradation, lesions, gradients": ["degradation", "degradation_cifar", "lesions"],
    "Tricks one by one": ["tricks_scratch", "tricks_transfer"],
    "Without normalisation": ["agc"],
    "On drawn flowers": ["embedded"],
}
"""The studies that ship, in the order of the page."""


def results(name: str) -> StudyResults | None:
    """Return what the record of a study shows; None where nothing of it was run."""
    record = ROOT / "studies" / name / FILE
    study = read_study(ROOT / "studies" / f"{name}.toml")
    return results_of(study, Records.load(record)) if record.is_file() else None


def page(text: str) -> str:
    """Return the page with its tables made anew; what stands outside the marks is left as it is."""
    found = {name: made for names in GROUPS.values() for name in names if (made := results(name)) is not None}
    sections = "\n".join(_group(title, names, found) for title, names in GROUPS.items())
    for mark, content in (("answers", answers(list(found.values()))), ("sections", sections)):
        head, begin, rest = text.partition(f"<!-- {mark} -->\n")
        text = head + begin + content + "".join(rest.partition(f"<!-- end of {mark} -->")[1:])
    return text


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
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
