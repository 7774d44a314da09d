"""Show the library's log lines on the screen, for the command line and for notebooks."""

import logging
import sys


class _ToScreen(logging.Handler):
    """Notes to standard output, warnings to standard error, above a progress bar where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        serious = record.levelno >= logging.WARNING
        text = ("warning: " if serious else "") + record.getMessage()
        stream = sys.stderr if serious else sys.stdout
        if "tqdm" in sys.modules:
            from tqdm import tqdm

            tqdm.write(text, file=stream)
        else:
            print(text, file=stream)
        stream.flush()


def to_screen() -> None:
    """Show what corolla logs, in plain lines; calling it again changes nothing."""
    log = logging.getLogger("corolla")
    log.setLevel(logging.INFO)
    log.propagate = False  # where a root logger has a handler too, lines would be there twice
    if not any(isinstance(handler, _ToScreen) for handler in log.handlers):
        log.addHandler(_ToScreen())
