"""What the doctor finds. A finding never carries a value of a setting, only its name."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

State = Literal["good", "warning", "bad", "skipped"]


class Finding(Struct, frozen=True):
    """One thing that was looked at. `do` is a sentence for whoever runs the installation; empty where all is well."""

    service: str
    check: str
    subject: str
    state: State
    says: str
    do: str = ""


class Notes:
    """Findings of one service, as they are made."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.findings: list[Finding] = []

    def good(self, check: str, subject: str, says: str) -> None:
        """All is well."""
        self.findings.append(Finding(self.service, check, subject, "good", says))

    def warning(self, check: str, subject: str, says: str, do: str) -> None:
        """It works, and it should be otherwise."""
        self.findings.append(Finding(self.service, check, subject, "warning", says, do))

    def bad(self, check: str, subject: str, says: str, do: str) -> None:
        """It does not work, or it is not safe."""
        self.findings.append(Finding(self.service, check, subject, "bad", says, do))

    def skipped(self, check: str, subject: str, says: str) -> None:
        """It could not be looked at."""
        self.findings.append(Finding(self.service, check, subject, "skipped", says))


def healthy(findings: Sequence[Finding]) -> bool:
    """Whether nothing is bad."""
    return all(finding.state != "bad" for finding in findings)
