"""Findings of the doctor, and the lines in which they are shown."""

from dataclasses import dataclass
from typing import Literal

from corolla.text_files import printable

State = Literal["ok", "note", "fault"]


@dataclass(frozen=True)
class Finding:
    """A line about an area; a fault always has a remedy."""

    area: str
    state: State
    text: str
    remedy: str | None = None


@dataclass(frozen=True)
class Report:
    """All findings, area by area."""

    findings: list[Finding]

    @property
    def faults(self) -> list[Finding]:
        """Findings that need a remedy."""
        return [finding for finding in self.findings if finding.state == "fault"]

    def lines(self) -> list[str]:
        """Return state, area and text in columns, and a remedy on a line of its own below the text."""
        width = max((len(finding.area) for finding in self.findings), default=0)
        lines = []
        for finding in self.findings:
            text = printable(" ".join(finding.text.split()))
            lines.append(f"{finding.state:5}  {finding.area:{width}}  {text}")
            if finding.remedy:
                # Blanks stay: two of them may be part of a path in a command.
                lines.append(f"{'':5}  {'':{width}}    fix: {printable(finding.remedy)}")
        return lines
