"""The subcommands, one file each, found by its name: each parses, calls its stage and prints what came out.

What a file's function says of itself in its first line is what `corolla --help` lists; it is read from the source, so
that listing the stages imports none of them.
"""

import ast
import importlib
from importlib.resources import files
from types import ModuleType

PIPELINE = (
    *("download", "synth", "import", "check", "audit", "stats", "show", "train", "import-checkpoint", "runs"),
    *(
        "predict",
        "report",
        "compare",
        "lesion",
        "gradients",
        "study",
        "cv",
        "table",
        "ensemble",
        "score",
        "pack",
        "submit",
        "submissions",
        "leaderboard",
        "export",
    ),
    *("doctor", "bench"),
)
"""The order in which stages are listed; others come after them."""
NO_STAGES = ("__init__", "common", "hints")


def summaries() -> dict[str, str]:
    """Return the first line of what each stage says of itself, in the order of the pipeline."""
    found = {}
    for file in files(__name__).iterdir():  # of a folder, or of a zip
        stem = file.name.removesuffix(".py")
        if file.name.endswith(".py") and stem not in NO_STAGES:
            found[stem.rstrip("_").replace("_", "-")] = _summary(stem, file.read_text(encoding="utf-8"))
    known = [name for name in PIPELINE if name in found]
    return {name: found[name] for name in [*known, *sorted(found.keys() - set(known))]}


def _summary(name: str, source: str) -> str:
    functions = (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
    stage = next(function for function in functions if function.name == name)
    return (ast.get_docstring(stage) or "").partition("\n")[0]


def load(name: str) -> ModuleType:
    """Import the module of a stage; its name has an underscore at its end where Python has that word for itself."""
    stem = name.replace("-", "_")
    stem = stem if files(__name__).joinpath(f"{stem}.py").is_file() else f"{stem}_"
    return importlib.import_module(f"corolla.commands.{stem}")
