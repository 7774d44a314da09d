"""Examine the kaggle client and the credentials, and ask Kaggle whether it takes them."""

import importlib.util
import re
from collections.abc import Iterator, Mapping

from corolla.data.mounts import mount_problem, mounted_data
from corolla.doctor.machine import version_of
from corolla.doctor.report import Finding
from corolla.errors import Failure, UserError
from corolla.kaggle.credentials import credential_faults, find_credentials, how_to_get_credentials
from corolla.session import in_kaggle


def client_findings() -> Iterator[Finding]:
    """Examine the installed client without importing it, because its import goes to the network."""
    missing = [name for name in ("kaggle", "six") if importlib.util.find_spec(name) is None]
    version = version_of("kaggle") or "0"
    numbers = tuple(map(int, re.findall(r"\d+", version)[:3]))
    remedy = "pip install 'kaggle>=2.2.4,<3' 'six>=1.16'"
    if missing:
        text = f"{' and '.join(missing)} not installed; the kaggle client cannot be imported"
        yield Finding("kaggle", "fault", text, remedy)
    elif not (2, 2, 4) <= numbers < (3,):
        yield Finding("kaggle", "fault", f"the client {version} is none that corolla works with", remedy)
    else:
        yield Finding("kaggle", "ok", f"client {version}")


def credential_findings(environ: Mapping[str, str] | None, *, has_data: bool) -> Iterator[Finding]:
    """List the credentials and their faults; having none matters less where there is data."""
    found = find_credentials(environ)
    for number, credential in enumerate(found):
        role = "" if number == 0 else ", not used because of the first"
        yield Finding("credentials", "ok", f"{credential.kind}: {credential.place}{role}")
    if not found:
        text = "none, and download and submit need some"
        yield Finding("credentials", "note" if has_data else "fault", text, how_to_get_credentials(environ))
    for fault in credential_faults(environ):
        yield Finding("credentials", "fault" if fault.certain else "note", fault.what, fault.remedy)


def session_findings(competition: str) -> Iterator[Finding]:
    """Examine the mounted data in a session on Kaggle."""
    if problem := mount_problem(competition):
        what, _, remedy = problem.partition(": ")
        yield Finding("Kaggle session", "fault", what, remedy)
    elif in_kaggle():
        yield Finding("Kaggle session", "ok", f"the data is mounted at {mounted_data(competition)}")


def account_findings(competition: str, *, patience_s: float = 5.0) -> Iterator[Finding]:
    """Ask Kaggle whether it takes the credentials, and whether the competition's rules are accepted: one request."""
    from corolla.kaggle.client import connect
    from corolla.kaggle.submissions import get_competition

    try:
        kaggle = connect(timeout_s=10, patience_s=patience_s, quiet=True)
        about = get_competition(kaggle, competition)
    except UserError as error:
        what, _, remedy = str(error).rpartition(": ") if ": " in str(error) else (str(error), "", "see above")
        yield Finding("Kaggle", "fault", what or str(error), remedy)
    except Failure as error:
        yield Finding("Kaggle", "note", f"{error}; whether the credentials work is not known", "corolla doctor, online")
    else:
        yield Finding("Kaggle", "ok", f"signed in as {kaggle.username}")
        if not about.user_has_entered:
            rules = f"https://www.kaggle.com/competitions/{competition}/rules"
            yield Finding("Kaggle", "fault", f"you have not joined {competition}", f"accept its rules at {rules}")
        elif about.is_kernels_submissions_only:
            text = f"{competition} takes notebooks, not CSV files"
            yield Finding("Kaggle", "note", text, "corolla submit --notebook RUN... makes and submits one")
