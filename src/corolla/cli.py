"""The command line: `corolla STAGE [OPTIONS]`. Each stage is a file of `corolla.commands`."""

import io
import logging
import os
import signal
import sys
from collections.abc import Sequence

from corolla import commands, logs
from corolla.errors import DONE, FAILED, STOPPED, USER_ERROR, Failure, UserError
from corolla.text_files import printable

log = logging.getLogger(__name__)

OLD_OPTIONS = {"--index": "--cache-dir"}
"""Options of the last release under other names; they go with the next one."""


def usage() -> str:
    """Return the stages in the order of the pipeline, a line each."""
    summaries = commands.summaries()
    width = max(map(len, summaries))
    return "\n".join(
        [
            "corolla: from the 104-class flower TFRecords to a scored Kaggle submission",
            "",
            "usage: corolla STAGE [OPTIONS]",
            "",
            *(f"  {name:{width}}  {summary}" for name, summary in summaries.items()),
            "",
            "corolla STAGE --help lists a stage's options.",
        ]
    )


def run_command(arguments: Sequence[str]) -> int:
    """Parse the arguments, run the stage and return the exit status."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return DONE
    name, *rest = arguments
    if name == "help":  # as other programs have it
        return run_command([*rest, "--help"])
    if name == "--version":
        from importlib.metadata import version

        print(version("corolla"))
        return DONE
    stages = commands.summaries()
    if name not in stages:
        import difflib

        if name.startswith("-"):
            raise UserError(f"unknown option {printable(name)}: a stage is expected; corolla --help lists them all")
        nearest = difflib.get_close_matches(name.lower(), stages, 1, 0.0)[0]
        raise UserError(f"corolla has no stage {printable(name)}; nearest: {nearest}; corolla --help lists them all")
    for word in rest:
        if any("\ud800" <= letter <= "\udfff" for letter in word):  # bytes that are no UTF-8, as Python keeps them
            raise UserError(
                f"{printable(word)}: this name is not UTF-8; rename it, or make a link to it with another name"
            )
    rest = [_as_today(word) for word in rest]
    module = commands.load(name)
    if hasattr(module, "run"):  # a stage that parses its arguments by itself
        return module.run(rest)
    from corolla.arguments import parse

    return parse(getattr(module, module.__name__.rpartition(".")[2]), prog=f"corolla {name}", words=rest)


def _as_today(word: str) -> str:
    """Return an option of the last release under the name it has now."""
    option, equals, value = word.partition("=")
    if option not in OLD_OPTIONS:
        return word
    log.warning("%s is called %s now; the old name goes with the next release", option, OLD_OPTIONS[option])
    return OLD_OPTIONS[option] + equals + value


def main() -> int:
    """Run the command line; exit status 0 done, 2 the user's mistake, 75 stopped to be resumed, 1 anything else."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without some letter shows another in its place
            stream.reconfigure(errors="replace")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # says as much as Ctrl-C does; training has its own
    logs.to_screen()
    try:
        status = run_command(sys.argv[1:])
        sys.stdout.flush()  # so that a pipe that was closed is found here
        return status
    except UserError as error:
        print(error, file=sys.stderr)
        return USER_ERROR
    except Failure as error:
        print(error, file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        resumes = sys.argv[1:2] in (["download"], ["submit"], ["study"], ["cv"])
        print("interrupted" + "; the same command goes on where it stopped" * resumes, file=sys.stderr)
        return STOPPED if resumes else FAILED
    except BrokenPipeError:  # `corolla stats | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:  # no such folder, not writable, disk full
        if error.filename is None and error.errno is None:
            raise
        print(f"{error.filename or 'corolla'}: {error.strerror}", file=sys.stderr)
        return USER_ERROR
