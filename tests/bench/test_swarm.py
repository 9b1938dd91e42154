"""The swarm's bench as it is called: it plays what was named, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import swarm

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "bench.swarm")


def test_kinds_have_their_numbers() -> None:
    """Devices of a rollout, runs of kills."""
    parsed = swarm.parser().parse_args
    assert vars(parsed(["rollout"])) == {"kind": "rollout", "number": swarm.DEVICES}
    assert vars(parsed(["kills", "3"])) == {"kind": "kills", "number": 3}


@pytest.mark.parametrize(
    ("words", "code"), [("", 2), ("nothing", 2), ("rollout 0", 2), ("kills -1", 2), ("--help", 0)]
)
def test_what_is_no_kind_starts_no_swarm(words: str, code: int) -> None:
    """10,000 devices are not what somebody gets who asks for help."""
    done = subprocess.run(
        (*COMMAND, *words.split()),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=60,
    )
    assert done.returncode == code
    assert "usage: python -m bench.swarm" in done.stdout + done.stderr


def test_whoever_ends_the_bench_ends_its_server_and_swarm(tmp_path: Path) -> None:
    """They have sessions and files of their own, and would go on for ever."""
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    bench = subprocess.Popen(
        (*COMMAND, "rollout", "3"), cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        began = _until(lambda: len(_children(bench.pid)) >= 2)
        assert began, "no server and swarm were begun"
        children = _children(bench.pid)
        bench.send_signal(signal.SIGTERM)
        assert bench.wait(60) == 128 + signal.SIGTERM
        assert _until(lambda: not any(Path(f"/proc/{each}").exists() for each in children))
        assert list(tmp_path.iterdir()) == []
    finally:
        bench.kill()
        bench.wait()


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _until(is_so: Callable[[], bool]) -> bool:
    ends_at = time.monotonic() + 60
    while not is_so():
        if time.monotonic() > ends_at:
            return False
        time.sleep(0.1)
    return True
