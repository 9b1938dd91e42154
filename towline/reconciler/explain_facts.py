"""What an explanation rests on: plain values of one device, read before anything is said."""

from dataclasses import dataclass

from towline.schemas.states import RunState, TargetState


@dataclass(frozen=True, slots=True)
class HoldFacts:
    """One hold of a run."""

    reason: str
    message: str
    until: int | None = None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """The newest run of the Deployment that wants something of the device."""

    deployment: str
    version: str
    commit: str
    author: str
    subject: str
    status: RunState
    reason: str
    message: str
    holds: tuple[HoldFacts, ...] = ()
    """The gravest first."""
    is_return: bool = False


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """The device in that run."""

    state: TargetState
    reason: str = ""
    message: str = ""
    attempt: int = 1
    is_granted: bool = False
    is_fetched: bool = False
    is_staged: bool = False
    is_verified: bool = False
    waits: str = ""
    deadline: int | None = None
    goes_back_to: str | None = None
    batch: str = ""


@dataclass(frozen=True, slots=True)
class WindowFacts:
    """The windows of an install that is granted, closed now."""

    why: str
    opens_at: int | None
    """None: not within the time that is looked ahead."""


@dataclass(frozen=True, slots=True)
class PartFacts:
    """One component of the device."""

    component: str
    version: str | None
    """What runs; None for nothing that Towline installed."""
    run: RunFacts | None = None
    target: TargetFacts | None = None
    """None: it has none in that run."""
    is_owned: bool = True
    pin: str | None = None
    window: WindowFacts | None = None
    """None: open, or nothing is to be begun."""
    busy_with: str = ""
    """Another component's install on the device, in words."""
    full_group: str = ""
    """The disruption budget's group, `store=s1`, when it has no room."""


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """One device."""

    name: str
    last_seen: int | None
    is_silent: bool
    """Not seen within three poll intervals."""
    shut_out: str = ""
    """What keeps it out, and the way in: the end of a sentence that begins with its id."""
    rejected: str = ""
    """Why it refused its last document."""
    is_old: bool = False
    """It holds a token, and verifies no signature."""
    time_zone: str | None = None
    parts: tuple[PartFacts, ...] = ()
