"""The demo's story: a good release, a bad one, a revert; and what was true in the end.

Every figure is read from the API and from the devices' own folders when nothing is in flight, not
from what the demo meant to do.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from towline.cli.demo_fleet import DemoFleet

COMPONENT = "till-software"
GOOD, BAD = "1.0.0", "2.0.0"
MARKER = "broken-printer"
MARKED = ("till-4", "till-5")
OUTCOMES = ("completed", "failed", "rolled_back")
PATIENCE_S = 60

INSTALL = """#!/bin/sh
# A till's software: one file that says which version runs.
echo "$TOWLINE_VERSION" > "$TOWLINE_ROOT/till.version"
"""
HEALTH_GOOD = "#!/bin/sh\nexit 0\n"
HEALTH_BAD = f"""#!/bin/sh
if [ -e "$TOWLINE_ROOT/{MARKER}" ]; then
  echo "{BAD} cannot reach this till's printer"
  exit 1
fi
"""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was read in the end; `untrue` lists what is not as it should be."""

    document: dict[str, Any]
    untrue: tuple[str, ...]


def tell_story(fleet: DemoFleet, tell: Tell) -> Outcome:
    """Play the whole story; raises Problem when a part does not come about."""
    narrator = _Narrator(fleet, tell)
    tell(f"[bold]1. A good release.[/] {COMPONENT} {GOOD} merges as a canary.")
    good = _good_release(fleet, narrator)
    tell(f"\n[bold]2. A bad release.[/] {BAD} fails its health check on {' and '.join(MARKED)}.")
    bad = _bad_release(fleet, narrator)
    tell(f"\n[bold]3. git revert.[/] Exactly the devices on {BAD} go back, without a download.")
    back = _revert(fleet, narrator)
    broken = bad.pop("broken")
    story = fleet.client.get(f"/devices/{broken}/explain")["text"]
    tell(f"\n[bold]4. towline explain {broken}[/]\n{story}")
    document = {"good": good, "bad": bad, "return": back, "explain": story}
    return Outcome(document, tuple(untrue_claims(document, len(fleet.devices))))


def _good_release(fleet: DemoFleet, narrator: "_Narrator") -> dict[str, Any]:
    _publish(fleet, GOOD, HEALTH_GOOD)
    fleet.commit(f"Ship {GOOD}")
    run = narrator.until(fleet.git("rev-parse", "HEAD"), "completed")
    return {"status": run["status"], "devices": _outcomes(run)}


def _bad_release(fleet: DemoFleet, narrator: "_Narrator") -> dict[str, Any]:
    for name in MARKED:
        (fleet.root(name) / MARKER).touch()
    _publish(fleet, BAD, HEALTH_BAD)
    manifest = fleet.repository / "deployments" / f"{COMPONENT}.yaml"
    text = manifest.read_text()
    manifest.write_text(text.replace("spec:\n", "spec:\n  order: name\n  maxConcurrent: 2\n", 1))
    fleet.commit(f"Ship {BAD}")
    run = narrator.until(fleet.git("rev-parse", "HEAD"), "paused")
    # Which of the marked ones had its turn before the gate fell is the fleet's affair.
    rolled_back = [each for each in run["devices"] if each["status"] == "rolled_back"]
    return {
        "status": run["status"],
        "reason": run["reason"],
        "devices": _outcomes(run),
        "broken": next((each["device_id"] for each in rolled_back), MARKED[0]),
    }


def _revert(fleet: DemoFleet, narrator: "_Narrator") -> dict[str, Any]:
    downloads, on_bad = _downloads(fleet), _devices_on(fleet, BAD)
    fleet.git("revert", "--no-edit", "HEAD")
    run = narrator.until(fleet.git("rev-parse", "HEAD"), "completed")
    on_good = _devices_on(fleet, GOOD)
    return {
        "status": run["status"],
        "moved": len(on_bad & on_good),
        "downloads": _downloads(fleet) - downloads,
        "devices_on_good_version": len(on_good),
        "commit": run["commit"],
    }


def _publish(fleet: DemoFleet, version: str, health: str) -> None:
    folder = fleet.folder / COMPONENT
    _write_script(folder / "install.sh", INSTALL)
    _write_script(folder / "health.sh", health)
    fleet.towline("publish", str(folder), "--version", version, "--no-commit")


