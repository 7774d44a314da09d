"""The words of a command line: tyro parses them, argparse prints what there is, and a mistake is one line.

tyro knows the types of a function's parameters and of a dataclass's fields; its own help breaks lines where the source
does and calls every path PATH, so the help is laid out by argparse, from the same functions and dataclasses.
"""

import argparse
import contextlib
import dataclasses
import difflib
import functools
import inspect
import io
import re
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from corolla.errors import UserError
from corolla.text_files import printable

METAVARS = {
    **dict.fromkeys(("data", "to"), "DATA"),
    **dict.fromkeys(("runs", "cache_dir", "resume", "init_from", "resume_from", "save"), "FOLDER"),
    **dict.fromkeys(("csv", "truth", "ledger", "solution", "corrections"), "CSV"),
    **dict.fromkeys(("out", "html", "json", "into", "lists"), "FILE"),
    **{"device": "DEVICE", "tta": "VIEWS", "competition": "SLUG", "notebook": "RUN", "wheels": "FOLDER"},
}
"""Words that stand for values, by the option's name."""
KINDS: dict[Any, str] = {int: "N", float: "X", str: "TEXT", Path: "PATH", bool: "True|False"}
MANY = {"runs": "RUN", "paths": "RUN|PHOTO", "words": "RUN|EXPERIMENT", "more": "FILE", "folders": "FOLDER"}
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


def parse(
    target: Callable[..., Any],
    *,
    prog: str,
    words: Sequence[str],
    default: Any = None,
    description: str | None = None,
    first: Sequence[str] = (),
) -> Any:
    """Return what `target`, a function or a dataclass, gives with the arguments in `words`.

    Args:
        prog: the command as it is typed.
        default: an instance of the dataclass whose values hold where no option is given.
        description: what the help begins with; default: the docstring.
        first: the options that --help shows; all others come with --help-all. Default: all.

    Raises:
        UserError: an option is not known (the message has the nearest one), or a value is refused.
        SystemExit: help was asked for, and was printed.
    """
    if {"-h", "--help", "--help-all"} & set(words):
        whole = not first or "--help-all" in words
        print(help_text(target, prog=prog, default=default, description=description, first=() if whole else first))
        raise SystemExit(0)
    known = {name for argument in arguments_of(target, default) for name in argument.names}
    _refuse_unknown(words, known, prog)
    import tyro

    # tyro would call the function while it parses: what this prints is no message of tyro's.
    parsed, said = target if inspect.isclass(target) else _postponed(target), io.StringIO()
    found: Any
    try:
        with contextlib.redirect_stderr(said):
            found = tyro.cli(parsed, prog=prog, args=words, **({} if default is None else {"default": default}))
    except SystemExit:
        raise UserError(f"{_in_a_line(said.getvalue())}; {prog} --help") from None
    return found if inspect.isclass(target) else found()


def _postponed(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function with the same parameters that returns the call instead of making it."""

    @functools.wraps(function)
    def postponed(*args: Any, **kwargs: Any) -> Callable[[], Any]:
        return functools.partial(function, *args, **kwargs)

    return postponed


def _in_a_line(box: str) -> str:
    """Return the message in a box of tyro's, without its title and what it says of the help."""
    lines = [line.strip("│| ") for line in box.splitlines()]
    borders = [number for number, line in enumerate(lines) if re.search("(─|-){3}[╮+]?$", line)]  # in ASCII for some
    first, end = borders[0] + 1, borders[1] if len(borders) > 1 else None
    said = " ".join(" ".join(lines[first:end]).removeprefix("Error parsing ").split())
    return re.sub(r"no type matching \{None\}\|(\w+) could be instantiated from \[(.*?)\]\. .*", r"\2 is no \1", said)


def _refuse_unknown(words: Sequence[str], known: set[str], prog: str) -> None:
    """Raise UserError for the first option that there is none of."""
    for word in words:
        option = word.partition("=")[0]
        if word == "--":
            return
        if not option.startswith("--") or option.replace("_", "-") in known:
            continue
        raise UserError(f"unknown option {printable(option)}; nearest: {_nearest(option, known)}; {prog} --help")


def _nearest(option: str, known: set[str]) -> str:
    """Return the option that was meant: of the same last part, else the one that is spelled most like it."""
    wanted = option.removeprefix("--").replace("_", "-")
    same = sorted(name for name in known if name.rpartition(".")[2].removeprefix("--") == wanted.rpartition(".")[2])
    if same:
        return " or ".join(same)
    spelled = {name.removeprefix("--"): name for name in known}
    spelled |= {name.rpartition(".")[2].removeprefix("--"): name for name in sorted(known)}
    return spelled[difflib.get_close_matches(wanted, sorted(spelled), 1, 0.0)[0]]


def help_text(
    target: Callable[..., Any],
    *,
    prog: str,
    default: Any = None,
    description: str | None = None,
    first: Sequence[str] = (),
) -> str:
    """Return the help of a command, its paragraphs as wide as the terminal."""
    arguments = list(arguments_of(target, default))
    shown = [argument for argument in arguments if not first or argument.name in first]
    if first:
        shown.sort(key=lambda argument: first.index(argument.name))
    places = [argument.metavar for argument in shown if not argument.is_option]
    parser = argparse.ArgumentParser(
        prog,
        usage=" ".join([prog.replace("%", "%%"), *places, "[OPTIONS]"]),
        description=description or (inspect.getdoc(target) or "").partition("\n\nArgs:")[0],
        epilog=f"{prog} --help-all lists the other {len(arguments) - len(shown)} options." if first else None,
        formatter_class=_Help,
        add_help=False,
        allow_abbrev=False,
    )
    groups = dict[str, Any]()
    for argument in shown:
        title = "the options that people use" if first else argument.group
        group = groups.setdefault(title, None) or parser.add_argument_group(title)
        groups[title] = group
        if argument.is_switch:
            group.add_argument(*argument.names, action="store_true", help=_described(argument))
        else:
            group.add_argument(argument.name, metavar=argument.metavar, help=_described(argument))
    return parser.format_help()


class _Help(argparse.HelpFormatter):
    """argparse's layout with paragraphs kept apart, and a positional argument under its metavar."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(super(_Help, self)._fill_text(part, width, indent) for part in text.split("\n\n"))


def _described(argument: Argument) -> str:
    said = argument.help
    is_told = argument.default in (None, "", ()) or isinstance(argument.default, bool) or "default: " in said
    value = " ".join(map(str, argument.default)) if isinstance(argument.default, tuple) else argument.default
    return (said if is_told or not argument.is_option else f"{said} (default: {value})").replace("%", "%%")


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
        return "|".join(dict.fromkeys(_metavar(name, each, None, is_positional=False) for each in kinds))
    return METAVARS.get(name, KINDS.get(kind, name.upper()))


def _descriptions(target: Callable[..., Any]) -> Mapping[str, str]:
    """Return what the docstrings say of each parameter or field, in one paragraph each."""
    import docstring_parser

    found = dict[str, str]()
    for cls in reversed(target.__mro__[:-1]) if inspect.isclass(target) else (target,):
        for parameter in docstring_parser.parse_from_object(cls).params:
            found[parameter.arg_name] = " ".join((parameter.description or "").split())
    return found
