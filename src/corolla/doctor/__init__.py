"""`corolla doctor`: examine machine, credentials, data and runs, and name the command that fixes each fault.

No secret is shown. An area is a function that yields its findings; torch is imported only inside them.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from corolla.data.competition import SLUG
from corolla.data.index_cache import resolve_cache_dir
from corolla.data.mounts import mounted_data
from corolla.doctor.data import data_findings, data_folders
from corolla.doctor.kaggle import account_findings, client_findings, credential_findings, session_findings
from corolla.doctor.machine import disk_findings, memory_findings, torch_findings
from corolla.doctor.report import Finding, Report
from corolla.doctor.runs import run_findings
from corolla.kaggle.credentials import find_credentials


def doctor(
    *,
    data: Path = Path("data"),
    runs: Path = Path("runs"),
    competition: str = SLUG,
    environ: Mapping[str, str] | None = None,
    online: bool = False,
) -> Report:
    """Examine the machine, the credentials, the data folders and the runs; nothing is changed.

    Args:
        online: ask Kaggle, with one request, whether it takes the credentials of this process's own environment.
    """
    folders = data_folders(data, competition)
    findings = [
        Finding("Python", "ok", ".".join(map(str, sys.version_info[:3]))),  # below 3.11 nothing of corolla loads
        *torch_findings(),
        *memory_findings(),
        *disk_findings({"data": data, "runs": runs, "cache": resolve_cache_dir(None)}),
        *client_findings(),
        *credential_findings(environ, has_data=bool(folders)),
        *(account_findings(competition) if online and find_credentials(environ) else ()),
        *session_findings(competition),
        *data_findings(data, folders, mounted_data(competition)),
        *run_findings(runs),
    ]
    return Report(findings)
