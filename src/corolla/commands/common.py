"""What the subcommands share: exit statuses, types of arguments, and how a command names the next one."""

import re
import shlex
from pathlib import Path
from typing import Annotated

import tyro

from corolla.cli import DONE as DONE
from corolla.cli import FAILED as FAILED
from corolla.cli import STOPPED as STOPPED
from corolla.cli import USER_ERROR as USER_ERROR
from corolla.errors import UserError

Folder = Annotated[Path, tyro.conf.Positional]
Paths = Annotated[tuple[Path, ...], tyro.conf.Positional]


def slug(competition: str | None) -> str | None:
    """A competition's slug, also out of its address."""
    if competition is None:
        return None
    name = re.sub(r"^.*kaggle\.com/(?:competitions|c)/([^/?#]+).*$", r"\1", competition.strip())
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", name):
        raise UserError(f"--competition {competition}: a slug is expected, such as tpu-getting-started")
    return name


def next_command(*words: object) -> str:
    """The command to go on with, as a shell takes it."""
    return f"next: corolla {shlex.join(map(str, words))}"
