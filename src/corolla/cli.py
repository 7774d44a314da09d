"""The command line: one subcommand per stage, in the order of the pipeline. Each stands in `corolla.commands`."""

import io
import os
import signal
import sys
from collections.abc import Callable, Sequence

import tyro

from corolla.commands.audit import audit
from corolla.commands.common import DONE, FAILED, STOPPED, USER_ERROR
from corolla.commands.compare import compare
from corolla.commands.data import check, download, show, stats, synth
from corolla.commands.learn import ensemble, predict, score, train
from corolla.commands.photos import import_
from corolla.commands.study import report, runs
from corolla.commands.submit import doctor, leaderboard, submissions, submit
from corolla.errors import Failure, UserError

COMMANDS: dict[str, Callable[..., int]] = {
    command.__name__.rstrip("_"): command
    for command in (
        *(download, synth, import_, check, audit, stats, show),
        *(train, runs, predict, compare, report, ensemble, score),
        *(submit, submissions, leaderboard, doctor),
    )
}


def usage() -> str:
    """The stages in the order of the pipeline, a line each."""
    lines = (f"  {name:12} {(command.__doc__ or '').splitlines()[0]}" for name, command in COMMANDS.items())
    return "\n".join(
        [
            "corolla: from the 104-class flower TFRecords to a scored Kaggle submission",
            "",
            "usage: corolla STAGE [OPTIONS]",
            "",
            *lines,
            "",
            "corolla STAGE --help lists a stage's options.",
        ]
    )


def run_command(arguments: Sequence[str]) -> int:
    """Parse and run; the exit status."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return DONE
    name, *rest = arguments
    if name == "--version":
        from importlib.metadata import version

        print(version("corolla"))
        return DONE
    if name not in COMMANDS:
        import difflib

        nearest = difflib.get_close_matches(name, COMMANDS, 1, 0.0)[0]
        raise UserError(f"corolla has no stage {name}; nearest: {nearest}; corolla --help lists them all")
    command = COMMANDS[name]
    if command is train:
        return train(rest)
    return tyro.cli(command, prog=f"corolla {name}", args=rest)


def main() -> int:
    """The entry point; exit status 0 done, 2 the user's mistake, 75 stopped with a checkpoint, 1 anything else."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without some letter shows another in its place
            stream.reconfigure(errors="replace")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # says as much as Ctrl-C does; training has its own
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
        resumes = sys.argv[1:2] in (["download"], ["submit"])
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
