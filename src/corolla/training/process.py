"""One of the processes that --gpus starts: it trains what a file says, and leaves its error in another one."""

import json
import sys
from pathlib import Path

from corolla import logs
from corolla.config import from_dict
from corolla.errors import DONE, STOPPED
from corolla.started_process import status_of
from corolla.training.train import train_here


def main(path: Path) -> int:
    """Train, and return the exit status."""
    values = json.loads(path.read_text(encoding="utf-8"))
    logs.to_screen()

    def work() -> int:
        run = train_here(from_dict(values["config"]), values["experiment"], values["explicit"])
        return DONE if run.state == "done" else STOPPED

    return status_of(work, path.with_suffix(".error"))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
