"""Asks whether a release is healthy: HTTP and TCP on this device only, or a script of the package.

A check waits `delay`, then probes every `period` until `successes` answers in a row were good or
`timeout` is over; all times in seconds. The package's own `health.sh` without a check in the
document is run once, and its exit status is the answer. The wish to
stop ends every wait with `Stopped`.
"""

import http.client
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from towline.agent.fetch import Stopped
from towline.agent.scripts import Ended

OWN_SCRIPT = "health.sh"
OWN_TIMEOUT_S = 60.0
_LOOPBACK = "127.0.0.1"

RunScript = Callable[[Path, float], Ended]
"""Runs a script of the release with a limit in seconds."""
Pause = Callable[[float], bool]
"""Waits that many seconds; True at once when the agent is to stop."""


def check(release: Path, checks: Sequence[Mapping[str, Any]], run: RunScript, pause: Pause) -> str:
    """What is not healthy, in words; empty when all is well or nothing was asked."""
    if not checks:
        return _own(release, run)
    for each in checks:
        if problem := _persist(each, partial(_probe, release, each, run), pause):
            return f"health check {each['name']}: {problem}"
    return ""


def check_previous(
    release: Path, checks: Sequence[Mapping[str, Any]], run: RunScript, pause: Pause
) -> str:
    """As `check`, after a rollback: the package's own script, else those checks that it has."""
    if (release / OWN_SCRIPT).is_file():
        return _own(release, run)
    return check(release, [each for each in checks if _has(release, each)], run, pause)


def _has(release: Path, each: Mapping[str, Any]) -> bool:
    return "script" not in each or _script(release, each) is not None


def _own(release: Path, run: RunScript) -> str:
    script = release / OWN_SCRIPT
    if not script.is_file():
        return ""
    ended = run(script, OWN_TIMEOUT_S)
    return "" if ended.is_success else str(ended)


def _persist(each: Mapping[str, Any], probe: Callable[[float], str], pause: Pause) -> str:
    """Probe until it was good often enough in a row; else what was wrong last."""
    _rest(pause, each["delay"])
    end = time.monotonic() + each["timeout"]
    good = 0
    while (left := end - time.monotonic()) > 0:
        problem = probe(left)
        good = 0 if problem else good + 1
        if good >= each["successes"]:
            return ""
        _rest(pause, max(0.0, min(each["period"], end - time.monotonic())))
    return f"not healthy within {each['timeout']} s ({problem or 'too few good answers'})"


def _rest(pause: Pause, seconds: float) -> None:
    if pause(seconds):
        raise Stopped


def _probe(release: Path, each: Mapping[str, Any], run: RunScript, left_s: float) -> str:
    if "http" in each:
        return _http(each["http"], left_s)
    if "tcp" in each:
        return _tcp(each["tcp"]["port"], left_s)
    script = _script(release, each)
    if script is None:
        return f"the package has no {each['script']}"
    ended = run(script, left_s)
    return "" if ended.is_success else str(ended)


def _script(release: Path, each: Mapping[str, Any]) -> Path | None:
    """The script inside the package; None when it is not there or lies outside."""
    path = PurePosixPath(each["script"])
    if path.is_absolute() or ".." in path.parts:
        return None
    found = release / path
    return found if found.is_file() else None


def _http(wanted: Mapping[str, Any], left_s: float) -> str:
    connection = http.client.HTTPConnection(_LOOPBACK, wanted["port"], timeout=left_s)
    try:
        connection.request("GET", wanted["path"], headers={"Connection": "close"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"port {wanted['port']}: {str(error) or type(error).__name__}"
    finally:
        connection.close()
    return "" if status == wanted["status"] else f"status {status}, expected {wanted['status']}"


def _tcp(port: int, left_s: float) -> str:
    try:
        socket.create_connection((_LOOPBACK, port), timeout=left_s).close()
    except (OSError, OverflowError) as error:
        return f"port {port}: {error}"
    return ""
