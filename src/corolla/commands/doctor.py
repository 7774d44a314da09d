"""corolla doctor: what is wrong with this machine, and what fixes it."""

from pathlib import Path

from corolla.data.competition import SLUG
from corolla.errors import DONE, FAILED


def doctor(
    data: Path = Path("data"),
    runs: Path = Path("runs"),
    competition: str = SLUG,
    offline: bool = False,
) -> int:
    """Examine this machine, its data, credentials and runs: what is wrong, and what fixes it.

    Args:
        data: the data folder to look at.
        runs: the folder of runs to look at.
        competition: the slug, for what Kaggle mounts and whether its rules are accepted.
        offline: do not ask Kaggle whether it takes the credentials.
    """
    from corolla.doctor import doctor as examine

    report = examine(data=data, runs=runs, competition=competition, online=not offline)
    print(*report.lines(), sep="\n")
    print(f"faults: {len(report.faults)}" if report.faults else "no faults")
    return FAILED if report.faults else DONE
