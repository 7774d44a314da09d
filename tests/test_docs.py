"""README and docs/ name nothing that does not exist: stages, options, experiments, links, folders, files, functions."""

import ast
import dataclasses
import functools
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_origin

import pytest

import corolla
from corolla import cli, commands
from corolla.compare.readme_table import BEGIN, END
from corolla.config.config import fields_of
from corolla.config.experiments import find_experiment
from corolla.evaluation.compute import PredictOptions

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "corolla"
README = ROOT / "README.md"
FOLDER_PAGES = [ROOT / name / "README.md" for name in ("data", "runs", "submissions")]
PAGES = [README, *sorted(ROOT.glob("docs/*.md")), *FOLDER_PAGES]
TEXTS = [*PAGES, *sorted(ROOT.glob("configs/*.toml")), *sorted(ROOT.glob("scripts/*.sh"))]
OTHER_OPTIONS = {"--version", "--slow", "--environment", "--logdir", "--nproc-per-node", "--max-restarts", "--nnodes"}
"""Options of `corolla` itself, of scripts/test.sh, of TensorBoard and of torchrun."""


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@functools.cache
def options_of(stage: str) -> frozenset[str]:
    """Return the options that a stage takes."""
    module = commands.load(stage)
    values = {}
    if hasattr(module, "run"):  # train, whose options are the settings
        values = {key: value for key, _, value in fields_of(module.Options())}
    else:
        function = getattr(module, module.__name__.rpartition(".")[2])
        for name, parameter in inspect.signature(function).parameters.items():
            if dataclasses.is_dataclass(parameter.default):
                has_prefix = get_origin(parameter.annotation) is None  # else it is marked: its fields stand alone
                prefix = f"{name}." if has_prefix else ""
                values |= {prefix + field: value for field, value in vars(parameter.default).items()}
            elif parameter.kind is not parameter.POSITIONAL_ONLY:
                values[name] = parameter.default
    names = {"help", "help-all", *values, *(_off(name) for name, value in values.items() if isinstance(value, bool))}
    return frozenset("--" + name.rstrip("_").replace("_", "-") for name in names)


def _off(switch: str) -> str:
    """Return the option that turns a switch off: augment.no_color."""
    section, dot, name = switch.rpartition(".")
    return f"{section}{dot}no_{name}"


def prose_and_blocks(markdown: str) -> tuple[str, list[str]]:
    """Take Markdown apart: the prose, and the lines of its fenced and indented blocks with their indents."""
    prose, blocks, fenced = [], [], False
    for line in markdown.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        else:
            (blocks if fenced or line.startswith("    ") else prose).append(line)
    return "\n".join(prose), blocks


