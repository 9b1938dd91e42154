"""A failed device in words: at which step it failed, and how what ran there ended. Pure."""

import re
from dataclasses import dataclass

_STEPS = {
    "DownloadFailed": "download",
    "NoSpace": "download",
    "ChecksumMismatch": "verification of the package",
    "SignatureInvalid": "verification of the package",
    "InstallFailed": "install",
    "PowerLoss": "install",
    "HealthCheckFailed": "health check",
    "NoPrevious": "going back",
    "RollbackFailed": "going back",
    "RolledBackByUser": "after its completion",
    "RolledBackByPolicy": "after its completion",
    "Regressed": "after its completion",
    "DriftLoop": "after its completion",
    "TimedOut": "waiting for its verdict",
}
_HOW = re.compile(
    r"(?P<script>\S+) (?:exited with (?P<status>\d+)|was ended by (?P<signal>[\w -]+?)(?=[:;]|$)"
    r"|(?P<late>ran out of time and was killed))",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Failure:
    """What a table says of a failed device beside its reason."""

    step: str
    ended: str
    """How the script ended, such as `install.sh: exit 3`; empty where none did."""


def failure(reason: str, message: str) -> Failure:
    """From the reason and what the device said."""
    return Failure(_STEPS.get(reason, ""), _ended(message))


def _ended(message: str) -> str:
    found = _HOW.search(message)
    if found is None:
        return ""
    script = found["script"].rsplit("/", 1)[-1].lstrip("(")
    if found["status"] is not None:
        return f"{script}: exit {found['status']}"
    return f"{script}: {found['signal'] or 'out of time'}"
