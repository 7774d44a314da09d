"""The table of settings in a TOML or JSON file, and what in it can be no setting whatever its key."""

import math
import tomllib
from datetime import date, time
from pathlib import Path
from typing import Any

from corolla.errors import UserError
from corolla.text_files import not_text, parse_json, printable, read_text

MAX_DEPTH = 4
"""No setting lies deeper in a file: a table, a section, a list, and one more for the message on its type."""


def unfit(value: Any, key: str = "", depth: int = 0) -> str | None:
    """Return what keeps a value from being kept in config.json, in one line that names the key; None where nothing."""
    if isinstance(value, dict | list | tuple) and depth > MAX_DEPTH:
        return f"{key}: is nested too deep for a setting"
    if isinstance(value, dict):
        for name, each in value.items():
            if wrong := unfit(each, f"{key}.{printable(name)}".lstrip("."), depth + 1):
                return wrong
    elif isinstance(value, list | tuple):
        return next(filter(None, (unfit(each, key, depth + 1) for each in value)), None)
    elif isinstance(value, float) and not math.isfinite(value):
        return f"{key} = {value}: a finite number is expected"
    elif isinstance(value, int) and abs(value) >= 1 << 63:  # 0x… of any length gets past Python's limit on digits
        return f"{key}: the number is too large"
    elif isinstance(value, str) and not_text(value, key):
        return f"{key} = {printable(value)}: is not UTF-8 text; rename it, or make a link to it with another name"
    elif not isinstance(value, str | int | float | None):
        return f"{key} = {printable(value)}: {_what_else(value)}"
    return None


def _what_else(value: object) -> str:
    """Say what a value is that is neither text, a number nor a switch: of a file's values only dates are left."""
    if isinstance(value, date | time):
        return "a date or time is no setting; text stands in quotes"
    return f"{type(value).__name__} is no type of a setting; text, a number, True or False is expected"


def read_settings(path: Path) -> dict[str, Any]:
    """Return the table in a TOML or JSON file.

    Raises:
        UserError: there is no such file, or it does not hold a table.
    """
    text = read_text(path)
    if path.suffix.lower() == ".json":
        values = parse_json(text, object, source=str(path))
    else:
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{path}: {error}") from None
        except RecursionError:
            raise UserError(f"{path}: is nested too deep") from None
        except ValueError:  # Python's limit on digits
            raise UserError(f"{path}: holds a number of thousands of digits") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: a table of settings is expected")
    return values
