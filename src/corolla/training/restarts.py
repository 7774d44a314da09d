"""A run that was asked to stop, and what torchrun starts again.

To torchrun, which knows no exit status but 0, a training that was stopped (75) has failed: where it may
(--max-restarts), it starts all processes again. They find here that they are not wanted, and end without a step.
"""

import os
from collections.abc import Mapping

from corolla.runs.folder import Run
from corolla.runs.writing import add_to_environment


def note_stop(run: Run, environ: Mapping[str, str] = os.environ) -> None:
    """Note in environment.json that the run was asked to stop, where torchrun has started this process."""
    if rendezvous := environ.get("TORCHELASTIC_RUN_ID"):
        add_to_environment(run, stopped={"rendezvous": rendezvous, "restarts": _restarts(environ)})


def was_stopped(run: Run, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether the run was asked to stop before torchrun started this process again.

    It was where the note is of the same rendezvous and of fewer restarts: another torchrun begins to count at 0.
    """
    stopped = run.environment.get("stopped")
    rendezvous = environ.get("TORCHELASTIC_RUN_ID")
    return bool(stopped) and stopped["rendezvous"] == rendezvous and stopped["restarts"] < _restarts(environ)


def _restarts(environ: Mapping[str, str]) -> int:
    return int(environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
