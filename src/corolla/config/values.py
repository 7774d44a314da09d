"""Types of the values that a setting may have, beside Python's own."""

import re
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator, BeforeValidator

Count = Annotated[int, Ge(1)]
NonNegativeInt = Annotated[int, Ge(0)]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Aspect = Annotated[float, Ge(1e-3), Le(1e3)]
Side = Annotated[int, Ge(1), Le(1 << 16)]
Share = Annotated[float, Gt(0), Le(1)]
Decay = Annotated[float, Ge(0), Lt(1)]
Probability = Annotated[float, Ge(0), Le(1)]


def _ascending(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError("the smaller number comes first")
    return pair


Ascending = AfterValidator(_ascending)


def _sha256(digits: str) -> str:
    found = digits.strip().lower()
    if not re.fullmatch(r"([0-9a-f]{64})?", found):
        raise ValueError("a SHA-256 of 64 hexadecimal digits is expected")
    return found


def _fold(text: str | None) -> str | None:
    if text is None:
        return None
    found = re.fullmatch(r"0*([1-9][0-9]{0,3})/0*([1-9][0-9]{0,3})", text.strip())
    if not found or int(found[2]) < 2 or int(found[1]) > int(found[2]):
        raise ValueError("a fold and their number are expected, such as 1/5, the first of five")
    return f"{found[1]}/{found[2]}"


Fold = Annotated[str | None, AfterValidator(_fold)]
"""K/N: fold K of N, or none."""


def _run_name(name: str) -> str:
    if name in (".", "..") or any(mark in name for mark in "/\\\0") or (name and not name.strip()):
        raise ValueError("a run's name is the name of one folder, without a slash; --runs says where it lies")
    return name


RunName = Annotated[str, AfterValidator(_run_name)]
"""The name of a folder in the folder of runs; a path would be trained into, wherever it leads."""

Sha256 = Annotated[str, AfterValidator(_sha256)]
"""Empty, or a SHA-256 in hex, also as it was pasted."""


def _accumulate(parts: object) -> object:
    """Check it whole: of a type that is one of two, pydantic would tell what each of them wants."""
    if parts == "auto" or (isinstance(parts, int) and not isinstance(parts, bool) and parts >= 1):
        return parts
    raise ValueError("a whole number of at least 1, or auto, is expected")


Accumulate = Annotated[int | Literal["auto"], BeforeValidator(_accumulate)]


def _gpus(number: object) -> object:
    if number is None or number == "all" or (isinstance(number, int) and not isinstance(number, bool) and number >= 1):
        return number
    raise ValueError("a whole number of at least 1, or all, is expected")


# None is within: tyro 1.0 fails over a validator inside of a union.
Gpus = Annotated[int | Literal["all"] | None, BeforeValidator(_gpus)]