def _write_script(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


def _outcomes(run: Mapping[str, Any]) -> dict[str, int]:
    counts = Counter(device["status"] for device in run["devices"])
    return {status: counts[status] for status in OUTCOMES if counts[status]}


def _downloads(fleet: DemoFleet) -> int:
    return sum(int(fleet.status(name)["downloads"]) for name in fleet.devices)


def _devices_on(fleet: DemoFleet, version: str) -> set[str]:
    """The devices that run it by their own word, if the installed file says the same."""
    return {name for name in fleet.devices if _version(fleet, name) == version}


def _version(fleet: DemoFleet, device: str) -> str | None:
    component = fleet.status(device)["components"].get(COMPONENT, {})
    installed = (fleet.root(device) / "till.version").read_text().strip()
    return installed if component.get("current") == installed else None


class _Narrator:
    """Tells events as they happen, and waits for what must come about."""

    def __init__(self, fleet: DemoFleet, tell: Tell) -> None:
        self._fleet, self._tell = fleet, tell
        self._last_event = 0

    def until(self, commit: str, status: str) -> dict[str, Any]:
        """The run of `commit`, once it is in `status` and nothing is in flight."""
        found: dict[str, Any] = {}

        def is_so() -> bool:
            self._tell_events()
            runs = self._fleet.client.get("/deployments", name=COMPONENT)["deployments"]
            for run in runs:
                if run["commit"] == commit and run["status"] == status:
                    found.update(self._fleet.client.get(f"/deployments/{run['id']}"))
                    return not any(map(_is_in_flight, found["devices"]))
            return False

        self._fleet.until(is_so, PATIENCE_S, f"the rollout to be {status}")
        self._tell_events()
        return found

    def _tell_events(self) -> None:
        found = self._fleet.client.get("/events", after=self._last_event or None, limit=1000)
        for event in found["events"]:
            self._last_event = max(self._last_event, int(event["id"]))
            if (line := _line(event)) is not None:
                self._tell(line)


def _is_in_flight(device: Mapping[str, Any]) -> bool:
    if device["status"] == "completed":
        return device["verified_at"] is None
    is_active = device["status"] in ("pending", "downloading", "installing", "verifying")
    return is_active and device["started_at"] is not None


_STYLES = {
    "run.completed": "green",
    "run.held": "yellow",
    "batch.passed": "green",
    "batch.failed": "red",
    "device.completed": "green",
    "device.rolled_back": "magenta",
    "device.failed": "red",
}
_TOLD = ("run.", "batch.", "commit.", "device.completed", "device.rolled_back", "device.failed")


def _line(event: Mapping[str, Any]) -> str | None:
    kind = str(event["kind"])
    if not kind.startswith(_TOLD):
        return None
    words = " ".join(str(event[key]) for key in ("device", "reason", "message") if event[key])
    style = _STYLES.get(kind, "default")
    return f"   [{style}]{kind:19}[/] {words.replace('[', '(')}"


def untrue_claims(document: Mapping[str, Any], devices: int) -> list[str]:
    """Every claim of the story that does not hold."""
    good, bad, back = document["good"], document["bad"], document["return"]
    moved = bad["devices"].get("completed", 0)
    rolled_back = bad["devices"].get("rolled_back", 0)
    claims = {
        "the good release completed on every device": good
        == {"status": "completed", "devices": {"completed": devices}},
        "the bad release paused by its gate": (bad["status"], bad["reason"])
        == ("paused", "ThresholdNotMet"),
        "only outcomes of a real rollout are there": set(bad["devices"])
        == {"completed", "rolled_back"},
        "the canary had passed before": moved >= 1,
        "some devices were never touched": moved + rolled_back < devices,
        "the revert completed": back["status"] == "completed",
        "exactly the devices on the bad version moved": back["moved"] == moved,
        "nothing was downloaded again": back["downloads"] == 0,
        "every device runs the good version": back["devices_on_good_version"] == devices,
        "the story names what failed": "HealthCheckFailed" in document["explain"],
    }
    return [claim for claim, holds in claims.items() if not holds]
