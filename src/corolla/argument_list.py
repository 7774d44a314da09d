"""The arguments of a command, from the function or the dataclass that takes them and from what their docstrings say."""

import dataclasses
import inspect
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

METAVARS = {
    **dict.fromkeys(("data", "to"), "DATA"),
    **dict.fromkeys(("runs", "cache_dir", "resume", "init_from", "resume_from", "save", "folder"), "FOLDER"),
    **dict.fromkeys(("csv", "truth", "ledger", "solution", "corrections"), "CSV"),
    **dict.fromkeys(("out", "html", "json", "into", "lists", "classes", "records"), "FILE"),
    **{"device": "DEVICE", "tta": "VIEWS", "competition": "SLUG", "wheels": "FOLDER"},
}
"""Words that stand for values, by the option's name."""
KINDS: dict[Any, str] = {int: "N", float: "X", str: "TEXT", Path: "PATH", bool: "True|False"}
MANY = {
    "runs": "RUN",
    "csv_or_runs": "CSV|RUN",
    "members": "RUN|FILE",
    "files": "CSV",
    "paths": "RUN|PHOTO",
    "words": "RUN|EXPERIMENT",
    "more": "FILE",
    "folders": "RUN",
    "studies": "STUDY",
}
"""Words for positional arguments of which there may be several."""


@dataclass(frozen=True)
class Argument:
    """A positional argument, or an option with its value."""

    name: str
    """--train.epochs, or a positional argument's metavar."""
    group: str
    metavar: str
    help: str
    default: Any
    is_switch: bool

    @property
    def is_option(self) -> bool:
        return self.name.startswith("--")

    @property
    def names(self) -> tuple[str, ...]:
        """The option, and for a switch how it is turned off."""
        if not self.is_switch:
            return (self.name,)
        before, dot, last = self.name.removeprefix("--").rpartition(".")
        return self.name, f"--{before}{dot}no-{last}"


def arguments_of(
    target: Callable[..., Any], default: Any = None, prefix: str = "", group: str = "options"
) -> Iterator[Argument]:
    """Yield the arguments of a function or a dataclass, those of the dataclasses in it among them.

    Args:
        default: an instance of the dataclass, whose values are the defaults.
        prefix: before each option's name, such as `train.`.
    """
    hints, said = get_type_hints(target, include_extras=True), _descriptions(target)
    for name, value, is_positional in _fields(target, default):
        kind, alias = _plain(hints[name])
        option = (alias if alias is not None else name.rstrip("_")).replace("_", "-")
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            nested = f"{prefix}{option}." if option else prefix
            yield from arguments_of(kind, value, nested, f"{option} options" if option else group)
            continue
        metavar = _metavar(name, kind, value, is_positional=is_positional)
        shown = metavar if is_positional else f"--{prefix}{option}"
        yield Argument(
            name=shown,
            group="arguments" if is_positional else group,
            metavar=metavar,
            help=said.get(name, ""),
            default=value,
            is_switch=kind is bool,
        )


def _fields(target: Callable[..., Any], default: Any) -> Iterator[tuple[str, Any, bool]]:
    """Yield name, default (None: none) and whether it is positional."""
    if isinstance(target, type) and dataclasses.is_dataclass(target):
        instance = target() if default is None else default
        yield from ((field.name, getattr(instance, field.name), False) for field in dataclasses.fields(target))
        return
    for name, parameter in inspect.signature(target).parameters.items():
        value = None if parameter.default is parameter.empty else parameter.default
        yield name, value, parameter.kind is parameter.POSITIONAL_ONLY


def _plain(hint: Any) -> tuple[Any, str | None]:
    """Return a type without its annotations and without None, and the name that they give the option."""
    alias = None
    while get_origin(hint) in (Annotated, Union, types.UnionType):
        if get_origin(hint) is Annotated:
            hint, *marks = get_args(hint)
            alias = next((mark.name for mark in marks if getattr(mark, "name", None) is not None), alias)
            continue
        kinds = [kind for kind in get_args(hint) if kind is not type(None)]
        if len(kinds) > 1 or kinds == [bool]:  # such a switch may be None as well, and takes a value
            break
        hint = kinds[0]
    return hint, alias


def _metavar(name: str, kind: Any, default: Any, *, is_positional: bool) -> str:
    """Return the word that stands for a value: its choices, or by the name or the type what it is."""
    if get_origin(kind) is Literal:
        return "{" + ",".join(map(str, get_args(kind))) + "}"
    if get_origin(kind) is tuple:
        of = _plain(get_args(kind)[0])[0]
        word = (MANY if is_positional else METAVARS).get(name) or _metavar(name, of, None, is_positional=False)
        many = f"{word}…" if Ellipsis in get_args(kind) else " ".join([word] * len(get_args(kind)))
        return f"[{many}]" if is_positional and name == "more" else many
    if is_positional:
        word = name.rstrip("_").upper()
        return word if default is None and name not in ("experiment", "csv") else f"[{word}]"
    if get_origin(kind) in (Union, types.UnionType):
        kinds = [_plain(each)[0] for each in get_args(kind) if each is not type(None)]
        words = (_metavar(name, each, None, is_positional=False).strip("{}") for each in kinds)
        return "|".join(dict.fromkeys(words))
    return METAVARS.get(name, KINDS.get(kind, name.upper()))


def _descriptions(target: Callable[..., Any]) -> Mapping[str, str]:
    """Return what the docstrings say of each parameter or field, in one paragraph each."""
    import docstring_parser

    found = dict[str, str]()
    for cls in reversed(target.__mro__[:-1]) if inspect.isclass(target) else (target,):
        for parameter in docstring_parser.parse_from_object(cls).params:
            found[parameter.arg_name] = " ".join((parameter.description or "").split())
    return found
