"""The command line: one subcommand per stage, in the order of the pipeline. Each stands in `corolla.commands`.

What is listed here is what `corolla --help` prints, so that it need not import a stage, let alone torch.
"""

import importlib
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence

from corolla.errors import Failure, UserError

DONE, FAILED, USER_ERROR, STOPPED = 0, 1, 2, 75

COMMANDS: dict[str, tuple[str, str]] = {
    "download": (
        "data",
        "Fetch one size of the competition's TFRecords from Kaggle, every file verified; go on where it stopped.",
    ),
    "synth": (
        "data",
        "Draw the embedded data set: 104 kinds of flowers in the competition's layout.",
    ),
    "import": (
        "photos",
        "Turn folders of your own photos, a class each, into TFRecords that every other stage takes.",
    ),
    "check": (
        "data",
        "Read everything, verify every checksum, decode every JPEG; print every fault.",
    ),
    "audit": (
        "audit",
        "Find duplicates within and across splits, suspect labels, odd photos and class imbalance.",
    ),
    "stats": (
        "data",
        "Exact channel means, standard deviations and colour eigenvectors; images per class; image sizes.",
    ),
    "show": (
        "data",
        "A contact sheet as PNG: photos of each class with its number and name, or what a network is given of them.",
    ),
    "train": (
        "learn",
        "Train an experiment, a TOML file or a run's config.json; the same command again goes on where it stopped.",
    ),
    "runs": (
        "study",
        "All runs in a table: experiment, seed, epochs, macro F1, minutes, state.",
    ),
    "predict": (
        "learn",
        "Predict a split with trained runs: ids and probabilities into runs/NAME/predictions.",
    ),
    "compare": (
        "compare",
        "Compare runs on val: scores with their spread, what differs, courses, costs; CSV, JSON, HTML report.",
    ),
    "report": (
        "study",
        "The README's table of results from run folders: means over seeds, each line with its command.",
    ),
    "ensemble": (
        "learn",
        "Join the test predictions of one run or several into a checked submission CSV.",
    ),
    "score": (
        "learn",
        "Score submissions against the true labels: macro F1, accuracy, the worst classes; several as a table.",
    ),
    "submit": (
        "submit",
        "Send a CSV, or with --notebook runs as a notebook, to Kaggle exactly once; wait for the score and record it.",
    ),
    "submissions": (
        "submit",
        "The ledger beside what Kaggle lists; scores that came later are filled in.",
    ),
    "leaderboard": (
        "submit",
        "The top of the leaderboard, where your best submission stands, and how the scores are spread.",
    ),
    "doctor": (
        "submit",
        "What this machine offers, which data and credentials are there, what is wrong, and what mends it.",
    ),
    "bench": (
        "bench",
        "Measure the input pipeline, the training loop or inference, as ratios to a reference in the same run.",
    ),
}
"""Stage to its module and the first line of its help."""


def usage() -> str:
    """The stages in the order of the pipeline, a line each."""
    lines = (f"  {name:12} {summary}" for name, (_, summary) in COMMANDS.items())
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
    command = find_command(name)
    if name == "train":  # reads its arguments by itself: the experiment decides the defaults of the options
        return command(rest)
    import tyro

    return tyro.cli(command, prog=f"corolla {name}", args=rest)


def find_command(name: str) -> Callable[..., int]:
    """The function of a stage; its name has an underscore where Python has that word for itself."""
    module = importlib.import_module(f"corolla.commands.{COMMANDS[name][0]}")
    return getattr(module, name, None) or getattr(module, f"{name}_")


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
