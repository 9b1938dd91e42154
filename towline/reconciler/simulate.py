"""What a simulated rollout came to over several runs, as values: times, harm, batches, waits.

`document()` is the published form (docs/simulate.md). Times in it are seconds since the start.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from towline.reconciler.failure_model import FailureModel


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over several runs: the middle one, the one that 95 % do not exceed, the greatest."""

    p50: int
    p95: int
    max: int

    @classmethod
    def of(cls, values: Iterable[int]) -> "Spread | None":
        """Nearest rank; None of nothing."""
        ranked = sorted(values)
        if not ranked:
            return None
        at = [ranked[-(-len(ranked) * share // 100) - 1] for share in (50, 95)]
        return cls(at[0], at[1], ranked[-1])

    def document(self) -> dict[str, int]:
        """The published form."""
        return {"p50": self.p50, "p95": self.p95, "max": self.max}


@dataclass(frozen=True, slots=True)
class Ending:
    """How so many of the runs ended; the message is of the first of them."""

    status: str
    reason: str
    message: str
    runs: int
    seconds: Spread

    def document(self) -> dict[str, Any]:
        """The published form."""
        return {
            "status": self.status,
            "reason": self.reason,
            "message": self.message,
            "runs": self.runs,
            "seconds": self.seconds.document(),
        }


@dataclass(frozen=True, slots=True)
class Wait:
    """What was waited for, and for how long in the runs that did."""

    reason: str
    runs: int
    seconds: Spread

    def document(self) -> dict[str, Any]:
        """The published form."""
        return {"reason": self.reason, "runs": self.runs, "seconds": self.seconds.document()}


@dataclass(frozen=True, slots=True)
class SimulatedBatch:
    """One batch, over the runs that opened it."""

    number: int
    """Counts from 1."""
    name: str
    is_last: bool
    runs: int
    passed: int
    """In so many runs."""
    members: Spread
    failed: Spread
    opened_at: Spread
    ended_at: Spread | None
    """When it passed or failed; None: it did neither."""

    def document(self) -> dict[str, Any]:
        """The published form."""
        return {
            "number": self.number,
            "name": self.name,
            "isLast": self.is_last,
            "runs": self.runs,
            "passed": self.passed,
            "members": self.members.document(),
            "failed": self.failed.document(),
            "openedAt": self.opened_at.document(),
            "endedAt": self.ended_at.document() if self.ended_at else None,
        }


@dataclass(frozen=True, slots=True)
class SimulatedDeployment:
    """What became of one Deployment; `endings` is empty where there was nothing to do."""

    name: str
    version: str
    endings: tuple[Ending, ...] = ()
    finish: Spread | None = None
    """Seconds to the end of the runs that completed."""
    harmed: Spread | None = None
    """Devices on which the release failed its health check."""
    updated: Spread | None = None
    deferred: Spread | None = None
    """Devices that were silent for too long; they get it when they are back."""
    waits: tuple[Wait, ...] = ()
    batches: tuple[SimulatedBatch, ...] = ()

    def document(self) -> dict[str, Any]:
        """The published form."""
        return {
            "name": self.name,
            "version": self.version,
            "endings": [each.document() for each in self.endings],
            "finish": _spread(self.finish),
            "harmed": _spread(self.harmed),
            "updated": _spread(self.updated),
            "deferred": _spread(self.deferred),
            "waits": [each.document() for each in self.waits],
            "batches": [each.document() for each in self.batches],
        }


@dataclass(frozen=True, slots=True)
class Simulation:
    """Everything that a simulation tells, and what it supposes."""

    organization: str
    source: str
    """server, store, inventory or synthetic."""
    head: str
    starts_at: str
    """RFC 3339: windows and start times are of the calendar."""
    devices: int
    runs: int
    seed: int
    poll_interval_s: int
    tick_s: int
    """Steps of devices are taken together so many seconds apart."""
    people_after_s: int
    model: FailureModel
    deployments: tuple[SimulatedDeployment, ...]

    def document(self) -> dict[str, Any]:
        """The published form."""
        return {
            "apiVersion": "towline/v1",
            "kind": "Simulation",
            "organization": self.organization,
            "source": self.source,
            "head": self.head,
            "startsAt": self.starts_at,
            "devices": self.devices,
            "runs": self.runs,
            "seed": self.seed,
            "pollInterval": self.poll_interval_s,
            "tick": self.tick_s,
            "approveAfter": self.people_after_s,
            "model": _model(self.model),
            "deployments": [each.document() for each in self.deployments],
        }


def _spread(spread: Spread | None) -> dict[str, int] | None:
    return spread.document() if spread else None


def _model(model: FailureModel) -> dict[str, Any]:
    return {
        "badRate": model.bad_rate,
        "badRates": [
            {"label": each.key, "value": each.value, "share": each.share} for each in model.labelled
        ],
        "offline": model.offline,
        "offlineFor": model.offline_for_s,
        "download": model.lengths.download_s,
        "install": model.lengths.install_s,
        "verify": model.lengths.verify_s,
    }
