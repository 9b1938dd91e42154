"""What a swarm counts and times: plain numbers that processes send each other and add up."""

import math
from collections import Counter
from dataclasses import dataclass, field

from towline.schemas.problems import Problem

REFUSED = "refused"
"""What a device is at that the server does not let in."""
_LEAST_S = 0.0002
_GROWTH = 1.08
"""Between two steps of a latency: what is told of it is true to 8 %."""
_STEPS = 180
_PER_STEP = 1 / math.log(_GROWTH)


@dataclass(slots=True)
class Latency:
    """How long calls took, by steps that grow."""

    counts: list[int] = field(default_factory=lambda: [0] * _STEPS)

    def note(self, seconds: float) -> None:
        """One call."""
        step = int(math.log(max(seconds, _LEAST_S) / _LEAST_S) * _PER_STEP)
        self.counts[min(step, _STEPS - 1)] += 1

    def add(self, other: "Latency") -> None:
        """Those of another process."""
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]

    def percentile(self, percent: int) -> float | None:
        """Seconds that so many percent of the calls took at most; None when there was none."""
        total = sum(self.counts)
        if not total:
            return None
        left = math.ceil(total * percent / 100)
        for step, count in enumerate(self.counts):
            left -= count
            if left <= 0:
                return _LEAST_S * _GROWTH ** (step + 1)
        raise AssertionError("a percentile is at most 100")


@dataclass(slots=True)
class Figures:
    """Everything since the start; `versions` and `devices` are of this moment."""

    polls: Counter[str] = field(default_factory=Counter)
    """By outcome: `document`, `unchanged`."""
    reports: int = 0
    """Acknowledged."""
    errors: Counter[str] = field(default_factory=Counter)
    """By call and kind: `report 503`, `poll closed`."""
    latencies: dict[str, Latency] = field(default_factory=dict)
    """By call. Of a poll that was parked it is what it took beyond its wait."""
    versions: Counter[str] = field(default_factory=Counter)
    """Devices by what they run, `app 1.2.0`."""
    devices: Counter[str] = field(default_factory=Counter)
    """Devices by what they are at: `enrolling`, `refused`, `waiting`, `working`, `offline`."""
    processor_s: float = 0.0

    def took(self, call: str, seconds: float) -> None:
        """One call was answered."""
        latency = self.latencies.get(call)
        if latency is None:
            latency = self.latencies[call] = Latency()
        latency.note(seconds)

    def add(self, other: "Figures") -> None:
        """Those of another process."""
        self.polls += other.polls
        self.reports += other.reports
        self.errors += other.errors
        self.versions += other.versions
        self.devices += other.devices
        self.processor_s += other.processor_s
        for call, latency in other.latencies.items():
            self.latencies.setdefault(call, Latency()).add(latency)


def line(now: Figures, before: Figures, seconds: float) -> str:
    """One line of what happened in the last `seconds`."""
    polls = (now.polls.total() - before.polls.total()) / seconds
    reports = (now.reports - before.reports) / seconds
    parts = [f"{polls:.0f} polls/s", f"{reports:.0f} reports/s"]
    if errors := now.errors.total() - before.errors.total():
        parts.append(f"{errors} errors")
    parts += [_listed(now.devices), _listed(now.versions)]
    return ", ".join(filter(None, parts))


def summary(figures: Figures, seconds: float) -> str:
    """All of it, at the end."""
    lines = [
        f"{seconds:.0f} s, {figures.processor_s:.0f} s of processor in the swarm",
        f"polls     {figures.polls.total()} ({_listed(figures.polls)})",
        f"reports   {figures.reports} acknowledged",
    ]
    for call, latency in sorted(figures.latencies.items()):
        times = (f"p{each} {_ms(latency.percentile(each))}" for each in (50, 95, 99))
        lines.append(f"{call:<9} {'  '.join(times)}")
    lines.append(f"errors    {_listed(figures.errors) or 'none'}")
    lines.append(f"devices   {_listed(figures.devices)}")
    lines.append(f"versions  {_listed(figures.versions) or 'none'}")
    return "\n".join(lines)


def check_let_in(figures: Figures) -> None:
    """Raises Problem when the server has refused every device: nothing was loaded, or seen."""
    number = figures.devices.total()
    if not number or figures.devices[REFUSED] < number:
        return
    calls = {kind: n for kind, n in figures.errors.items() if kind.startswith("enrol ")}
    raise Problem(
        f"the server refused every device, {number} of {number}: {_listed(Counter(calls))}",
        remedy=f"take a new join string: `towline join create --max-uses {number}`, or no --join",
    )


def document(figures: Figures, seconds: float) -> dict[str, object]:
    """The same for a program."""
    return {
        "seconds": round(seconds, 1),
        "processorSeconds": round(figures.processor_s, 1),
        "polls": dict(figures.polls),
        "reports": figures.reports,
        "latencies": {
            call: {f"p{each}": latency.percentile(each) for each in (50, 95, 99)}
            for call, latency in sorted(figures.latencies.items())
        },
        "errors": dict(figures.errors),
        "devices": dict(figures.devices),
        "versions": dict(figures.versions),
    }


def _listed(counted: Counter[str]) -> str:
    return ", ".join(f"{n} {name}" for name, n in sorted(counted.items()) if n)


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1000:.1f} ms"  # noqa: RUF001
