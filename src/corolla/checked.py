"""Arguments from Python, held against the annotations: a wrong one is a line that names it and says what is expected.

The command line has its own parser for that. Here `epochs="3"`, `method="median"` or None for a folder would fail
somewhere inside, or worse, compute something.
"""

import collections.abc
import dataclasses
import difflib
import functools
import inspect
import numbers
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

from corolla.errors import UserError

LONGEST = 60  # characters of a value in a message
WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "text",
    os.PathLike: "a path",
    Mapping: "a dict",
}
OWN = ("corolla", "torch")
"""Packages whose classes are checked; what else an annotation says is left to the function."""
_Function = TypeVar("_Function", bound=Callable[..., Any])


def checked(function: _Function) -> _Function:
    """Return the function with its arguments checked; NumPy's numbers become Python's.

    A function with `options`, a dataclass, and `**changes` of single ones shows those in its signature, too.

    Raises:
        UserError: an argument is unknown (the nearest one is named), or its value is not of the annotated kind.
    """
    own, shown = inspect.signature(function), _shown_signature(function)
    takes_all = any(each.kind is each.VAR_KEYWORD for each in shown.parameters.values())

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for name in kwargs:
            if not takes_all:
                _check_known(name, list(shown.parameters))
        try:
            bound = own.bind(*args, **kwargs)
        except TypeError:
            return function(*args, **kwargs)  # whose own message says more
        for name, value in bound.arguments.items():
            parameter = own.parameters[name]
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                bound.arguments[name] = _as_annotated(name, value, parameter.annotation)
        return function(*bound.args, **bound.kwargs)

    call.__signature__ = shown  # pyright: ignore[reportAttributeAccessIssue] - inspect looks for it
    return cast("_Function", call)


def check_fields(options: object) -> None:
    """Check the values of a frozen dataclass of options, as its `__post_init__` does; text becomes a path.

    Raises:
        UserError: one is not of the annotated kind.
    """
    for field in dataclasses.fields(cast("Any", options)):
        value = _as_annotated(f"--{field.name.replace('_', '-')}", getattr(options, field.name), field.type)
        object.__setattr__(options, field.name, value)


def _shown_signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature with the fields of `options` in the place of `**changes`."""
    signature = inspect.signature(function)
    parameters = dict(signature.parameters)
    if not {"options", "changes"} <= parameters.keys():
        return signature
    changes = parameters.pop("changes")
    (kind,) = [kind for kind in get_args(parameters["options"].annotation) if dataclasses.is_dataclass(kind)]
    fields = [
        changes.replace(name=field.name, kind=changes.KEYWORD_ONLY, default=field.default, annotation=field.type)
        for field in dataclasses.fields(kind)
    ]
    return signature.replace(parameters=[*parameters.values(), *fields])


def _check_known(name: str, names: list[str]) -> None:
    if name not in names:
        raise UserError(f"unknown argument {name}; nearest: {difflib.get_close_matches(name, names, 1, 0.0)[0]}")


def _as_annotated(name: str, value: Any, hint: Any) -> Any:
    """Return an argument as its annotation has it."""
    kinds = _kinds(hint)
    if getattr(value, "shape", None) == () and hasattr(value, "tolist"):  # a number of NumPy's or torch's
        value = value.tolist()
    if any(_is_kind(value, kind) for kind in kinds):
        return value
    many = [kind for kind in kinds if get_origin(kind) in (collections.abc.Iterable, collections.abc.Sequence)]
    if many and isinstance(value, Iterable) and not isinstance(value, bytes | str):
        (each,) = get_args(many[0])
        return tuple(_as_annotated(name, element, each) for element in value)
    said = list(dict.fromkeys(word for kind in kinds if (word := _word(kind))))
    if os.PathLike in map(_origin, kinds):
        said = [word for word in said if word != "text"]
    expected = f"{', '.join(said[:-1])} or {said[-1]}" if len(said) > 1 else said[0]
    how = ", as text, a Path or a result" * ("a path" in said)
    is_told = value is None or any(get_origin(kind) is Literal for kind in kinds)
    what = "" if is_told else f", not {type(value).__name__}"
    raise UserError(f"{name} {short(value)}: {expected} is expected{how}{what}")


def _kinds(hint: Any) -> list[Any]:
    """Return the kinds of which an annotation allows each."""
    if get_origin(hint) is Annotated:
        return _kinds(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return [kind for each in get_args(hint) for kind in _kinds(each)]
    return [hint]


def _origin(kind: Any) -> Any:
    return os.PathLike if kind is Path else get_origin(kind) or kind


def _is_kind(value: Any, kind: Any) -> bool:
    """Return whether a value is of a kind; what this doesn't know is left to the function."""
    origin = _origin(kind)
    if origin is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if origin in (int, float):
        wanted = numbers.Integral if origin is int else numbers.Real
        return isinstance(value, wanted) and not isinstance(value, bool)
    if origin is os.PathLike:
        return isinstance(value, str | os.PathLike)
    if origin in (collections.abc.Iterable, collections.abc.Sequence):
        return False
    is_known = isinstance(origin, type) and origin.__module__.partition(".")[0] in OWN
    return isinstance(value, origin) if is_known or origin in WORDS or origin is NoneType else True


def _word(kind: Any) -> str | None:
    origin = _origin(kind)
    if origin is Literal:
        values = get_args(kind)
        return f"{', '.join(values[:-1])} or {values[-1]}"
    if origin is collections.abc.Iterable or origin is collections.abc.Sequence:
        return _word(_kinds(get_args(kind)[0])[0])
    return WORDS.get(origin) or (None if origin is NoneType else getattr(origin, "__name__", None))


def short(value: object) -> str:
    """Return a value for a message: in one line, and not too long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
