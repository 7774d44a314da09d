"""A process that corolla starts beside itself leaves an exit status, and its error as a file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from corolla.errors import DONE, FAILED, USER_ERROR, Failure, UserError


def status_of(work: Callable[[], int | None], said: Path) -> int:
    """Do the work of the started process and return its exit status; an error goes into the file `said`.

    Of several processes, one that was only left alone leaves the file to the one that has failed.
    """
    try:
        return work() or DONE
    except (UserError, Failure) as error:
        is_users = isinstance(error, UserError)
        if not is_users and error.is_consequence and said.exists():
            return FAILED
        said.write_text(json.dumps({"text": str(error), "is_users": is_users}), encoding="utf-8")
        return USER_ERROR if is_users else FAILED


def raise_error_of(name: str, said: Path) -> NoReturn:
    """Raise the error that the started process, or one of several, has left in the file `said`.

    Raises:
        UserError, Failure: always.
    """
    if not said.exists():
        raise Failure(f"{name} has ended")
    error = json.loads(said.read_text(encoding="utf-8"))
    raise (UserError if error["is_users"] else Failure)(error["text"])
