"""What the agent may do next, as frozen values; `decide` chooses them, `apply` performs them."""

from dataclasses import dataclass
from typing import TypeAlias

from towline.agent.attempt import Step
from towline.schemas.desired_state import ComponentWanted


@dataclass(frozen=True, slots=True)
class Begin:
    """Open an attempt with this step."""

    wanted: ComponentWanted
    step: Step


@dataclass(frozen=True, slots=True)
class Confirm:
    """Report that the wanted release runs already."""

    wanted: ComponentWanted


@dataclass(frozen=True, slots=True)
class Perform:
    """Carry out the step at which the attempt stands."""

    component: str
    step: Step


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The step was begun too often without coming to an end."""

    component: str
    step: Step


@dataclass(frozen=True, slots=True)
class Abandon:
    """Drop an attempt that has changed nothing and is not wanted, or may not start now."""

    component: str


@dataclass(frozen=True, slots=True)
class ReportVersions:
    """Say once more what runs, after the document that followed a completion."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Report, once, what a component waits for while nothing of it is under way."""

    wanted: ComponentWanted
    reason: str
    message: str = ""
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """Wait, and say for what; `until` in seconds since the epoch where a time is known."""

    component: str
    reason: str
    message: str = ""
    until: int | None = None


Action: TypeAlias = Begin | Confirm | Perform | GiveUp | Abandon | ReportVersions | Tell | Hold
