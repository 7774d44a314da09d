"""The files in which Kaggle credentials may lie, and whether they hold any; what they hold is forgotten at once."""

import codecs
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from corolla.errors import UserError
from corolla.text_files import read_bytes, read_text

Environ = Mapping[str, str]


def kaggle_folder(environ: Environ) -> Path:
    """Return the client's own folder."""
    return Path(environ.get("HOME") or Path.home()) / ".kaggle"


def config_folders(environ: Environ) -> list[Path]:
    """Return the folders in which kaggle.json may be; the client reads the first one alone."""
    home = kaggle_folder(environ)
    folders = [Path(environ["KAGGLE_CONFIG_DIR"])] if environ.get("KAGGLE_CONFIG_DIR") else []
    if not sys.platform.startswith("linux"):
        return [*folders, home]
    xdg = Path(environ.get("XDG_CONFIG_HOME") or home.parent / ".config") / "kaggle"
    return [*folders, *([home, xdg] if is_there(home) else [xdg, home])]


def kaggle_json(environ: Environ) -> Path:
    """Return the kaggle.json that the client reads."""
    return config_folders(environ)[0] / "kaggle.json"


def token_files(environ: Environ) -> list[Path]:
    """Return the files in which a token may be."""
    home = kaggle_folder(environ)  # KAGGLE_CONFIG_DIR has no say here
    return [home / "access_token", home / "access_token.txt"]


def secret_files(environ: Environ) -> list[Path]:
    """Return the places of files with secrets; those that the client does not read may lie there all the same."""
    folders = dict.fromkeys([*config_folders(environ), kaggle_folder(environ)])
    names = ("kaggle.json", "access_token", "access_token.txt", "credentials.json")
    named = [Path(token)] if (token := environ.get("KAGGLE_API_TOKEN")) else []  # a token, or the name of its file
    return list(dict.fromkeys([*(folder / name for folder in folders for name in names), *named]))


def is_there(path: Path | str) -> bool:
    """Return whether there is such a file; what can't be looked at is not, as it is no file for the client."""
    return os.path.exists(path)  # noqa: PTH110 - Path.exists() raises, with the token, where it is too long


def has_text(path: Path | str) -> bool | None:
    """Return whether a token file holds anything, None where it can't be read; its text is forgotten at once."""
    try:
        return bool(read_text(Path(path)).strip())
    except (OSError, UserError):
        return None


def read_keys(path: Path) -> dict[str, bool]:
    """Read the keys of a JSON object, and whether each holds text.

    Raises:
        ValueError: what is wrong with the file, without a word of what it holds.
        OSError: it is not there or can't be read.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    try:
        content = read_bytes(path)
    except UserError:
        raise ValueError("is not a regular file") from None
    if content.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        name = "UTF-8 without that mark" if content.startswith(codecs.BOM_UTF8) else "UTF-8"
        raise ValueError(
            f"is not valid JSON: it begins with a byte order mark, as Notepad writes it; save it as {name}"
        )
    try:
        values = json.loads(content.decode())
    except json.JSONDecodeError as error:
        raise ValueError(f"is not valid JSON (line {error.lineno}, column {error.colno})") from None
    except (ValueError, RecursionError):
        raise ValueError("is not valid JSON") from None
    if not isinstance(values, dict):
        raise ValueError("holds no JSON object")
    return {key: isinstance(value, str) and bool(value.strip()) for key, value in values.items()}


def filled_keys(path: Path) -> set[str]:
    """Return the keys that hold text; none where the file is at fault, as the client passes over it without a word."""
    try:
        return {key for key, filled in read_keys(path).items() if filled}
    except (OSError, ValueError):
        return set()