def code_in(text: Path) -> Iterator[str]:
    """Yield lines of code without their comments: of blocks, and in Markdown also whatever is in backticks."""
    content = text.read_text(encoding="utf-8").replace("\\\n", " ")
    if text.suffix == ".toml":  # commands are in its comments, as indented blocks
        content = re.sub(r"^# ?", "", content, flags=re.MULTILINE)
    prose, lines = prose_and_blocks(content)
    for line in content.splitlines() if text.suffix == ".sh" else lines:
        yield re.split(r"(?:^|\s)#(?:\s|$)", line)[0].strip()
    if text.suffix == ".md":
        yield from (" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose))


def commands_in(text: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the stage and the further words of each `corolla STAGE ...` in a text; placeholders of a stage are none."""
    for code in code_in(text):
        for command in re.split(r"\s(?:\||\|\||&&|;)\s", code):
            words = command.split()
            for place, word in enumerate(words[:-1]):
                stage = words[place + 1].rstrip(".,;:)")
                if re.fullmatch(r"(?:\S*[/(])?corolla", word) and re.fullmatch(r"[a-z][a-z-]*", stage):
                    yield stage, [each.strip("()'\",;") for each in words[place + 2 :]]


def test_the_readme_is_short_and_its_first_screen_leads_on() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    first_screen = "\n".join(lines[:40])
    for wanted in ("scripts/quickstart.sh", "scripts/test.sh", "own photos", "on Kaggle", "compare", "every option"):
        assert wanted in first_screen, wanted


def test_every_page_of_docs_is_linked() -> None:
    linked = {page for text in PAGES for page in ROOT.glob("docs/*.md") if f"{page.name})" in text.read_text("utf-8")}
    assert linked == set(ROOT.glob("docs/*.md"))


def test_the_readme_has_a_place_for_the_table_of_results() -> None:
    """`corolla table RUN... --into README.md` writes there."""
    found = re.search(f"^{BEGIN}\n(.+)\n{END}$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found
    assert all(line.startswith("| ") for line in found[1].splitlines())


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", prose_and_blocks(page.read_text(encoding="utf-8"))[0], re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_and_pictures_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        if "://" not in target:
            linked = page.parent / path if path else page
            assert linked.exists(), target
            assert not anchor or anchor in anchors_of(linked), target


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_files_and_folders_that_are_named_exist(page: Path) -> None:
    """Those that git keeps; what commands write (runs/NAME, submissions/first.csv) is not there."""
    kept = r"(?:configs|docs|notebooks|scripts|src|tests)/(?:[\w.-]+/)*[\w.-]*\w"
    modules = r"\w+/(?:\w+/)*\w+\.py"
    for name in re.findall(rf"(?<![\w./]){kept}", page.read_text(encoding="utf-8")):
        assert (ROOT / name).exists() or name == "docs/notebooks", name
    for name in re.findall(rf"`({modules})`", page.read_text(encoding="utf-8")):
        if not Path(name).stem.isupper():  # commands/NAME.py
            assert any((folder / name).exists() for folder in (ROOT, PACKAGE)), name


@pytest.mark.parametrize("text", TEXTS, ids=relative)
def test_stages_and_their_options_exist(text: Path) -> None:
    for stage, words in commands_in(text):
        command = f"corolla {stage} {' '.join(words)}"
        assert stage in commands.summaries(), command
        for option in (word.partition("=")[0] for word in words):
            if re.fullmatch(r"--[a-z][a-z0-9.-]*", option):
                assert option in options_of(stage), f"{command}: {option}"


@pytest.mark.parametrize("text", TEXTS, ids=relative)
def test_experiments_exist(text: Path) -> None:
    for stage, words in commands_in(text):
        if stage == "train" and words and re.fullmatch(r"[a-z0-9_]+|configs/\S+", words[0]):
            find_experiment(str(ROOT / words[0]) if "/" in words[0] else words[0])


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_options_without_their_command_exist(page: Path) -> None:
    """Such as `--view-size 256` in prose: some stage has each."""
    known = OTHER_OPTIONS.union(cli.OLD_OPTIONS, *(options_of(stage) for stage in commands.summaries()))
    for code in code_in(page):
        if not re.search(r"\b(?:corolla|pip)\b", code):
            for option in re.findall(r"(?:^|\s)(--[a-z][a-z0-9.-]*)(?![\w.*-])", code):
                assert option in known, code


def test_the_tests_above_find_what_they_look_for() -> None:
    assert {"doctor", "train", "compare", "submit"} <= {stage for stage, _ in commands_in(README)}
    assert "import" in {stage for stage, _ in commands_in(ROOT / "docs" / "own-photos.md")}
    assert "train" in {stage for stage, _ in commands_in(ROOT / "configs" / "transfer.toml")}
    assert "ensemble" in {stage for stage, _ in commands_in(ROOT / "scripts" / "quickstart.sh")}
    assert {"--tta", "--view-size", "--split"} <= options_of("predict")
    assert {"--model.no-avg-shortcut", "--optim.lr", "--resume"} <= options_of("train")
    assert "--folder" not in options_of("check")  # it is given without its name


def tree(markdown: str, title: str) -> Iterator[Path]:
    """Yield the folders of the indented tree under a heading: a folder a line, four spaces a level."""
    section = markdown.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    above: list[str] = []
    for line in prose_and_blocks(section)[1]:
        level = (len(line) - len(line.lstrip())) // 4 - 1
        above[level:] = [line.split()[0]]
        yield ROOT.joinpath(*above)


def test_the_folders_of_the_readmes_tree_exist() -> None:
    folders = list(tree(README.read_text(encoding="utf-8"), "Folders"))
    assert PACKAGE / "data" in folders
    assert [folder for folder in folders if not folder.is_dir()] == []


def test_the_layout_names_every_room() -> None:
    rooms = {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    rooms |= {path.name for path in PACKAGE.glob("*.py") if not path.name.startswith("__")}
    assert rooms <= set(re.findall(r"`([\w/.]+)`", (ROOT / "docs" / "layout.md").read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_functions_of_corolla_exist_and_take_these_arguments(page: Path) -> None:
    content = page.read_text(encoding="utf-8")
    code = [*re.findall(r"```python\n(.*?)```", content, re.DOTALL), *re.findall(r"`(corolla\.\w+\([^`]*\))`", content)]
    for node in (node for each in code for node in ast.walk(ast.parse(each))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("corolla."):
            function = getattr(corolla, ast.unparse(node.func).removeprefix("corolla."))
            keywords = {keyword.arg for keyword in node.keywords if keyword.arg}
            signature = inspect.signature(function)
            if "options" in signature.parameters:  # its **changes are of single options
                keywords -= {field.name for field in dataclasses.fields(PredictOptions)}
                assert keywords <= set(signature.parameters), keywords
            signature.bind(*node.args, **dict.fromkeys(keywords))
