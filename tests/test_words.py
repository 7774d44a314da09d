"""The house rules for docstrings, and paths in the words of the source that lead somewhere."""

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "src" / "corolla"
SOURCE_FILES = sorted(SOURCE.rglob("*.py"))
FILES = SOURCE_FILES + sorted(TESTS.rglob("*.py"))

ROOMS = [path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()]
PATH = re.compile(rf"(?<![\w./-])(?:src/corolla/|corolla/)?((?:{'|'.join(ROOMS)})/[\w/]*\w\.py)\b")


def name(path: Path) -> str:
    return path.relative_to(TESTS.parent).as_posix()


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of every docstring of a module, its attributes' included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            documented = node.body[:1]
        elif isinstance(node, ast.Module | ast.ClassDef):
            assigned = (after for before, after in zip(node.body, node.body[1:], strict=False) if is_assignment(before))
            documented = [*node.body[:1], *assigned]
        else:
            continue
        for statement in documented:
            match statement:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield statement.lineno, text


def is_assignment(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Assign | ast.AnnAssign)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_docstring_begins_with_a_plain_sentence(path: Path):
    wrong = []
    for line, text in docstrings(ast.parse(path.read_text(encoding="utf-8"))):
        first = text.split("\n", 1)[0].strip()
        if not first or re.match(r"(what|of|whether)\b", first, re.IGNORECASE):
            wrong.append(f"{name(path)}:{line}: {first!r}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", SOURCE_FILES, ids=name)
def test_a_module_that_a_comment_names_exists(path: Path):
    with tokenize.open(path) as file:
        words = [token for token in tokenize.generate_tokens(file.readline) if token.type == tokenize.COMMENT]
    texts = [(token.start[0], token.string) for token in words]
    texts += docstrings(ast.parse(path.read_text(encoding="utf-8")))
    lost = [
        f"{name(path)}:{line}: {found}"
        for line, text in texts
        for found in PATH.findall(text)
        if not (SOURCE / found).is_file()
    ]
    assert not lost, "\n".join(lost)
