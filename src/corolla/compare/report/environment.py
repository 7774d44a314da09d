"""The versions, devices and data that the runs compared were made with."""

from corolla.compare.compare import Comparison
from corolla.compare.report.tables import Cell, Table, cell, make_table

NUM_DIGITS = 12  # of a commit or a fingerprint: enough to tell them apart


def environment_table(comparison: Comparison) -> Table:
    """Return a row per run with the facts of its environment.json."""
    columns: dict[str, list[Cell]] = {}
    for member in comparison.members:
        known = member.run.environment
        versions = known.get("versions", {})
        facts = {"run": member.name, "experiment": known.get("experiment"), "commit": _short(known.get("git_commit"))}
        facts |= {name: versions.get(name) for name in ("corolla", "torch", "torchvision", "timm")}
        facts |= {name: known.get(name) for name in ("python", "device", "precision")}
        fingerprints = known.get("fingerprint") or {}
        facts |= {f"{split} data": _short(fingerprints.get(split)) for split in ("train", comparison.split)}
        for title, value in facts.items():
            columns.setdefault(title, []).append(cell(value))
    return make_table("What the runs were made with", columns)


def _short(text: str | None) -> str | None:
    if not text or len(text) < NUM_DIGITS:
        return text
    return text[:NUM_DIGITS] + ("-dirty" if text.endswith("-dirty") else "")
