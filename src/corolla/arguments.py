"""The words of a command line: tyro parses them, argparse prints what there is, and a mistake is one line.

tyro knows the types of a function's parameters and of a dataclass's fields; its own help breaks lines where the source
does and calls every path PATH, so the help is laid out by argparse, from the same functions and dataclasses.
"""

import argparse
import contextlib
import difflib
import functools
import inspect
import io
import itertools
import re
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from corolla.argument_list import Argument, arguments_of
from corolla.errors import UserError
from corolla.text_files import printable


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
    arguments = list(arguments_of(target, default))
    _refuse_unknown(words, arguments, prog)
    import tyro

    # tyro would call the function while it parses: what this prints is no message of tyro's.
    parsed, said = target if inspect.isclass(target) else _postponed(target), io.StringIO()
    found: Any
    try:
        with contextlib.redirect_stderr(said):
            found = tyro.cli(parsed, prog=prog, args=words, **({} if default is None else {"default": default}))
    except SystemExit:
        raise UserError(f"{_in_a_line(said.getvalue(), arguments, words)}; {prog} --help") from None
    return found if inspect.isclass(target) else found()


def _postponed(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function with the same parameters that returns the call instead of making it."""

    @functools.wraps(function)
    def postponed(*args: Any, **kwargs: Any) -> Callable[[], Any]:
        return functools.partial(function, *args, **kwargs)

    return postponed


def _in_a_line(box: str, arguments: Sequence[Argument], words: Sequence[str]) -> str:
    """Return the message in a box of tyro's as people say it: what is expected, in the words of the help."""
    lines = [line.strip("│| ") for line in box.splitlines()]
    borders = [number for number, line in enumerate(lines) if re.search("(─|-){3}[╮+]?$", line)]  # in ASCII for some
    first, end = borders[0] + 1, borders[1] if len(borders) > 1 else None
    said = " ".join(" ".join(lines[first:end]).removeprefix("Error parsing ").split())
    if said.startswith("Missing from") and (missing := [each for each in arguments if f" {each.help} " in said]):
        shown = [f"{each.name} {each.metavar}" if each.is_option else each.metavar for each in missing]
        return f"{' and '.join(shown)} {'is' if len(shown) == 1 else 'are'} missing"
    if found := re.match(r"Unrecognized options:(.*)", said):
        unknown = found[1].replace(", ", " ").strip() or "an empty word (a variable of the shell that is not set?)"
        return f"{unknown}: nothing more is expected"
    wrong = next((each for each in arguments if re.search(rf"(?<![\w-]){re.escape(each.name)}(?![\w.-])", said)), None)
    if wrong is None:  # a positional argument, which has another name there
        choices = next((each for each in arguments if each.metavar.startswith("{") and not each.is_option), None)
        chosen = re.match(r"invalid choice '(.*?)' for argument", said)
        return f"{chosen[1]}: {_expected(choices.metavar)}" if chosen and choices else said
    values = _values_of(wrong.name, words)
    return f"{wrong.name} {' '.join(values)}".rstrip() + f": {_expected(wrong.metavar)}"


def _values_of(option: str, words: Sequence[str]) -> list[str]:
    """Return the words behind the last place of an option."""
    names = [word.partition("=")[0].replace("_", "-") for word in words]
    place = max((place for place, name in enumerate(names) if name == option), default=len(words) - 1)
    if "=" in words[place]:
        return [words[place].partition("=")[2]]
    return list(itertools.takewhile(lambda word: not word.startswith("--"), words[place + 1 :]))


def _expected(metavar: str) -> str:
    """Return what is expected where a metavar stands: `N` is a whole number."""
    if metavar.endswith("…"):
        return f"one or more values are expected, each {_kind_of(metavar.removesuffix('…'))}"
    several = metavar.split(" ")
    number = f"{len(several)} values are expected, each " if len(several) > 1 else ""
    return number + _kind_of(several[0]) + " is expected" * (not number)


def _kind_of(metavar: str) -> str:
    kinds = metavar.strip("{}").split("," if metavar.startswith("{") else "|")
    said = [{"N": "a whole number", "X": "a number"}.get(kind, kind) for kind in kinds]
    return f"{', '.join(said[:-1])} or {said[-1]}" if len(said) > 1 else said[0]


def _refuse_unknown(words: Sequence[str], arguments: Sequence[Argument], prog: str) -> None:
    """Raise UserError for the first option that there is none of, or that takes no value but has one."""
    known = {name: each for each in arguments if each.is_option for name in each.names}
    for word in words:
        option, equals, value = word.partition("=")
        if word == "--":
            return
        if not option.startswith("-") or option == "-" or re.match(r"-[\d.]", option):
            continue
        found = known.get(option.replace("_", "-"))
        if found is not None and equals and found.is_switch:
            raise UserError(f"{option} takes no value: leave ={value} out, or write {found.names[1]}")
        if found is None:
            nearest = f"; nearest: {_nearest(option, set(known))}" if known else ""
            raise UserError(f"unknown option {printable(option)}{nearest}; {prog} --help")


def _nearest(option: str, known: set[str]) -> str:
    """Return the option that was meant: of the same last part, of the same words, or else spelled most like it."""
    wanted = option.lstrip("-").replace("_", "-").lower()
    last = {name: name.rpartition(".")[2].removeprefix("--") for name in sorted(known)}
    if f"--{wanted}.name" in known:  # a section
        return f"--{wanted}.name"
    if same := [name for name in last if last[name] == wanted.rpartition(".")[2]]:
        return " or ".join(same)
    if begun := [name for name in last if last[name].startswith(f"{wanted}-")]:
        return " or ".join(begun[:3])
    spelled = {name.removeprefix("--"): name for name in known} | {last[name]: name for name in last}
    return spelled[difflib.get_close_matches(wanted, sorted(spelled), 1, 0.0)[0]]


def help_text(
    target: Callable[..., Any],
    *,
    prog: str,
    default: Any = None,
    description: str | None = None,
    first: Sequence[str] = (),
    below: str = "",
) -> str:
    """Return the help of a command, its paragraphs as wide as the terminal, and `below` the options more of it."""
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
    return parser.format_help() + below


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
