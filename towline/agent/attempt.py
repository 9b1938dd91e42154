"""One attempt to change one component: its steps in order, and how it ended.

The record holds all that is needed to finish it without the document that began it, because that
document may be gone when the device starts again.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from towline.schemas.states import TargetState


def known_fields(kind: type[Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """What this agent knows of a record that a newer one may have written."""
    names = {each.name for each in fields(kind)}
    return {name: value for name, value in document.items() if name in names}


class Step(StrEnum):
    """What is to be done next; each may be done again after a stop at any instruction."""

    DOWNLOAD = "download"
    STAGE = "stage"
    SAVE = "save"
    INSTALL = "install"
    SWAP = "swap"
    CHECK = "check"
    COMMIT = "commit"
    ROLL_BACK = "roll-back"
    CHECK_PREVIOUS = "check-previous"


UNTOUCHED = frozenset({Step.DOWNLOAD, Step.STAGE, Step.SAVE})
"""Steps before the first irreversible one: what runs was not touched yet."""

RUNS_LIMIT: dict[Step, int] = dict.fromkeys(Step, 3) | {Step.DOWNLOAD: 50, Step.INSTALL: 2}
"""How often a step may be begun: one that takes the device down with it must end.

A download goes on where it stopped, and power that comes and goes is not its fault.
"""


@dataclass(frozen=True, slots=True)
class Process:
    """A running script, told apart from a later process with the same number."""

    pid: int
    started: int
    """Clock ticks since the boot."""
    boot: str


@dataclass(frozen=True, slots=True)
class Key:
    """Which attempt of which run: what a report names."""

    component: str
    deployment: str
    revision: str
    attempt: int
    commit: str


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """The attempt under way."""

    key: Key
    version: str
    sha256: str
    release: str
    rollback_index: int
    step: Step
    from_release: str | None = None
    """What `current` was when the attempt began."""
    from_previous: str | None = None
    is_preparation: bool = False
    """Begun without a grant: what is reported of it differs."""
    is_rollback: bool = False
    """Goes back to this release because people said so."""
    rolls_back: bool = True
    """Goes back by itself when the new release fails."""
    runs: int = 0
    """How often the step was begun; more than 0 at a start means that it was interrupted."""
    process: Process | None = None
    cause: str = ""
    """Why it is being rolled back: a Reason."""
    message: str = ""
    install_timeout_s: int = 600
    health: tuple[dict[str, Any], ...] = ()

    def document(self) -> dict[str, Any]:
        """The record as JSON."""
        return asdict(self)

    @classmethod
    def parse(cls, document: dict[str, Any]) -> "AttemptRecord":
        """From its JSON."""
        process = document["process"]
        return cls(
            **known_fields(cls, document)
            | {
                "key": Key(**known_fields(Key, document["key"])),
                "step": Step(document["step"]),
                "process": None if process is None else Process(**known_fields(Process, process)),
                "health": tuple(document["health"]),
            }
        )


def success_of(*, is_rollback: bool) -> tuple[TargetState, str]:
    """State and reason of an attempt that did what was asked."""
    if is_rollback:
        return TargetState.ROLLED_BACK, "RolledBackByUser"
    return TargetState.COMPLETED, ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the last attempt of a component ended."""

    key: Key
    version: str
    sha256: str
    state: TargetState
    reason: str = ""
    message: str = ""

    @property
    def is_success(self) -> bool:
        """Whether the device runs what was asked."""
        ended = (self.state, self.reason)
        return ended in (success_of(is_rollback=False), success_of(is_rollback=True))

    @classmethod
    def parse(cls, document: dict[str, Any]) -> "Outcome":
        """From its JSON."""
        return cls(
            **known_fields(cls, document)
            | {
                "key": Key(**known_fields(Key, document["key"])),
                "state": TargetState(document["state"]),
            }
        )


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a component was last reported to wait for, so that it is told once."""

    deployment: str
    attempt: int
    sha256: str
    reason: str
    detail: str = ""
    """Until when, or what else makes it another wait."""


@dataclass(frozen=True, slots=True)
class KnownBad:
    """A package that failed on this device in one attempt; another attempt may try it again."""

    sha256: str
    deployment: str
    attempt: int
