"""Runs a script of a package: own process group, time limit, closed environment, tail of output.

The script begins only after its process was written down, so that a start of the agent after a
`kill -9` finds what its predecessor left running and ends it.
"""

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from towline.agent.attempt import Process

TAIL_BYTES = 4096
"""Kept of a script's output."""
_GATE = 'read -r go || exit 70; exec "$@" </dev/null'
"""Waits for a word that only comes when the process was written down."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LOCALE = ("LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a script ended."""

    script: str
    status: int | None
    """Exit status, negative for a signal; None when it was killed at the limit."""
    tail: str

    @property
    def is_success(self) -> bool:
        """Exit status 0."""
        return self.status == 0

    def __str__(self) -> str:
        if self.status is None:
            how = "ran out of time and was killed"
        elif self.status < 0:
            how = f"was ended by {_signal_name(-self.status)}"
        else:
            how = f"exited with {self.status}"
        return f"{self.script} {how}" + (f": {self.tail.strip()}" if self.tail.strip() else "")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """PATH, the locale and `variables`: nothing else of the agent's own reaches a script."""
    locale = {name: os.environ[name] for name in _LOCALE if name in os.environ}
    return {"PATH": os.environ.get("PATH", _PATH), **locale, **variables}


def run(
    script: Path,
    *,
    variables: Mapping[str, str],
    timeout_s: float,
    began: Callable[[Process], None],
) -> Ended:
    """Run `script` in its package's folder; `began` must make its process durable."""
    folder = Path(variables["TOWLINE_RELEASE"])
    command = [str(script)] if os.access(script, os.X_OK) else ["/bin/sh", str(script)]
    process = subprocess.Popen(
        ["/bin/sh", "-c", _GATE, "towline", *command],
        cwd=folder,
        env=environment(variables),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    name = str(script.relative_to(folder))
    with process:
        try:
            began(_identify(process.pid))
            tail, in_time = _follow(process, time.monotonic() + timeout_s)
        except BaseException:
            _kill_group(process.pid)
            raise
        if not in_time:
            _kill_group(process.pid)
        status = process.wait()
    return Ended(name, status if in_time else None, tail.decode("utf-8", "replace"))


def _follow(process: subprocess.Popen[bytes], end: float) -> tuple[bytes, bool]:
    """Open the gate and collect the output until the script itself ends or time is up.

    What the script leaves running may hold the pipe open; it is not waited for.
    """
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the script has no pipes")
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(b"go\n")
        process.stdin.close()
    output = process.stdout.fileno()
    os.set_blocking(output, False)
    ended = os.pidfd_open(process.pid)
    tail = b""
    try:
        watched = [output, ended]
        while (left := end - time.monotonic()) > 0:
            ready = select.select(watched, [], [], left)[0]
            if output in ready:
                chunk = _read(output)
                tail = (tail + chunk)[-TAIL_BYTES:]
                if not chunk:
                    watched.remove(output)
            elif ended in ready:
                return tail, True
        return tail, False
    finally:
        os.close(ended)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except BlockingIOError:
        return b""


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _identify(pid: int) -> Process:
    return Process(pid, _started(pid) or 0, boot())


def _started(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat: clock ticks from the boot to the start of the process."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def boot() -> str:
    """The machine's boot, as the kernel names it."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def end_leftover(process: Process | None) -> bool:
    """Kill what a script of an earlier agent left in its group; True when there was something.

    A group outlives its leader, and its number is not given to a new process before it is empty.
    """
    if process is None or process.boot != boot():
        return False
    if _started(process.pid) not in (None, process.started):
        return False
    try:
        os.killpg(process.pid, signal.SIGKILL)
        while not _is_group_dead(process.pid):
            time.sleep(0.01)
    except ProcessLookupError:
        return False
    return True


def _is_group_dead(group: int) -> bool:
    """Whether every process of the group is gone or a zombie that somebody else must reap."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, found = stat.read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        if int(found) == group and state not in ("Z", "X"):
            return False
    return True
