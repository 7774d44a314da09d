"""What the subcommands share: exit statuses, types of arguments, and how a command names the next one."""

import shlex
from pathlib import Path
from typing import Annotated

import tyro

DONE, FAILED, USER_ERROR, STOPPED = 0, 1, 2, 75

Folder = Annotated[Path, tyro.conf.Positional]
Paths = Annotated[tuple[Path, ...], tyro.conf.Positional]


def next_command(*words: object) -> str:
    """The command to go on with, as a shell takes it."""
    return f"next: corolla {shlex.join(map(str, words))}"
