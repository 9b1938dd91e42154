"""The demo is true: once, as a person runs it."""

import json
import subprocess
from pathlib import Path

from towline.cli.demo_fleet import TOWLINE


def test_the_demo_ends_with_what_it_promised(tmp_path: Path) -> None:
    done = subprocess.run(
        [*TOWLINE, "demo", "--json"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=115,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["good"] == {"status": "completed", "devices": {"completed": 8}}
    assert (found["bad"]["status"], found["bad"]["reason"]) == ("paused", "ThresholdNotMet")
    assert found["bad"]["devices"].keys() == {"completed", "rolled_back"}
    commit = found["return"].pop("commit")
    assert len(commit) == 40
    assert found["return"] == {
        "status": "completed",
        "moved": found["bad"]["devices"]["completed"],
        "downloads": 0,
        "devices_on_good_version": 8,
    }
    assert "HealthCheckFailed" in found["explain"]
    assert not list(tmp_path.glob("towline-demo-*")), "the demo leaves nothing behind"
