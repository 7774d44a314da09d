"""The JSON beside a submission CSV: what made it, and whether the data are still those that it was made of."""

import hashlib
from pathlib import Path
from typing import Any

from corolla.data.class_names import read_class_names
from corolla.data.index import Index, find_index
from corolla.errors import UserError
from corolla.text_files import mismatch, read_json, read_unpacked, shell_words

SHAPE = {
    "data?": str,
    "runs?": [{"run": str, "checkpoint_sha256?": str}],
    "folders?": [str],
    "size?": (None, int),
    "test_fingerprint?": (None, str),
    "class_names?": (None, [str]),
    "val_macro_f1?": (None, float),
    "method?": str,
    "weights?": ([float], None),
    "tau?": (float, None),
    "prior?": ([float], None),
    "tta?": (None, str),
    "checkpoint?": (None, str),
    "members?": [{"run?": str, "file?": str, "of?": {str: object}}],
}
"""Keys that are read again; earlier versions wrote fewer."""


def made_by(csv: Path) -> Path:
    """Return where the JSON lies that says what made a CSV: beside it, also where it is packed."""
    return (csv.with_suffix("") if csv.suffix in (".gz", ".zip") and csv.stem.endswith(".csv") else csv).with_suffix(
        ".json"
    )


def sha256_of(csv: Path) -> str:
    """Return the SHA-256 of a CSV, the same where it is packed: it is the same submission."""
    return hashlib.sha256(read_unpacked(csv)).hexdigest()


def read_provenance(csv: Path, sha256: str | None = None) -> dict[str, Any]:
    """Read the JSON beside the CSV, if it is of this very CSV; that of something else is none of ours.

    Args:
        sha256: `sha256_of(csv)`, where it is known.

    Raises:
        UserError: it is damaged.
    """
    path = made_by(csv)
    if not path.exists():
        return {}
    remedy = f"it should say what made {csv.name}: move it away, or make both anew with corolla ensemble"
    made = read_json(path, object, remedy=remedy)
    if not isinstance(made, dict) or made.get("csv_sha256") != (sha256 or sha256_of(csv)):
        return {}
    if wrong := mismatch(made, SHAPE):
        raise UserError(f"{path}: {wrong}; {remedy}")
    return made


def can_run_again(made: dict[str, Any]) -> bool:
    """Return whether runs alone have made a CSV, as the JSON beside it says, so that a notebook can make it again."""
    runs, members = made.get("runs", []), made.get("members", [])
    are_runs = all("run" in member or member.get("of") for member in members)
    return bool(runs or members) and are_runs and len(made.get("folders", [])) == len(runs)


def found_from(csv: Path, folder: str) -> Path:
    """Return a folder that the JSON beside a CSV names, which may have been written from above the CSV's folder."""
    places = [Path(folder), *(above / folder for above in csv.absolute().parents)]
    return next((place for place in places if place.is_dir()), places[0])


def check_same_data(csv: Path, made: dict[str, Any], data: Path, cache_dir: Path | None = None) -> None:
    """Check that a data folder holds the test records and the classes that a CSV was made of, where the JSON tells.

    Ids do not tell: other records may have the same ones. Where the folder has no such records, only classes are told
    apart.

    Raises:
        UserError: it holds others; the message has the command that makes the CSV again.
        RecordFault: its files are damaged.
    """
    index = find_index(data, made.get("size"), cache_dir) if made.get("test_fingerprint") else None
    if index and "test" in index.splits and index.splits["test"].fingerprint != made["test_fingerprint"]:
        raise UserError(f"{csv}: is of other test records than {data} holds now; {make_again(csv, made, data)}")
    names = tuple(made.get("class_names") or ())
    if names and names != (_class_names(data, index) or names):
        raise UserError(
            f"{csv}: is of other classes than {data} has (classes.txt); put back the names that its runs were trained "
            "for, or train runs on these and join those with corolla ensemble"
        )


def _class_names(data: Path, index: Index | None) -> tuple[str, ...]:
    """Return the names of a folder's classes; empty where nothing there tells them."""
    if index is not None:
        return index.class_names
    path = data / "classes.txt"
    return read_class_names(path) if path.exists() else ()


def make_again(csv: Path, made: dict[str, Any], data: Path) -> str:
    """Return the remedy: the commands that make the CSV of the data as they are now, so far as the JSON tells them."""
    folders = [Path(folder) for folder in made.get("folders", [])]
    if not folders or made.get("members"):  # files of others are among them
        return "make its predictions again, then the CSV with corolla ensemble"
    views = ["--tta", made["tta"]] if made.get("tta") else []
    views += ["--checkpoint", "last"] if made.get("checkpoint") == "last" else []
    method = ["--method", made["method"]] if made.get("method") else []
    method += ["--adjust"] if made.get("tau") is not None else []
    predict = shell_words("corolla", "predict", *folders, *views, "--data", data)  # of val too, on which it is fitted
    out = made_by(csv).with_suffix(".csv")
    join = shell_words("corolla", "ensemble", *folders, *views, *method, "--data", data, "--out", out)
    return f"make it again: {predict} && {join}"
